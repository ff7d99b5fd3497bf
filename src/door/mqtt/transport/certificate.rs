//! What a certificate says, in our words.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::door::credentials::PeerCertificate;

/// From when to when a certificate holds, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub from: i64,
    pub until: i64,
}

/// None: it cannot be read.
pub(super) fn validity(der: &CertificateDer<'_>) -> Option<Validity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some(Validity { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() })
}

/// The names in a certificate that TLS has verified. None: it cannot be read.
pub(super) fn peer(der: &CertificateDer<'_>) -> Option<PeerCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    // the last of several is the most specific one (RFC 4514 writes it first)
    let common_name = certificate.subject().iter_common_name().last();
    let common_name = common_name.and_then(|name| name.as_str().ok()).map(str::to_owned);
    let alt_names = certificate.subject_alternative_name().ok().flatten();
    let alt_names = alt_names.map(|names| names.value.general_names.iter().filter_map(name).collect());
    Some(PeerCertificate { common_name, alt_names: alt_names.unwrap_or_default(), fingerprint: fingerprint(der) })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => Some((*name).to_owned()),
        _ => None,
    }
}

fn fingerprint(der: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    Sha256::digest(der).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn the_names_in_a_certificate_are_found_and_others_are_left_out() {
        let mut params = CertificateParams::new(vec!["cane-1.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "cane-2");
        params.distinguished_name.push(DnType::CommonName, "cane-1");
        params.subject_alt_names.push(SanType::URI("urn:device:cane-1".try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress([192, 0, 2, 1].into()));
        params.subject_alt_names.push(SanType::Rfc822Name("cane@example".try_into().unwrap()));
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let peer = peer(made.der()).unwrap();
        assert_eq!(peer.common_name.as_deref(), Some("cane-1"));
        assert_eq!(peer.alt_names, ["cane-1.example", "urn:device:cane-1", "cane@example"]);
        assert_eq!(peer.fingerprint.len(), 64);
    }

    #[test]
    fn a_fingerprint_is_that_of_other_tools() {
        // printf abc | sha256sum
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fingerprint(b"abc"), expected);
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        for der in [&b""[..], b"nonsense", &[0x30, 0x82, 0xFF, 0xFF]] {
            assert_eq!(peer(&CertificateDer::from(der)), None);
            assert_eq!(validity(&CertificateDer::from(der)), None);
        }
    }
}

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
    Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect()
}

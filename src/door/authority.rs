//! A CA of one's own, to try TLS in a minute: it signs a certificate for the gateway and others for its clients.
//!
//! Who has a CA already needs none of this. It must not know what the certificates are used for.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::domain::Wall;

/// The CA's certificate, below its folder: what clients trust.
pub const CA: &str = "ca.pem";
/// The CA's private key.
pub const CA_KEY: &str = "ca.key";
/// How long the CA holds, in days.
const CA_DAYS: u32 = 3_650;
/// A certificate holds from an hour ago: clocks differ.
const SLACK_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file.
    #[error("{path}: {source}; name another folder, or mend its owner and mode", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file would be replaced.
    #[error("{} is there already; --replace makes it anew", .0.display())]
    Exists(PathBuf),
    /// The folder's CA.
    #[error("{path}: this CA cannot be used: {source}; take its files away to begin with a new one", path = path.display())]
    Ca {
        /// Which file of it.
        path: PathBuf,
        /// Why.
        source: rcgen::Error,
    },
    /// A name that no certificate can have.
    #[error("\"{0}\" cannot be the name in a certificate: use a host name, an address, or a device id")]
    Name(String),
    /// The library gave up.
    #[error("the certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate and its private key, both in PEM form.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    key: String,
}

impl Pair {
    /// The private key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Writes `NAME.pem` and `NAME.key` (mode 0600) into a folder; says where.
    pub fn write(&self, dir: &Path, name: &str, replace: bool) -> Result<(PathBuf, PathBuf), AuthorityError> {
        let (certificate, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        if let Some(there) = [&certificate, &key].into_iter().find(|path| !replace && path.exists()) {
            return Err(AuthorityError::Exists(there.clone()));
        }
        put(&key, &self.key, 0o600)?;
        put(&certificate, &self.certificate, 0o644)?;
        Ok((certificate, key))
    }
}

/// A CA.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    now: Wall,
}

impl Authority {
    /// The CA of a folder, made when there is none; says whether it was made.
    pub fn in_folder(dir: &Path, now: Wall) -> Result<(Self, bool), AuthorityError> {
        let (certificate, key) = (dir.join(CA), dir.join(CA_KEY));
        if certificate.exists() || key.exists() {
            let issuer =
                KeyPair::from_pem(&get(&key)?).map_err(|source| AuthorityError::Ca { path: key.clone(), source })?;
            let text = get(&certificate)?;
            let wrong = |source| AuthorityError::Ca { path: certificate.clone(), source };
            let issuer = Issuer::from_ca_cert_pem(&text, issuer).map_err(wrong)?;
            return Ok((Self { certificate: text, issuer, now }, false));
        }
        let (made, key_pem) = Self::new(now)?;
        fs::create_dir_all(dir).map_err(|source| AuthorityError::File { path: dir.to_owned(), source })?;
        put(&key, &key_pem, 0o600)?;
        put(&certificate, &made.certificate, 0o644)?;
        Ok((made, true))
    }

    /// A new CA, and its private key in PEM form.
    pub fn new(now: Wall) -> Result<(Self, String), AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = named("Voxgate CA", now, CA_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let (certificate, pem) = (params.self_signed(&key)?.pem(), key.serialize_pem());
        Ok((Self { certificate, issuer: Issuer::new(params, key), now }, pem))
    }

    /// Its own certificate: what clients trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What it signs with.
    pub fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// A certificate for a server of these names or addresses, the first of which is its common name.
    pub fn server(&self, names: &[String], days: u32) -> Result<Pair, AuthorityError> {
        let first = names.first().map_or("localhost", String::as_str);
        let mut params = named(first, self.now, days);
        for name in names {
            let wrong = || AuthorityError::Name(name.clone());
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => rcgen::SanType::IpAddress(address),
                Err(_) if is_host(name) => rcgen::SanType::DnsName(name.as_str().try_into().map_err(|_| wrong())?),
                Err(_) => return Err(wrong()),
            });
        }
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client: a device id or an operator's name as its common name.
    pub fn client(&self, name: &str, days: u32) -> Result<Pair, AuthorityError> {
        self.sign(named(name, self.now, days), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Result<Pair, AuthorityError> {
        let key = KeyPair::generate()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

fn named(name: &str, now: Wall, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let (year, month, first) = day(now.0.saturating_sub(SLACK_MS));
    params.not_before = rcgen::date_time_ymd(year, month, first);
    // the day after the last one: dates have no hours here
    let (year, month, last) = day(now.0.saturating_add((u64::from(days) + 1) * DAY_MS));
    params.not_after = rcgen::date_time_ymd(year, month, last);
    params
}

/// Year, month and day of a moment, in UTC.
fn day(ms: u64) -> (i32, u8, u8) {
    let day = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let day = day.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_zoned(jiff::tz::TimeZone::UTC).date();
    (day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
}

fn is_host(name: &str) -> bool {
    !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._*".contains(&b))
}

fn get(path: &Path) -> Result<String, AuthorityError> {
    fs::read_to_string(path).map_err(|source| AuthorityError::File { path: path.to_owned(), source })
}

/// Writes a file whole or not at all: a gateway may be reading it.
fn put(path: &Path, text: &str, mode: u32) -> Result<(), AuthorityError> {
    let new = path.with_extension("new");
    let written = || {
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().map_err(|source| AuthorityError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Wall = Wall(1_790_000_000_000);

    #[test]
    fn a_folder_keeps_its_ca_and_nobody_else_reads_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        let (first, made) = Authority::in_folder(dir.path(), NOW).unwrap();
        assert!(made);
        let (again, made) = Authority::in_folder(dir.path(), NOW).unwrap();
        assert!(!made);
        assert_eq!(first.certificate(), again.certificate());
        let pair = again.server(&["gateway.local".into(), "192.0.2.1".into()], 825).unwrap();
        let (_, key) = pair.write(dir.path(), "server", false).unwrap();
        for key in [key, dir.path().join(CA_KEY)] {
            assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let refused = pair.write(dir.path(), "server", false).unwrap_err();
        assert!(refused.to_string().contains("--replace"), "{refused}");
        pair.write(dir.path(), "server", true).unwrap();
    }

    #[test]
    fn names_that_no_host_can_have_are_refused() {
        let (authority, _) = Authority::new(NOW).unwrap();
        for name in ["", "a b", "gateway.local/mqtt", "mqtts://gateway"] {
            assert!(authority.server(&[name.to_owned()], 1).is_err(), "{name}");
        }
        authority.server(&["*.example.org".into(), "::1".into()], 1).unwrap();
    }

    #[test]
    fn a_ca_that_is_half_there_is_not_replaced_behind_its_clients_backs() {
        let dir = tempfile::tempdir().unwrap();
        Authority::in_folder(dir.path(), NOW).unwrap();
        fs::remove_file(dir.path().join(CA_KEY)).unwrap();
        assert!(Authority::in_folder(dir.path(), NOW).is_err());
        fs::write(dir.path().join(CA_KEY), "nonsense").unwrap();
        assert!(Authority::in_folder(dir.path(), NOW).is_err());
    }
}

//! From PEM files to what TLS needs, or to a text that says which file, what is wrong with it, and how to mend it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};

use super::super::certificate::{self, Validity};
use super::super::settings::{ClientCertificates, TlsSettings, TlsVersion};
use crate::domain::Problem;

/// No certificate, key or list that a gateway needs is larger.
const MAX_FILE: u64 = 16 << 20;
/// A certificate that ends within this is worth a warning.
const SOON: i64 = 14 * 24 * 3_600;
/// Longest record that is sent, its head included: small devices have small buffers.
const MAX_RECORD: usize = 4_096;
const MAKE: &str = "`voxgate tls create` makes a pair to begin with";

/// Why TLS does not start, or goes on with the certificate that it has. The text says what, where and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mqtt.tls.{key}: {path}: {what}; {remedy}", path = path.display())]
pub struct TlsError {
    /// The key below `mqtt.tls`.
    key: &'static str,
    path: PathBuf,
    what: String,
    remedy: String,
}

impl TlsError {
    fn new(key: &'static str, path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key, path: path.to_owned(), what: what.into(), remedy: remedy.into() }
    }

    /// The same as a problem with the configuration.
    pub fn problem(&self) -> Problem {
        let what = format!("{}: {}", self.path.display(), self.what);
        Problem::new(format!("mqtt.tls.{}", self.key), what, self.remedy.clone())
    }
}

/// The files' contents.
pub(super) struct Files {
    certificate: Content,
    key: Content,
    client_ca: Option<Content>,
    client_crl: Option<Content>,
}

struct Content {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// What the files give.
pub(super) struct Loaded {
    pub config: Arc<ServerConfig>,
    /// Of the server's certificate.
    pub validity: Option<Validity>,
    /// What works but should not stay so.
    pub warnings: Vec<String>,
}

impl Files {
    /// Reads them. Blocks.
    pub fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let asked = settings.client_certificates != ClientCertificates::Off;
        let optional = |key, path: &Option<PathBuf>| path.as_deref().filter(|_| asked).map(|path| read(key, path));
        Ok(Self {
            certificate: read("certificate", settings.certificate.as_deref().unwrap_or(Path::new("")))?,
            key: read("key", settings.key.as_deref().unwrap_or(Path::new("")))?,
            client_ca: optional("client_ca", &settings.client_ca).transpose()?,
            client_crl: optional("client_crl", &settings.client_crl).transpose()?,
        })
    }

    /// Tells changed files from unchanged ones.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for file in [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref(), self.client_crl.as_ref()] {
            let bytes = file.map_or(&[][..], |file| &file.bytes);
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        }
        digest.finalize().into()
    }

    /// Puts them together; `now` in seconds since 1970, for warnings.
    pub fn load(&self, settings: &TlsSettings, now: i64) -> Result<Loaded, TlsError> {
        let chain: Vec<CertificateDer<'static>> = items("certificate", &self.certificate, "certificate")?;
        let validity = chain.first().and_then(certificate::validity);
        let key = self.private_key()?;
        let pair = self.pair(chain, key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[_] = match settings.min_version {
            TlsVersion::V12 => rustls::ALL_VERSIONS,
            TlsVersion::V13 => &[&rustls::version::TLS13],
        };
        let failed = |error: rustls::Error| {
            TlsError::new("certificate", &self.certificate.path, error.to_string(), "use another certificate")
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
        let mut config = builder
            .map_err(failed)?
            .with_client_cert_verifier(self.verifier(settings, &provider)?)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        // no ALPN of our own: a client that offers "mqtt" or anything else is let in all the same
        config.max_fragment_size = Some(MAX_RECORD);
        // tickets are with the clients: a fleet that comes back costs no memory here. Each configuration has keys of its
        // own, so that nobody resumes past a new CA or revocation list
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(failed)?;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        Ok(Loaded { config: Arc::new(config), validity, warnings: self.warnings(validity, now) })
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let error =
            |what: String| TlsError::new("key", &self.key.path, what, format!("name the key's PEM file; {MAKE}"));
        PrivateKeyDer::from_pem_slice(&self.key.bytes).map_err(|e| match e {
            pem::Error::NoItemsFound if contains(&self.key.bytes, b"ENCRYPTED PRIVATE KEY") => {
                let remedy = "decrypt it (openssl pkey -in FILE -out NEW) and keep it to the gateway's user, mode 0600";
                TlsError::new(
                    "key",
                    &self.key.path,
                    "the key has a passphrase, which nobody could type at a start",
                    remedy,
                )
            }
            pem::Error::NoItemsFound => error("holds no private key in PEM form".to_owned()),
            other => error(format!("is no PEM file: {other}")),
        })
    }

    fn pair(&self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, TlsError> {
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let what = format!("the key does not fit the certificate {}", self.certificate.path.display());
                TlsError::new("key", &self.key.path, what, format!("name the files of one pair; {MAKE}"))
            }
            rustls::Error::InvalidCertificate(why) => {
                let what = format!("the first certificate cannot be read: {why:?}");
                TlsError::new("certificate", &self.certificate.path, what, format!("make it anew; {MAKE}"))
            }
            other => {
                let remedy = "use an ECDSA (P-256, P-384), Ed25519 or RSA (2048 bits or more) key";
                TlsError::new("key", &self.key.path, format!("the key cannot be used: {other}"), remedy)
            }
        })
    }

    fn verifier(
        &self,
        settings: &TlsSettings,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let Some(ca) = &self.client_ca else { return Ok(WebPkiClientVerifier::no_client_auth()) };
        let unusable =
            |what: String| TlsError::new("client_ca", &ca.path, what, "name a PEM file with CA certificates");
        let mut roots = RootCertStore::empty();
        for certificate in items("client_ca", ca, "certificate")? {
            roots.add(certificate).map_err(|error| unusable(format!("a certificate cannot be used: {error}")))?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        if let Some(crl) = &self.client_crl {
            let lists: Vec<CertificateRevocationListDer<'static>> = items("client_crl", crl, "revocation list")?;
            builder = builder.with_crls(lists).only_check_end_entity_revocation();
        }
        if settings.client_certificates == ClientCertificates::Optional {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|error| match (&self.client_crl, error) {
            (Some(crl), rustls::server::VerifierBuilderError::InvalidCrl(why)) => {
                let what = format!("a revocation list cannot be read: {why:?}");
                TlsError::new("client_crl", &crl.path, what, "make it anew, or leave client_crl out")
            }
            (_, other) => unusable(other.to_string()),
        })
    }

    fn warnings(&self, validity: Option<Validity>, now: i64) -> Vec<String> {
        let mut warnings = Vec::new();
        let path = self.certificate.path.display();
        if let Some(Validity { from, until }) = validity {
            let day =
                |seconds| jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".to_owned(), |t| t.to_string());
            if until <= now {
                warnings
                    .push(format!("{path}: the certificate ended at {}, clients will refuse it: renew it", day(until)));
            } else if until - now < SOON {
                warnings.push(format!("{path}: the certificate ends at {}: renew it", day(until)));
            } else if from > now {
                let begins = day(from);
                warnings.push(format!("{path}: the certificate begins at {begins}: look at this machine's clock"));
            }
        }
        let mode = std::fs::metadata(&self.key.path).map(|meta| meta.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o007 != 0) {
            let path = self.key.path.display();
            warnings.push(format!("{path}: everybody on this machine may use the private key: chmod 0600, or 0640"));
        }
        warnings
    }
}

fn read(key: &'static str, path: &Path) -> Result<Content, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    let error = |what: String, remedy: &str| Err(TlsError::new(key, path, what, remedy));
    match read {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            error("there is no such file".to_owned(), &format!("name another, or put it there; {MAKE}"))
        }
        Err(why) => error(format!("cannot be read: {why}"), "make it a file that the gateway's user may read"),
        Ok(_) if bytes.len() as u64 > MAX_FILE => error("is larger than 16 MB".to_owned(), "name a PEM file"),
        Ok(_) => Ok(Content { path: path.to_owned(), bytes }),
    }
}

/// All items of one kind in a PEM file; at least one.
fn items<T: PemObject>(key: &'static str, file: &Content, kind: &str) -> Result<Vec<T>, TlsError> {
    let found: Result<Vec<T>, _> = T::pem_slice_iter(&file.bytes).collect();
    let remedy = format!("name a PEM file that begins with -----BEGIN, with a {kind}");
    match found {
        Ok(items) if items.is_empty() => {
            Err(TlsError::new(key, &file.path, format!("holds no {kind} in PEM form"), remedy))
        }
        Ok(items) => Ok(items),
        Err(why) => Err(TlsError::new(key, &file.path, format!("is no PEM file: {why}"), remedy)),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

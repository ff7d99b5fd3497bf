//! TLS towards the outside: which authorities are trusted, and which versions of HTTP are offered.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{HttpError, Settings};

/// How connections to services are secured.
pub(in crate::provider) fn tls(settings: &Settings) -> Result<rustls::ClientConfig, HttpError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| HttpError::Setup(e.to_string()))?;
    Ok(builder.with_root_certificates(roots(settings)?).with_no_client_auth())
}

/// The public authorities, and those of the settings and the environment.
fn roots(settings: &Settings) -> Result<rustls::RootCertStore, HttpError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for file in &settings.ca_files {
        let unreadable = |e: &dyn fmt::Display| HttpError::Setup(format!("{}: {e}", file.display()));
        for certificate in CertificateDer::pem_file_iter(file).map_err(|e| unreadable(&e))? {
            roots.add(certificate.map_err(|e| unreadable(&e))?).map_err(|e| unreadable(&e))?;
        }
    }
    // What the machine's owner tells every program; a bundle has odd certificates in it, which are passed over.
    if let Some(bundle) = std::env::var_os("SSL_CERT_FILE")
        && let Ok(certificates) = CertificateDer::pem_file_iter(bundle)
    {
        roots.add_parsable_certificates(certificates.flatten());
    }
    Ok(roots)
}

/// The same, offering these versions of HTTP, the first of them first.
pub(super) fn offering(config: &rustls::ClientConfig, versions: &[&[u8]]) -> rustls::ClientConfig {
    let mut config = config.clone();
    config.alpn_protocols = versions.iter().map(|version| version.to_vec()).collect();
    config
}

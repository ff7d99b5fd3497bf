//! TLS for idle connections: what they cost a gateway.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::FloodError;

/// A connection over TLS.
pub(super) type Secured = TlsStream<TcpStream>;

/// The certificate authority that the broker's certificate is from.
#[derive(Clone)]
pub struct Trust(TlsConnector);

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// The certificate of a file, PEM.
    pub fn file(path: &Path) -> Result<Self, FloodError> {
        let failed = |error: &dyn std::fmt::Display| FloodError::Trust(error.to_string());
        let certificate = CertificateDer::from_pem_file(path).map_err(|error| failed(&error))?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(|error| failed(&error))?;
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(super) async fn secure(&self, stream: TcpStream, addr: SocketAddr) -> Result<Secured, FloodError> {
        let name = ServerName::IpAddress(addr.ip().into());
        self.0.connect(name, stream).await.map_err(|error| FloodError::Io(error, addr))
    }
}

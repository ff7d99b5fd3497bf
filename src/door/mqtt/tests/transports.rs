//! What the tests of TLS and WebSocket share: certificates in a folder, a door with all listeners, a client over any stream.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};

use super::*;
use crate::domain::Clock;
use crate::door::authority::Authority;

/// A CA, and the files of a server in a folder.
pub(super) struct Papers {
    pub dir: tempfile::TempDir,
    pub authority: Authority,
}

impl Papers {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (authority, _) = Authority::in_folder(dir.path(), SystemClock.wall()).unwrap();
        let papers = Self { dir, authority };
        papers.renew();
        papers
    }

    /// A new certificate of the server, in the place of the old one.
    pub fn renew(&self) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        self.authority.server(&names, 30).unwrap().write(self.dir.path(), "server", true).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A client's certificate and key.
    pub fn client(&self, name: &str) -> (PathBuf, PathBuf) {
        self.authority.client(name, 30).unwrap().write(self.dir.path(), name, true).unwrap()
    }

    /// All four listeners, on ports that are free.
    pub fn settings(&self) -> Settings {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut settings = local();
        settings.tls.enabled = true;
        settings.tls.listen = any;
        settings.tls.certificate = Some(self.path("server.pem"));
        settings.tls.key = Some(self.path("server.key"));
        settings.websocket.enabled = true;
        settings.websocket.listen = any;
        settings.websocket_tls.enabled = true;
        settings.websocket_tls.listen = any;
        settings
    }

    pub fn asking(&self, ask: ClientCertificates) -> Settings {
        let mut settings = self.settings();
        settings.tls.client_certificates = ask;
        settings.tls.client_ca = Some(self.path("ca.pem"));
        settings
    }
}

impl Fixture {
    pub fn addr_of(&self, listener: Listener) -> SocketAddr {
        self.addrs.iter().find(|(kind, _)| *kind == listener).unwrap().1
    }

    pub async fn tcp(&self, listener: Listener) -> TcpStream {
        TcpStream::connect(self.addr_of(listener)).await.unwrap()
    }

    /// A stream over TLS to a listener.
    pub async fn tls(
        &self,
        listener: Listener,
        config: &Arc<rustls::ClientConfig>,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        connector.connect(ServerName::try_from("localhost").unwrap(), self.tcp(listener).await).await
    }

    /// Waits until an attempt had this result.
    pub async fn refused(&self, result: &'static str) {
        until(result, || self.metrics.connects(result) > 0).await;
    }
}

/// A client's configuration that trusts the CA in a file.
pub(super) fn trusting(ca: &Path, identity: Option<(&Path, &Path)>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
        }
    })
}

/// MQTT 3.1.1 over any stream.
pub(super) struct Talk<S> {
    pub stream: S,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// Says who it is; the return code of CONNACK, none when the door closes.
    pub async fn hello(stream: S, fixture: &Fixture, user: &str, client_id: &str) -> (Self, Option<u8>) {
        let mut talk = Self { stream, buffer: BytesMut::new() };
        let sent = talk.stream.write_all(&fixture.connect_packet(Version::V4, user, client_id, 60)).await;
        let code = match sent {
            Ok(()) => talk.next().await.map(|(first, body)| {
                assert_eq!(first, 0x20);
                body[1]
            }),
            Err(_) => None,
        };
        (talk, code)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(f) = codec::frame(&self.buffer, 1 << 28).unwrap()
                && self.buffer.len() >= f.header + f.body
            {
                let all = self.buffer.split_to(f.header + f.body);
                return Some((f.first, all[f.header..].to_vec()));
            }
            let read = self.stream.read_buf(&mut self.buffer);
            match tokio::time::timeout(Duration::from_secs(10), read).await.expect("the door is silent") {
                Ok(n) if n > 0 => {}
                _ => return None,
            }
        }
    }

    pub async fn ping(&mut self) {
        self.send(&[0xC0, 0]).await;
        assert_eq!(self.next().await, Some((0xD0, vec![])));
    }

    pub async fn publish(&mut self, topic: &str, payload: &[u8]) {
        let mut out = BytesMut::new();
        codec::publish(&mut out, Version::V4, PublishHead::default(), topic, payload);
        self.send(&out).await;
    }
}

//! What a TLS handshake found out about a client: the names in its certificate.
//!
//! It must not know TLS: whoever ends the handshake has verified the chain before it hands this over.

/// The names in a client certificate whose chain was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject's common name, when it has one.
    pub common_name: Option<String>,
    /// The subject's other names: those of the kinds dns, uri and email, in the certificate's order.
    pub alt_names: Vec<String>,
    /// SHA-256 of the certificate (DER), in lowercase hex.
    pub fingerprint: String,
}

//! `[mqtt.tls]`, `[mqtt.websocket]`, `[mqtt.websocket_tls]`: the door's other listeners.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Problem, Span};

/// MQTT over TLS, and the certificate that WebSocket over TLS shares with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// Listen for MQTT over TLS (default false).
    pub enabled: bool,
    /// Address and port (default "0.0.0.0:8883"; port 0 takes a free one).
    pub listen: SocketAddr,
    /// The file with the certificate in PEM form, the chain behind it. `voxgate tls create` makes one. Default none.
    pub certificate: Option<PathBuf>,
    /// The file with its private key in PEM form, for the gateway's user only. Default none.
    pub key: Option<PathBuf>,
    /// Whether clients show certificates too (default "off").
    pub client_certificates: ClientCertificates,
    /// The file with the CA certificates that clients' certificates must come from, in PEM form. Default none.
    pub client_ca: Option<PathBuf>,
    /// A file with the revocation lists of those CAs, in PEM form; a CA without a list in it is refused then. Default none.
    pub client_crl: Option<PathBuf>,
    /// The oldest version of TLS that is spoken (default "1.2").
    pub min_version: TlsVersion,
    /// How often the files are looked at; changed ones serve the next connections (default "30s").
    pub reload: Span,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// They are not asked for one.
    #[default]
    Off,
    /// They may; a wrong one is refused.
    Optional,
    /// They must.
    Required,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: SocketAddr::from(([0, 0, 0, 0], 8883)),
            certificate: None,
            key: None,
            client_certificates: ClientCertificates::Off,
            client_ca: None,
            client_crl: None,
            min_version: TlsVersion::V12,
            reload: Span::secs(30),
        }
    }
}

/// MQTT over WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocketSettings {
    /// Listen for MQTT over WebSocket (default false).
    pub enabled: bool,
    /// Address and port (default "0.0.0.0:8083"; port 0 takes a free one).
    pub listen: SocketAddr,
    /// The path of the URL, also over TLS (default "/mqtt").
    pub path: String,
    /// Origins of web pages that may connect, also over TLS, as in "https://console.example.org"; "*" is every page
    /// (default none: only pages of the gateway's own host).
    pub origins: Vec<String>,
}

impl Default for WebSocketSettings {
    fn default() -> Self {
        let listen = SocketAddr::from(([0, 0, 0, 0], 8083));
        Self { enabled: false, listen, path: "/mqtt".to_owned(), origins: Vec::new() }
    }
}

/// MQTT over WebSocket over TLS, with the certificate of `[mqtt.tls]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocketTlsSettings {
    /// Listen for MQTT over WebSocket over TLS (default false).
    pub enabled: bool,
    /// Address and port (default "0.0.0.0:8084"; port 0 takes a free one).
    pub listen: SocketAddr,
}

impl Default for WebSocketTlsSettings {
    fn default() -> Self {
        Self { enabled: false, listen: SocketAddr::from(([0, 0, 0, 0], 8084)) }
    }
}

impl TlsSettings {
    /// What is wrong with the values; `in_use`: a listener needs them. The files are looked at by
    /// [`super::check_files`].
    pub(in crate::door::mqtt) fn check(&self, path: &str, in_use: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, what: &str, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        for (key, file) in [("certificate", &self.certificate), ("key", &self.key)] {
            if in_use && file.is_none() {
                let what = "is missing, and a listener with TLS is on";
                problem(key, what, "name the PEM file; `voxgate tls create` makes one to begin with");
            }
        }
        if self.client_certificates != ClientCertificates::Off && self.client_ca.is_none() {
            let what = "is missing, so no client certificate could be checked";
            problem("client_ca", what, "name the CA's PEM file, or set client_certificates = \"off\"");
        }
        if self.client_crl.is_some() && self.client_certificates == ClientCertificates::Off {
            problem("client_crl", "says nothing while client_certificates is \"off\"", "remove it, or ask for them");
        }
        if self.reload.0.is_zero() {
            problem("reload", "is 0", "leave it out: 30s");
        }
        problems
    }
}

impl WebSocketSettings {
    /// What is wrong with them.
    pub(in crate::door::mqtt) fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.path.starts_with('/') || self.path.contains(|c: char| c.is_whitespace() || "?#".contains(c)) {
            let what = "is no path: it begins with / and has neither blanks nor ? nor #";
            problems.push(Problem::new(format!("{path}.path"), what, "leave it out: /mqtt"));
        }
        for (n, origin) in self.origins.iter().enumerate() {
            if !is_origin(origin) {
                let key = format!("{path}.origins[{n}]");
                let remedy =
                    "write it as the browser sends it: \"https://console.example.org\", without a path; or \"*\"";
                problems.push(Problem::new(key, format!("\"{origin}\" is no origin"), remedy));
            }
        }
        problems
    }
}

fn is_origin(text: &str) -> bool {
    if text == "*" || text == "null" {
        return true;
    }
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let scheme_fits = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    scheme_fits && !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/?#@".contains(c))
}

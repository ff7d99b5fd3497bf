//! A client of the control API: one request, one connection, JSON.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Of the status line.
    pub status: u16,
    /// Lower-case.
    pub head: String,
    /// The body; null when it is no JSON.
    pub body: Value,
    /// The same as text.
    pub text: String,
}

impl Reply {
    /// The code of a failure; empty when it is none.
    pub fn code(&self) -> &str {
        self.body["error_code"].as_str().unwrap_or_default()
    }
}

/// An operator at the API.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where it is.
    pub address: SocketAddr,
    /// What it shows.
    pub token: Option<String>,
}

impl Http {
    /// Asks for something.
    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"").await
    }

    /// Asks again and again, until the answer is as it is wanted: the API has nothing that tells when.
    pub async fn get_until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let asking = async {
            loop {
                last = self.get(path).await.body;
                if wanted(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, asking).await.is_ok();
        assert!(came, "{path} stays {last}");
        last
    }

    /// Changes something.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask("POST", path, &[], body.to_string().as_bytes()).await
    }

    /// One request.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", self.address, body.len());
        if let Some(token) = &self.token {
            let _ = write!(head, "x-auth-token: {token}\r\n");
        }
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        self.raw(&[head.as_bytes(), b"\r\n", body].concat()).await
    }

    /// Sends bytes and reads until the door closes.
    pub async fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // a door that refuses the head need not read the rest
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let body = serde_json::from_str(text).unwrap_or_default();
        Reply { status, head: head.to_lowercase(), body, text: text.to_owned() }
    }
}

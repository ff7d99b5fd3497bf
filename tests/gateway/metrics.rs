//! What the gateway tells over HTTP: its metrics and its health.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PATIENCE, Running};

/// The status and the body of a GET.
pub async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The sum of a counter's or gauge's samples that have these labels.
pub fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> u64 {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        let has = |(key, value): &(&str, &str)| rest.contains(&format!("{key}=\"{value}\""));
        (found == name && labels.iter().all(has)).then(|| value.parse::<u64>().unwrap())
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).sum()
}

impl Running {
    /// The gateway's HTTP address.
    pub fn http(&self) -> SocketAddr {
        self.addrs().http.unwrap()
    }

    /// A metric now, read as an operator reads it.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let (status, text) = get(self.http(), "/metrics").await;
        assert_eq!(status, 200);
        value(&text, name, labels)
    }

    /// Waits until a metric is at least this.
    pub async fn counted(&self, name: &str, labels: &[(&str, &str)], least: u64) {
        let mut last = 0;
        let counting = async {
            while last < least {
                last = self.metric(name, labels).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, counting).await.is_ok(), "{name}{labels:?} is {last}, not {least}");
    }

    /// Waits until a gauge says that nothing is left.
    pub async fn until_zero(&self, name: &str) {
        let falling = async { while self.metric(name, &[]).await > 0 {} };
        assert!(tokio::time::timeout(PATIENCE, falling).await.is_ok(), "{name} stays");
    }

    /// What `/-/ready` says: the status and the component of this name.
    pub async fn ready(&self, component: &str) -> (u16, Value) {
        let (status, body) = get(self.http(), "/-/ready").await;
        let verdict: Value = serde_json::from_str(&body).unwrap();
        let found = verdict["components"].as_array().unwrap().iter().find(|c| c["name"] == component);
        (status, found.unwrap_or_else(|| panic!("no {component} in {body}")).clone())
    }
}

//! What the engine process says of itself: its `/health`, and what that means.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::State;

/// The longest `/health`.
const HEALTH: u64 = 64 << 10;

/// The answer of `/health`. Written by hand: the client of `provider` is not for this room.
pub(super) async fn health(http: std::net::SocketAddr) -> std::io::Result<Value> {
    let mut socket = TcpStream::connect(http).await?;
    socket.write_all(format!("GET /health HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    socket.take(HEALTH).read_to_end(&mut answer).await?;
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map(|at| &answer[at + 4..]);
    let strange = || std::io::Error::new(std::io::ErrorKind::InvalidData, "not the engine's /health");
    let body = body.filter(|_| answer.starts_with(b"HTTP/1.1 200")).ok_or_else(strange)?;
    serde_json::from_slice(body).map_err(|_| strange())
}

fn engines(report: &Value) -> impl Iterator<Item = (&String, &Value)> {
    report.get("engines").and_then(Value::as_object).into_iter().flatten()
}

/// The engine that shows no progress.
pub(super) fn hung(report: &Value) -> Option<String> {
    engines(report).find(|(_, engine)| engine["hung"] == true).map(|(name, _)| name.clone())
}

pub(super) fn judge(report: &Value) -> State {
    match report["status"].as_str() {
        Some("ready") => State::Ready,
        Some("loading") => State::Starting,
        _ => {
            let bad = engines(report).filter_map(|(name, engine)| {
                let reason = engine["reason"].as_str()?;
                Some(format!("{name}: {reason}"))
            });
            State::Degraded(bad.collect::<Vec<_>>().join("; "))
        }
    }
}

//! The device's camera: its photo goes to the gateway over a connection of its own, in chunks, as firmware sends it.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The tool by which it is used.
pub(super) const TOOL: &str = "self.camera.take_photo";
/// How long firmware waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a chunk.
const CHUNK: usize = 512;
/// What stands between the parts of a form.
const BOUNDARY: &str = "----ESP32_CAMERA_BOUNDARY";

/// A camera that always takes the same photo.
#[derive(Debug, Clone)]
pub struct Camera {
    photo: Vec<u8>,
    device: String,
    /// Where photos go and what is shown there, as the gateway told.
    pub told: Option<(String, String)>,
}

impl Camera {
    pub(super) fn new(photo: &[u8], device: &str) -> Self {
        Self { photo: photo.to_vec(), device: device.to_owned(), told: None }
    }

    /// The gateway's `initialize`.
    pub(super) fn hear(&mut self, params: &Value) {
        let vision = &params["capabilities"]["vision"];
        if let (Some(url), Some(token)) = (vision["url"].as_str(), vision["token"].as_str()) {
            self.told = Some((url.to_owned(), token.to_owned()));
        }
    }

    /// Sends the photo; what the gateway says is the tool's answer, and any status but 200 its error.
    pub async fn take_photo(&self, question: &str) -> Result<String, String> {
        let Some((url, token)) = &self.told else { return Err("no address for photos".to_owned()) };
        let answered = timeout(PATIENCE, self.send(url, token, question)).await;
        match answered.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
            Ok((200, body)) => Ok(body),
            Ok((status, _)) => Err(format!("failed to upload photo, status {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn send(&self, url: &str, token: &str, question: &str) -> io::Result<(u16, String)> {
        let bad = || io::Error::from(io::ErrorKind::InvalidInput);
        let (host, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).ok_or_else(bad)?;
        let mut stream = TcpStream::connect(host).await?;
        let head = format!(
            "POST /{path} HTTP/1.1\r\nHost: {host}\r\nDevice-Id: {}\r\nClient-Id: simulated\r\n\
             Authorization: Bearer {token}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
            self.device
        );
        stream.write_all(head.as_bytes()).await?;
        for piece in form(question, &self.photo).chunks(CHUNK) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            stream.write_all(piece).await?;
            stream.write_all(b"\r\n").await?;
        }
        stream.write_all(b"0\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
        Ok((status, body.to_owned()))
    }
}

/// Question and photo, in the order and with the headers that firmware gives them.
fn form(question: &str, photo: &[u8]) -> Vec<u8> {
    let question = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"question\"\r\n\r\n{question}\r\n--{BOUNDARY}\r\n"
    );
    let head =
        "Content-Disposition: form-data; name=\"file\"; filename=\"camera.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n";
    [question.as_bytes(), head.as_bytes(), photo, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat()
}

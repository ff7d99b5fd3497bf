//! MQTT over WebSocket (RFC 6455; MQTT 5, section 6): the HTTP request, then frames as a byte stream.
//!
//! Ours rather than a crate's: packets may be split over frames and joined in them, so a frame is only an envelope, and
//! bytes pass through as they come. Nothing is buffered, no length that a stranger announces is reserved, and an idle
//! connection holds a few bytes. `docs/decisions/03-mqtt-transports.md` has the comparison.

mod frames;
mod head;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::Arrival;
use crate::door::mqtt::gate::Gate;
use crate::door::mqtt::socket::Transport;
use head::{Answer, MAX_HEAD};
pub(super) use stream::WebSocket;

/// How long a refused peer gets to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Reads the request and answers it. The error is a label of [`crate::door::mqtt::metrics::RESULTS`].
pub(super) async fn accept<S: Transport>(
    gate: &Arc<Gate>,
    mut stream: S,
    arrival: &Arrival,
    deadline: Instant,
) -> Result<WebSocket<S>, &'static str> {
    let mut inbox = BytesMut::new();
    let settings = &gate.settings.websocket;
    let reading = Box::pin(read_head(&mut stream, &mut inbox));
    let answer = match timeout_at(deadline, reading).await {
        Err(_) => return Err("ws_timeout"),
        Ok(Err(refusal)) => refusal,
        Ok(Ok(end)) => head::judge(&inbox.split_to(end), settings, arrival.listener.secure()),
    };
    match answer {
        Answer::Upgrade(response) => {
            let written = timeout_at(deadline, stream.write_all(&response)).await;
            if !matches!(written, Ok(Ok(()))) {
                return Err("ws_gone");
            }
            Ok(WebSocket::new(stream, inbox, gate.clone()))
        }
        Answer::Refuse { response, cause } => {
            // its own time: the peer's mistake must not be hidden by a reset connection
            let _ = timeout(LINGER, Box::pin(part(&mut stream, &response))).await;
            Err(cause)
        }
        Answer::Gone => Err("ws_gone"),
    }
}

/// Reads until the empty line; says where the head ends.
async fn read_head<S: Transport>(stream: &mut S, inbox: &mut BytesMut) -> Result<usize, Answer> {
    loop {
        if let Some(end) = head::end(inbox) {
            return Ok(end);
        }
        if let Some(refusal) = head::hopeless(inbox) {
            return Err(refusal);
        }
        let mut limited = (&mut *stream).take((MAX_HEAD + 1 - inbox.len()) as u64);
        match limited.read_buf(inbox).await {
            Ok(n) if n > 0 => {}
            _ => return Err(Answer::Gone),
        }
    }
}

/// Says why, and waits until the peer has read it: unread bytes would turn the close into a reset.
async fn part<S: Transport>(stream: &mut S, response: &[u8]) {
    if stream.write_all(response).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let mut scratch = [0; 1_024];
    while let Ok(n) = stream.read(&mut scratch).await {
        if n == 0 {
            return;
        }
    }
}

//! WebSockets to the outside: opened by the HTTP client, with its certificates, headers and errors, and heard with patience.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::http::{Client, Headers, HttpError, Patience, Upgraded};

/// The longest message that is heard, in bytes.
const LONGEST: usize = 1 << 20;

/// What goes out.
pub(super) struct Sayer(SplitSink<WebSocketStream<Upgraded>, Message>);

/// What comes in.
pub(super) struct Hearer {
    socket: SplitStream<WebSocketStream<Upgraded>>,
    patience: Patience,
    deadline: Instant,
    first: bool,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Text(String),
    Bytes(Bytes),
    /// The other side closed, with a code and a reason.
    Closed(u16, String),
}

/// Opens a WebSocket at `url` (`wss://`, `https://`, and both without TLS) with a query.
pub(super) async fn open(
    client: &Client,
    (url, query): (&str, &[(&str, String)]),
    headers: &Headers,
    patience: Patience,
) -> Result<(Sayer, Hearer), HttpError> {
    let deadline = Instant::now() + patience.whole;
    let key = STANDARD.encode(rand::random::<[u8; 16]>());
    let asked = headers.clone().with("sec-websocket-version", "13").with("sec-websocket-key", key.as_str());
    let (io, accept) = client.upgrade((url, query), &asked, patience).await?;
    if accept.as_deref() != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(HttpError::BadAnswer("the service answers, but not as a WebSocket".into()));
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST));
    let socket = WebSocketStream::from_raw_socket(io, Role::Client, Some(config)).await;
    let (sink, socket) = socket.split();
    Ok((Sayer(sink), Hearer { socket, patience, deadline, first: true }))
}

impl Sayer {
    /// Sends bytes.
    pub(super) async fn bytes(&mut self, bytes: Bytes) -> Result<(), HttpError> {
        self.0.send(Message::Binary(bytes)).await.map_err(|error| broken(&error))
    }

    /// Sends text.
    pub(super) async fn text(&mut self, text: impl Into<String>) -> Result<(), HttpError> {
        self.0.send(Message::text(text.into())).await.map_err(|error| broken(&error))
    }
}

impl Hearer {
    /// The next message; pings are answered meanwhile.
    pub(super) async fn next(&mut self) -> Result<Heard, HttpError> {
        loop {
            let message = match self.within().await? {
                Some(message) => message.map_err(|error| broken(&error))?,
                None => return Err(HttpError::Unavailable("the service closed the connection".into())),
            };
            match message {
                Message::Text(text) => {
                    self.first = false;
                    return Ok(Heard::Text(text.as_str().to_owned()));
                }
                Message::Binary(bytes) => {
                    self.first = false;
                    return Ok(Heard::Bytes(bytes));
                }
                Message::Close(frame) => return Ok(closed(frame)),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    async fn within(&mut self) -> Result<Option<Result<Message, Error>>, HttpError> {
        let Patience { first_byte, between, whole } = self.patience;
        let (what, limit) = if self.first { ("answer", first_byte) } else { ("next piece", between) };
        let late = |what: &'static str, after: Duration| HttpError::Timeout { what, after };
        let until = Instant::now() + limit;
        match timeout_at(until.min(self.deadline), self.socket.next()).await {
            Ok(message) => Ok(message),
            Err(_) if until < self.deadline => Err(late(what, limit)),
            Err(_) => Err(late("end of the answer", whole)),
        }
    }
}

/// 1005 is "no code was given".
fn closed(frame: Option<CloseFrame>) -> Heard {
    frame.map_or(Heard::Closed(1_005, String::new()), |frame| {
        Heard::Closed(frame.code.into(), frame.reason.as_str().to_owned())
    })
}

fn broken(error: &Error) -> HttpError {
    match error {
        Error::Io(_) | Error::Tls(_) | Error::ConnectionClosed | Error::AlreadyClosed => {
            HttpError::Unavailable(format!("the connection broke: {error}"))
        }
        Error::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            HttpError::Unavailable("the service closed the connection".into())
        }
        _ => HttpError::BadAnswer(error.to_string()),
    }
}

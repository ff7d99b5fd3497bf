//! The two ways on which a device talks: MQTT with datagrams beside it, or one WebSocket.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, QoS};
use serde_json::Value;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::board::BoardError;
use super::weather::{Fate, Weather};
use crate::sim::device::Login;
use crate::wire::xiaozhi::datagram::{Cipher, Header};
use crate::wire::xiaozhi::frames::{self, Frame, Version};

/// What waits for the device's own code.
const WAITING: usize = 1024;
/// Largest MQTT packet that it takes, bytes.
const PACKET: usize = 64 << 10;

/// Something came.
pub(super) enum Arrived {
    Text(Instant, Bytes),
    /// Datagrams have a number.
    Audio(Instant, Option<u32>, Bytes),
}

/// A way on which a device talks.
pub(super) enum Line {
    Mqtt(Box<MqttLine>),
    WebSocket(Box<WebSocketLine>),
}

impl Line {
    pub(super) fn datagrams(&self) -> bool {
        matches!(self, Line::Mqtt(_))
    }

    /// What its hello says.
    pub(super) fn version(&self) -> u8 {
        match self {
            Line::Mqtt(_) => 3,
            Line::WebSocket(line) => line.version.number(),
        }
    }

    pub(super) async fn text(&mut self, text: &Value) -> Result<(), BoardError> {
        match self {
            Line::Mqtt(line) => line.text(text).await,
            Line::WebSocket(line) => line.send(Message::text(text.to_string())).await,
        }
    }

    /// The gateway said hello.
    pub(super) async fn opened(&mut self, hello: &Value) -> Result<(), BoardError> {
        match self {
            Line::Mqtt(line) => line.open(&hello["udp"]).await,
            Line::WebSocket(_) => Ok(()),
        }
    }

    pub(super) async fn audio(&mut self, packet: &Bytes, weather: &mut Weather) -> Result<(), BoardError> {
        match self {
            Line::Mqtt(line) => line.audio(packet, weather.up()).await,
            // nothing is lost on a stream
            Line::WebSocket(line) => {
                let frame = frames::write(line.version, 0, packet);
                line.send(Message::binary(frame)).await
            }
        }
    }

    pub(super) async fn next(&mut self, patience: Duration, what: &'static str) -> Result<Arrived, BoardError> {
        let next = async {
            match self {
                Line::Mqtt(line) => line.arrived.recv().await.unwrap_or_else(|| Err(gone("the gateway closed it"))),
                Line::WebSocket(line) => line.next().await,
            }
        };
        timeout(patience, next).await.unwrap_or(Err(BoardError::Silence(what, patience)))
    }
}

fn gone(why: impl std::fmt::Display) -> BoardError {
    BoardError::Connection(why.to_string())
}

/// MQTT, and datagrams after a hello. It never subscribes.
pub(super) struct MqttLine {
    client: AsyncClient,
    topic: String,
    arrived: mpsc::Receiver<Result<Arrived, BoardError>>,
    sender: mpsc::Sender<Result<Arrived, BoardError>>,
    channel: Option<Channel>,
    /// The task that drives the connection; aborted with the device.
    _network: JoinSet<()>,
}

struct Channel {
    socket: std::sync::Arc<UdpSocket>,
    cipher: Cipher,
    ssrc: u32,
    seq: u32,
    /// A datagram that the next one overtakes.
    behind: Option<Bytes>,
    _receiving: JoinSet<()>,
}

impl MqttLine {
    pub(super) async fn connect(login: &Login, patience: Duration) -> Result<Self, BoardError> {
        // the client id that the bootstrap gave is the device's own
        let mut options = MqttOptions::new(login.id.as_str(), login.host.clone(), login.port);
        options.set_credentials(login.id.as_str(), login.secret.clone());
        options.set_keep_alive(Duration::from_mins(4));
        options.set_max_packet_size(PACKET, PACKET);
        let (client, mut events) = AsyncClient::new(options, 64);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        timeout(patience, connected(&mut events)).await.unwrap_or(Err(BoardError::Silence("CONNACK", patience)))?;
        let (sender, arrived) = mpsc::channel(WAITING);
        let mut network = JoinSet::new();
        network.spawn(pump(events, sender.clone()));
        let topic = format!("xz/{}/up", login.id);
        Ok(Self { client, topic, arrived, sender, channel: None, _network: network })
    }

    async fn text(&mut self, text: &Value) -> Result<(), BoardError> {
        let payload = Bytes::from(text.to_string());
        self.client.publish_bytes(&self.topic, QoS::AtMostOnce, false, payload).await.map_err(gone)
    }

    async fn open(&mut self, udp: &Value) -> Result<(), BoardError> {
        let key = hex(&udp["key"]).ok_or(BoardError::Hello("key"))?;
        let nonce = hex(&udp["nonce"]).ok_or(BoardError::Hello("nonce"))?;
        let host = udp["server"].as_str().ok_or(BoardError::Hello("server"))?;
        let port = udp["port"].as_u64().and_then(|port| u16::try_from(port).ok()).ok_or(BoardError::Hello("port"))?;
        let socket = UdpSocket::bind("0.0.0.0:0").await.map_err(gone)?;
        socket.connect((host, port)).await.map_err(gone)?;
        let socket = std::sync::Arc::new(socket);
        let mut receiving = JoinSet::new();
        receiving.spawn(receive(socket.clone(), Cipher::new(&key), self.sender.clone()));
        let ssrc = u32::from_be_bytes([nonce[4], nonce[5], nonce[6], nonce[7]]);
        self.channel =
            Some(Channel { socket, cipher: Cipher::new(&key), ssrc, seq: 0, behind: None, _receiving: receiving });
        Ok(())
    }

    async fn audio(&mut self, packet: &Bytes, fate: Fate) -> Result<(), BoardError> {
        let Some(channel) = &mut self.channel else { return Ok(()) };
        channel.seq += 1;
        let header = Header { ssrc: channel.ssrc, ts_ms: 0, seq: channel.seq };
        let Some(datagram) = channel.cipher.seal(header, packet) else { return Ok(()) };
        match fate {
            Fate::Lost => return Ok(()),
            Fate::Overtaken if channel.behind.is_none() => {
                channel.behind = Some(datagram);
                return Ok(());
            }
            Fate::Overtaken | Fate::Arrives => channel.send(&datagram).await,
        }
        if let Some(behind) = channel.behind.take() {
            channel.send(&behind).await;
        }
        Ok(())
    }
}

impl Channel {
    /// As firmware does: a datagram that cannot be sent is lost, and MQTT tells when the gateway is gone.
    async fn send(&self, datagram: &[u8]) {
        let _ = self.socket.send(datagram).await;
    }
}

/// Firmware's own reading of a datagram: type, exact length; the number is [`super::Strict`]'s to judge.
async fn receive(socket: std::sync::Arc<UdpSocket>, cipher: Cipher, sender: mpsc::Sender<Result<Arrived, BoardError>>) {
    let mut buffer = [0; 2048];
    loop {
        // a port that is closed for the moment is told as an error, once for each datagram that was sent
        let Ok(length) = socket.recv(&mut buffer).await else { continue };
        let at = Instant::now();
        let datagram = &buffer[..length];
        let (Ok(header), Ok((packet, _))) = (Header::read(datagram), cipher.open(datagram)) else { continue };
        if sender.send(Ok(Arrived::Audio(at, Some(header.seq), packet))).await.is_err() {
            return;
        }
    }
}

async fn connected(events: &mut EventLoop) -> Result<(), BoardError> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(gone(error)),
        }
    }
}

async fn pump(mut events: EventLoop, sender: mpsc::Sender<Result<Arrived, BoardError>>) {
    loop {
        let next = match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(publish))) => Ok(Arrived::Text(Instant::now(), publish.payload)),
            Ok(_) => continue,
            Err(error) => Err(gone(error)),
        };
        let over = next.is_err();
        if sender.send(next).await.is_err() || over {
            return;
        }
    }
}

/// One WebSocket for everything.
pub(super) struct WebSocketLine {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    version: Version,
}

impl WebSocketLine {
    pub(super) async fn connect(
        login: &Login,
        url: &str,
        version: Version,
        patience: Duration,
    ) -> Result<Self, BoardError> {
        let mut request = url.into_client_request().map_err(gone)?;
        let headers = [
            ("Authorization", format!("Bearer {}", login.secret)),
            ("Protocol-Version", version.number().to_string()),
            ("Device-Id", login.id.to_string()),
            ("Client-Id", "4c0f2a5e-0000-4000-8000-000000000001".to_owned()),
        ];
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse().map_err(gone)?);
        }
        let connecting = tokio_tungstenite::connect_async(request);
        let opened = timeout(patience, connecting).await.map_err(|_| BoardError::Silence("upgrade", patience))?;
        let (socket, _) = opened.map_err(gone)?;
        Ok(Self { socket, version })
    }

    async fn send(&mut self, message: Message) -> Result<(), BoardError> {
        self.socket.send(message).await.map_err(gone)
    }

    async fn next(&mut self) -> Result<Arrived, BoardError> {
        loop {
            let message = self.socket.next().await.ok_or_else(|| gone("the gateway closed it"))?.map_err(gone)?;
            let at = Instant::now();
            match message {
                Message::Text(text) => return Ok(Arrived::Text(at, text.into())),
                Message::Binary(frame) => {
                    return Ok(match frames::read(self.version, &frame) {
                        Ok(Frame::Opus(_, packet)) => Arrived::Audio(at, None, packet),
                        Ok(Frame::Json(text)) => Arrived::Text(at, text),
                        Err(_) => Arrived::Text(at, Bytes::from_static(b"a frame that is none")),
                    });
                }
                Message::Close(_) => return Err(gone("the gateway closed it")),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}

fn hex(value: &Value) -> Option<[u8; 16]> {
    let text = value.as_str().filter(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

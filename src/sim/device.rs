//! A simulated device of the native dialect: a real MQTT client on a real socket.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Outgoing, Packet, QoS};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::domain::{AudioPacket, Control, ControlKind, DeviceId, Downlink, Stream};
use crate::wire::native::client;

/// Largest packet that the device takes, bytes.
const PACKET: usize = 256 * 1024;
/// Downlinks that wait for the device's own code.
const WAITING: usize = 1024;

/// Where and as whom a device connects.
#[derive(Clone)]
pub struct Login {
    /// Host name or address.
    pub host: String,
    /// Port of the plain MQTT listener.
    pub port: u16,
    /// The device id, which is the user name.
    pub id: DeviceId,
    /// The secret.
    pub secret: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}", self.id, self.host, self.port)
    }
}

/// Why a device failed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The connection failed or was refused.
    #[error("connection: {0}")]
    Connection(String),
    /// Nothing came in time.
    #[error("no {0} within {1:?}")]
    Silence(&'static str, Duration),
    /// The gateway sent bytes that are no downlink.
    #[error("a downlink that cannot be read: {0}")]
    Downlink(String),
}

/// A downlink and when it arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// When its bytes were read.
    pub at: Instant,
    /// What it is.
    pub downlink: Downlink,
}

/// A connected device.
pub struct Device {
    /// Who it is.
    pub id: DeviceId,
    client: AsyncClient,
    arrived: mpsc::Receiver<Result<Arrived, DeviceError>>,
    /// The one task that drives the connection; dropped with the device, it is aborted.
    network: JoinSet<()>,
    control_seq: u32,
    audio_seq: u32,
    audio_topic: String,
    control_topic: String,
}

impl Device {
    /// Connects and waits for the CONNACK.
    pub async fn connect(login: &Login, patience: Duration) -> Result<Self, DeviceError> {
        let mut options = MqttOptions::new(login.id.as_str(), login.host.clone(), login.port);
        options.set_credentials(login.id.as_str(), login.secret.clone());
        options.set_keep_alive(Duration::from_mins(1));
        options.set_max_packet_size(PACKET, PACKET);
        let (client, mut events) = AsyncClient::new(options, 64);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        connected(&mut events, patience).await?;
        let (sender, arrived) = mpsc::channel(WAITING);
        let mut network = JoinSet::new();
        network.spawn(pump(events, sender));
        let (control_topic, audio_topic) =
            (format!("device/{}/control", login.id), format!("device/{}/audio", login.id));
        let id = login.id.clone();
        Ok(Self { id, client, arrived, network, control_seq: 0, audio_seq: 0, audio_topic, control_topic })
    }

    /// Sends a control message at QoS 1.
    pub async fn control(&mut self, session: Option<&str>, kind: ControlKind) -> Result<(), DeviceError> {
        self.control_seq += 1;
        let control = Control {
            session_id: session.map(str::to_owned),
            seq: Some(self.control_seq),
            ts_ms: None,
            msg_id: None,
            json: true,
            kind,
        };
        let payload = client::encode_control(&control);
        self.publish(self.control_topic.clone(), QoS::AtLeastOnce, payload).await
    }

    /// Sends an audio packet; numbers it.
    pub async fn audio(&mut self, mut packet: AudioPacket) -> Result<(), DeviceError> {
        self.audio_seq += 1;
        packet.seq = self.audio_seq;
        let payload = client::encode_audio(&packet);
        self.publish(self.audio_topic.clone(), QoS::AtMostOnce, payload).await
    }

    /// The next downlink.
    pub async fn next(&mut self, patience: Duration, what: &'static str) -> Result<Arrived, DeviceError> {
        match tokio::time::timeout(patience, self.arrived.recv()).await {
            Ok(Some(arrived)) => arrived,
            Ok(None) => Err(DeviceError::Connection("closed by the gateway".into())),
            Err(_) => Err(DeviceError::Silence(what, patience)),
        }
    }

    /// The next downlink, if one is there.
    pub fn try_next(&mut self) -> Option<Result<Arrived, DeviceError>> {
        self.arrived.try_recv().ok()
    }

    /// Begins both streams anew, as after a new hello.
    pub fn renumber(&mut self) {
        self.control_seq = 0;
        self.audio_seq = 0;
    }

    /// Leaves a control number out, as a device does that goes on after a restart of its connection.
    pub fn skip_number(&mut self) {
        self.control_seq += 1;
    }

    /// The next control message has this number: one that was not acknowledged is sent again under its own.
    pub fn number_from(&mut self, seq: u32) {
        self.control_seq = seq.wrapping_sub(1);
    }

    /// Says goodbye to the broker and waits until the connection is closed.
    pub async fn disconnect(mut self) {
        // a connection that is gone needs no goodbye
        let _ = self.client.disconnect().await;
        let _ = tokio::time::timeout(Duration::from_secs(1), self.network.join_next()).await;
    }

    async fn publish(&self, topic: String, qos: QoS, payload: Bytes) -> Result<(), DeviceError> {
        self.client
            .publish_bytes(topic, qos, false, payload)
            .await
            .map_err(|error| DeviceError::Connection(error.to_string()))
    }
}

async fn connected(events: &mut EventLoop, patience: Duration) -> Result<(), DeviceError> {
    let wait = async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(DeviceError::Connection(error.to_string())),
            }
        }
    };
    match tokio::time::timeout(patience, wait).await {
        Ok(result) => result,
        Err(_) => Err(DeviceError::Silence("CONNACK", patience)),
    }
}

/// Drives the connection; hands on what arrives.
async fn pump(mut events: EventLoop, sender: mpsc::Sender<Result<Arrived, DeviceError>>) {
    loop {
        let event = match events.poll().await {
            Ok(event) => event,
            Err(error) => {
                // the device's own code may have gone already
                let _ = sender.send(Err(DeviceError::Connection(error.to_string()))).await;
                return;
            }
        };
        let at = Instant::now();
        match event {
            Event::Incoming(Packet::Publish(publish)) => {
                let stream = if publish.topic.ends_with("/down/audio") { Stream::Audio } else { Stream::Control };
                let read = client::decode_downlink(stream, &publish.payload)
                    .map(|downlink| Arrived { at, downlink })
                    .map_err(|error| DeviceError::Downlink(error.to_string()));
                if sender.send(read).await.is_err() {
                    return;
                }
            }
            Event::Outgoing(Outgoing::Disconnect) => return,
            _ => {}
        }
    }
}

//! A client that speaks MQTT byte by byte, and so may also speak it wrongly.

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use voxgate::domain::{AudioPacket, Control, ControlKind, Downlink, Stream};
use voxgate::wire::native::client;

use super::PATIENCE;
use super::answer::Answer;

/// The protocol's level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1
    V4,
    /// 5
    V5,
}

/// What came.
#[derive(Debug)]
pub enum Got {
    /// PUBACK and its reason code.
    Ack(u16, u8),
    /// A downlink.
    Down(Downlink),
    /// Another message, by its topic.
    Message(String, Bytes),
    /// Another packet: its first byte and its body.
    Packet(u8, Bytes),
    /// The gateway closed the connection.
    Closed,
}

/// A raw client.
pub struct Peer {
    stream: TcpStream,
    inbox: BytesMut,
    version: Version,
    id: String,
    packet_id: u16,
}

fn text(text: &str) -> Vec<u8> {
    let mut out = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out
}

/// A packet with its length.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut left = body.len();
    loop {
        let byte = u8::try_from(left % 128).unwrap();
        left /= 128;
        out.push(if left > 0 { byte | 0x80 } else { byte });
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// CONNECT with a name and a password.
pub fn connect_packet(version: Version, user: &str, secret: &str) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend_from_slice(&[if version == Version::V4 { 4 } else { 5 }, 0xC2, 0, 60]);
    if version == Version::V5 {
        body.push(0);
    }
    for part in [user, user, secret] {
        body.extend(text(part));
    }
    packet(0x10, &body)
}

impl Peer {
    /// A connection that has said nothing yet.
    pub async fn open(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, inbox: BytesMut::new(), version: Version::V4, id: String::new(), packet_id: 0 }
    }

    /// A connection that is in.
    pub async fn connect(addr: SocketAddr, version: Version, user: &str, secret: &str) -> Self {
        Self::open(addr).await.greet(version, user, secret).await
    }

    /// A connection that is in, with as small a window as the system allows: it is soon full.
    pub async fn narrow(addr: SocketAddr, user: &str, secret: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        Self::over(socket.connect(addr).await.unwrap()).greet(Version::V4, user, secret).await
    }

    async fn greet(self, version: Version, user: &str, secret: &str) -> Self {
        let mut peer = Self { version, id: user.to_owned(), ..self };
        peer.send(&connect_packet(version, user, secret)).await;
        match peer.next().await {
            Got::Packet(0x20, body) => assert_eq!(body[1], 0, "refused"),
            other => panic!("{other:?}"),
        }
        peer
    }

    /// Sends bytes as they are; the gateway may have closed already.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Says that nothing follows.
    pub async fn hang_up(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Publishes on any topic; gives the packet id (0 at QoS 0).
    pub async fn publish_on(&mut self, topic: &str, qos: u8, payload: &[u8]) -> u16 {
        let mut body = text(topic);
        let id = if qos > 0 {
            self.packet_id = self.packet_id % 60_000 + 1;
            body.extend_from_slice(&self.packet_id.to_be_bytes());
            self.packet_id
        } else {
            0
        };
        if self.version == Version::V5 {
            body.push(0);
        }
        body.extend_from_slice(payload);
        self.send(&packet(0x30 | qos << 1, &body)).await;
        id
    }

    /// Publishes on one of the device's own topics.
    pub async fn publish(&mut self, stream: &str, qos: u8, payload: &[u8]) -> u16 {
        let topic = format!("device/{}/{stream}", self.id);
        self.publish_on(&topic, qos, payload).await
    }

    /// Sends a control message with this number at QoS 1; gives the packet id.
    pub async fn control(&mut self, seq: u32, kind: ControlKind) -> u16 {
        let control = Control { session_id: None, seq: Some(seq), ts_ms: None, msg_id: None, json: true, kind };
        self.publish("control", 1, &client::encode_control(&control)).await
    }

    /// Sends an audio packet with this number.
    pub async fn audio(&mut self, seq: u32, packet: AudioPacket) {
        let bytes = client::encode_audio(&AudioPacket { seq, ..packet });
        self.publish("audio", 0, &bytes).await;
    }

    /// Subscribes to a filter.
    pub async fn subscribe(&mut self, filter: &str) {
        let mut body = vec![0, 1];
        if self.version == Version::V5 {
            body.push(0);
        }
        body.extend(text(filter));
        body.push(0);
        self.send(&packet(0x82, &body)).await;
        loop {
            match self.next().await {
                Got::Packet(0x90, answer) => return assert!(*answer.last().unwrap() < 0x80, "{filter} is refused"),
                Got::Closed => panic!("closed instead of subscribed"),
                _ => {}
            }
        }
    }

    /// What comes next.
    pub async fn next(&mut self) -> Got {
        loop {
            if let Some((first, body)) = self.whole() {
                return self.read(first, body).await;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.inbox)).await.expect("the gateway is silent");
            if !matches!(read, Ok(n) if n > 0) {
                return Got::Closed;
            }
        }
    }

    /// The next PUBACK; downlinks before it are passed over.
    pub async fn ack(&mut self) -> (u16, u8) {
        loop {
            match self.next().await {
                Got::Ack(id, code) => return (id, code),
                Got::Closed => panic!("closed instead of acknowledged"),
                _ => {}
            }
        }
    }

    /// The next downlink that `wanted` likes.
    pub async fn until(&mut self, wanted: impl Fn(&Downlink) -> bool) -> Downlink {
        loop {
            match self.next().await {
                Got::Down(downlink) if wanted(&downlink) => return downlink,
                Got::Closed => panic!("closed"),
                _ => {}
            }
        }
    }

    /// What the device is told until its turn is over.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = Answer::default();
        loop {
            let got = self.next().await;
            assert!(!matches!(got, Got::Closed), "closed in mid-answer: {answer:?}");
            if let Got::Down(downlink) = got
                && answer.take(downlink)
            {
                return answer;
            }
        }
    }

    /// Asks with this number; what the device is told until its turn is over and the question is acknowledged, which may
    /// come later: that is when it is on the disk.
    pub async fn ask(&mut self, seq: u32, question: &str) -> Answer {
        let asked = self.control(seq, ControlKind::Text(question.to_owned())).await;
        let (mut answer, mut over, mut acknowledged) = (Answer::default(), false, false);
        while !(over && acknowledged) {
            match self.next().await {
                Got::Down(downlink) => over |= answer.take(downlink),
                Got::Ack(id, code) => acknowledged |= (id, code) == (asked, 0),
                Got::Closed => panic!("closed in mid-answer: {answer:?}"),
                _ => {}
            }
        }
        answer
    }

    /// Waits until the gateway closes; what comes before it is passed over.
    pub async fn closed(&mut self) {
        while !matches!(self.next().await, Got::Closed) {}
    }

    fn whole(&mut self) -> Option<(u8, Bytes)> {
        let first = *self.inbox.first()?;
        let (mut length, mut header) = (0usize, 1);
        loop {
            let byte = *self.inbox.get(header)?;
            length |= usize::from(byte & 0x7F) << (7 * (header - 1));
            header += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if self.inbox.len() < header + length {
            return None;
        }
        self.inbox.advance(header);
        Some((first, self.inbox.split_to(length).freeze()))
    }

    async fn read(&mut self, first: u8, mut body: Bytes) -> Got {
        match first >> 4 {
            4 => Got::Ack(body.get_u16(), if body.is_empty() { 0 } else { body[0] }),
            3 => {
                let length = usize::from(body.get_u16());
                let topic = String::from_utf8(body.split_to(length).to_vec()).unwrap();
                if first >> 1 & 3 > 0 {
                    let id = body.get_u16();
                    self.send(&packet(0x40, &id.to_be_bytes())).await;
                }
                if self.version == Version::V5 {
                    let length = usize::from(body.get_u8());
                    body.advance(length);
                }
                let down = format!("device/{}/down/", self.id);
                let stream = match topic.strip_prefix(&down) {
                    Some("audio") => Stream::Audio,
                    Some(_) => Stream::Control,
                    None => return Got::Message(topic, body),
                };
                Got::Down(client::decode_downlink(stream, &body).unwrap())
            }
            _ => Got::Packet(first, body),
        }
    }
}

//! CONNECT to CONNACK: who is it, may it come in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{Client, QueueLimits};
use super::codec::{self, CodecError, ConnackProps, Connect, Version, reason};
use super::gate::Gate;
use super::registry::Refused;
use super::seat::Seat;
use super::socket::Transport;
use super::transport::Arrival;
use crate::domain::DeviceId;
use crate::door::rights;
use crate::topics::Who;

/// Longest client id, in bytes.
const MAX_CLIENT_ID: usize = 256;
/// How long a connection that was taken over gets to go.
const TAKEOVER: Duration = Duration::from_secs(2);

/// A refusal: the reason code of MQTT 5 and the label in metrics.
type Denied = (u8, &'static str);

/// Reads CONNECT, decides, answers. Leaves in `inbox` what came behind it.
pub(super) async fn handshake<T: Transport>(
    gate: &Arc<Gate>,
    socket: &mut T,
    arrival: &Arrival,
    inbox: &mut BytesMut,
) -> Result<(Seat, Connect), &'static str> {
    let peer = arrival.peer;
    let connect = match tokio::time::timeout_at(arrival.deadline, read_connect(gate, socket, inbox)).await {
        Err(_) => return Err("no_connect"),
        Ok(Err(CodecError::Version(level))) => {
            let version = if level == 3 { Version::V4 } else { Version::V5 };
            answer(socket, version, reason::UNSUPPORTED_VERSION, &ConnackProps::default()).await;
            return Err("version");
        }
        Ok(Err(error)) => return Err(error.name()),
        Ok(Ok(connect)) => connect,
    };
    match admit(gate, &connect, peer).await {
        Ok((seat, assigned)) => {
            if let Who::Device(_) = seat.client().who {
                socket.keep_little_unsent();
            }
            let props = ConnackProps {
                assigned_id: assigned.as_deref(),
                receive_maximum: gate.settings.limits.in_flight,
                max_packet: u32::try_from(gate.settings.limits.packet.0).unwrap_or(u32::MAX),
                no_session_expiry: connect.session_expiry > 0,
            };
            if !answer(socket, connect.version, reason::SUCCESS, &props).await {
                return Err("gone");
            }
            Ok((seat, connect))
        }
        Err((code, name)) => {
            if code == reason::BAD_CREDENTIALS {
                tokio::time::sleep(gate.strangers.failed(peer.ip())).await;
            }
            answer(socket, connect.version, code, &ConnackProps::default()).await;
            Err(name)
        }
    }
}

async fn read_connect<T: Transport>(gate: &Gate, socket: &mut T, inbox: &mut BytesMut) -> Result<Connect, CodecError> {
    let max = gate.settings.limits.connect_packet.len();
    loop {
        if inbox.first().is_some_and(|first| *first != 0x10) {
            return Err(CodecError::Protocol("the first packet is not connect"));
        }
        if let Some(frame) = codec::frame(inbox, max)?
            && inbox.len() >= frame.header + frame.body
        {
            inbox.advance(frame.header);
            return codec::decode_connect(frame.first, inbox.split_to(frame.body).freeze());
        }
        match socket.read_buf(inbox).await {
            Ok(n) if n > 0 => {}
            _ => return Err(CodecError::Malformed("the connection ended before connect")),
        }
    }
}

async fn admit(gate: &Arc<Gate>, connect: &Connect, peer: SocketAddr) -> Result<(Seat, Option<String>), Denied> {
    if connect.extended_auth {
        return Err((reason::BAD_AUTH_METHOD, "auth_method"));
    }
    let who = identify(gate, connect, peer)?;
    let link = gate.next_link();
    let (id, assigned) = client_id(connect, link.0)?;
    if let Some(will) = &connect.will
        && !rights::may_will(&gate.table, &who, will.topic.as_str())
    {
        return Err((reason::NOT_AUTHORIZED, "will"));
    }
    let user = connect.login.as_ref().map(|l| l.user.as_str()).unwrap_or_default();
    let limits = &gate.settings.limits;
    let queue = match &who {
        Who::Device(_) => QueueLimits { packets: limits.downlink_packets, bytes: limits.downlink_bytes.len() },
        _ => QueueLimits { packets: limits.watcher_packets, bytes: limits.watcher_bytes.len() },
    };
    // a client id counts within its user: nobody throws another user off
    let key = Arc::from(format!("{user}\0{id}"));
    let client = Arc::new(Client::new(link, who, key, peer, queue, gate.metrics.clone()));
    let online = |device: &DeviceId| gate.status(device, true);
    let admission = gate
        .registry
        .admit(&client, limits.links_per_device, limits.takeovers, online)
        .map_err(|refused| deny(gate, &client, refused))?;
    let seat = Seat::new(gate.clone(), client);
    if let Some(old) = admission.replaces {
        // what it still has under way must be handed on before the newcomer's; it is given up after a while
        let _ = tokio::time::timeout(TAKEOVER, old.left.cancelled()).await;
    }
    Ok((seat, assigned))
}

fn deny(gate: &Gate, client: &Client, refused: Refused) -> Denied {
    let Refused::Duplicate(old) = refused else { return (reason::QUOTA, "too_many_links") };
    if let (Who::Device(device), Some(old)) = (&client.who, old) {
        gate.alert_duplicate(device, old, client.peer);
    }
    (reason::QUOTA, "duplicate")
}

fn identify(gate: &Gate, connect: &Connect, peer: SocketAddr) -> Result<Who, Denied> {
    if let Some(login) = &connect.login
        && let Some(who) = gate.credentials.verify(login.user.as_str(), &login.password)
    {
        return Ok(who);
    }
    let settings = &gate.settings;
    let bring_up = settings.bring_up && (settings.bring_up_anywhere || peer.ip().to_canonical().is_loopback());
    let denied = match &connect.login {
        None => (reason::NOT_AUTHORIZED, "no_credentials"),
        Some(_) => (reason::BAD_CREDENTIALS, "bad_credentials"),
    };
    // a stranger is the device that it says it is; also in bring-up mode a name that has a secret needs it
    let name = connect.login.as_ref().map_or(connect.client_id.as_str(), |login| login.user.as_str());
    match DeviceId::parse(name) {
        Ok(device) if bring_up && !gate.credentials.knows(name) => Ok(Who::Device(device)),
        _ => Err(denied),
    }
}

fn client_id(connect: &Connect, link: u64) -> Result<(String, Option<String>), Denied> {
    let id = connect.client_id.as_str();
    if id.len() > MAX_CLIENT_ID || (id.is_empty() && connect.version == Version::V4 && !connect.clean) {
        return Err((reason::BAD_CLIENT_ID, "client_id"));
    }
    if id.is_empty() {
        let assigned = format!("auto-{link}");
        return Ok((assigned.clone(), Some(assigned)));
    }
    Ok((id.to_owned(), None))
}

/// False when the peer is gone.
async fn answer<T: Transport>(socket: &mut T, version: Version, code: u8, props: &ConnackProps<'_>) -> bool {
    let mut out = BytesMut::new();
    let code = if version == Version::V4 { return_code(code) } else { code };
    codec::connack(&mut out, version, code, props);
    let written = tokio::time::timeout(TAKEOVER, socket.write_all(&out)).await;
    matches!(written, Ok(Ok(())))
}

/// The return code of 3.1.1 for a reason code of 5.
fn return_code(code: u8) -> u8 {
    match code {
        reason::SUCCESS => 0,
        reason::UNSUPPORTED_VERSION => 1,
        reason::BAD_CLIENT_ID => 2,
        reason::BAD_CREDENTIALS => 4,
        reason::NOT_AUTHORIZED => 5,
        _ => 3,
    }
}

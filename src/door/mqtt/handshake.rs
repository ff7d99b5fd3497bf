//! CONNECT to CONNACK: who is it, may it come in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::broker::Visit;
use super::client::{Client, Room};
use super::codec::{self, CodecError, ConnackProps, Connect, Version, reason};
use super::ending::Ending;
use super::gate::Gate;
use super::hub::{self, Flight, NEVER, Opened};
use super::registry::Refused;
use super::seat::{Entry, Seat};
use super::socket::Transport;
use super::transport::Arrival;
use crate::domain::DeviceId;
use crate::door::credentials::{self, Attempt, Identity};
use crate::door::rights::Caller;
use crate::topics::Who;

/// Longest client id, in bytes.
const MAX_CLIENT_ID: usize = 256;
/// How long a connection that was taken over gets to go.
const TAKEOVER: Duration = Duration::from_secs(2);

/// A refusal: the reason code of MQTT 5 and the label in metrics.
type Denied = (u8, &'static str);

/// An admitted connection.
#[derive(Debug)]
pub(super) struct Admitted {
    pub seat: Seat,
    pub connect: Connect,
    /// What the client did not answer on its last connection.
    pub resend: VecDeque<Flight>,
}

/// Reads CONNECT, decides, answers. Leaves in `inbox` what came behind it.
pub(super) async fn handshake<T: Transport>(
    gate: &Arc<Gate>,
    socket: &mut T,
    arrival: &Arrival,
    inbox: &mut BytesMut,
) -> Result<Admitted, &'static str> {
    let mut connect = match tokio::time::timeout_at(arrival.deadline, read_connect(gate, socket, inbox)).await {
        Err(_) => return Err("no_connect"),
        Ok(Err(CodecError::Version(level))) => {
            let version = if level == 3 { Version::V4 } else { Version::V5 };
            answer(socket, version, reason::UNSUPPORTED_VERSION, &ConnackProps::default()).await;
            complain(gate, arrival, None, "version");
            return Err("version");
        }
        Ok(Err(error)) => {
            // who only looked whether the port is open said nothing
            if !inbox.is_empty() {
                complain(gate, arrival, None, error.name());
            }
            return Err(error.name());
        }
        Ok(Ok(connect)) => connect,
    };
    match admit(gate, &connect, arrival).await {
        Ok(Place { seat, assigned, present, expiry, resend }) => {
            if let Who::Device(_) = seat.client().who {
                socket.keep_little_unsent();
            }
            let keep_alive = server_keep_alive(gate, &connect);
            let limits = &gate.settings.limits;
            let props = ConnackProps {
                assigned_id: assigned.as_deref(),
                receive_maximum: limits.in_flight,
                max_packet: u32::try_from(limits.packet.0).unwrap_or(u32::MAX),
                session_present: present,
                session_expiry: (expiry != connect.session_expiry).then_some(expiry),
                alias_maximum: limits.topic_aliases,
                server_keep_alive: keep_alive,
            };
            if !answer(socket, connect.version, reason::SUCCESS, &props).await {
                return Err("gone");
            }
            connect.keep_alive = keep_alive.unwrap_or(connect.keep_alive);
            connect.session_expiry = expiry;
            Ok(Admitted { seat, connect, resend })
        }
        Err((code, name)) => {
            answer(socket, connect.version, code, &ConnackProps::default()).await;
            complain(gate, arrival, Some(connect.client_id.as_str()), name);
            Err(name)
        }
    }
}

/// Says who was refused, when nothing was said for a while.
fn complain(gate: &Gate, arrival: &Arrival, client_id: Option<&str>, result: &'static str) {
    if let Some(unsaid) = gate.may_log() {
        let (peer, listener) = (arrival.peer, arrival.listener.name());
        // quoted: a client chooses its id
        tracing::warn!(%peer, ?client_id, listener, result, unsaid, "connection refused");
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

/// Seconds of keep-alive that MQTT 5 clients are told to use instead of their own.
fn server_keep_alive(gate: &Gate, connect: &Connect) -> Option<u16> {
    let most = u16::try_from(gate.settings.keep_alive_max.0.as_secs()).unwrap_or(u16::MAX);
    let too_long = connect.keep_alive == 0 || connect.keep_alive > most;
    (connect.version == Version::V5 && most > 0 && too_long).then_some(most)
}

/// What an admission gives.
struct Place {
    seat: Seat,
    assigned: Option<String>,
    present: bool,
    /// Seconds that the session outlives the connection.
    expiry: u32,
    resend: VecDeque<Flight>,
}

async fn admit(gate: &Arc<Gate>, connect: &Connect, arrival: &Arrival) -> Result<Place, Denied> {
    let peer = arrival.peer;
    if connect.extended_auth {
        return Err((reason::BAD_AUTH_METHOD, "auth_method"));
    }
    let generation = gate.credentials.generation();
    let identity = identify(gate, connect, arrival).await?;
    let Identity { who, user } = identity.clone();
    let link = gate.next_link();
    let (id, assigned) = client_id(connect, link.0)?;
    let caller = Caller { who, user, client: id.as_str().into() };
    if let Some(will) = &connect.will
        && !(gate.settings.limits.sound_topic(will.topic.as_str())
            && gate.rights.may_will(&caller, will.topic.as_str()))
    {
        return Err((reason::NOT_AUTHORIZED, "will"));
    }
    let limits = &gate.settings.limits;
    let queue = limits.queue(&caller.who);
    let key = hub::key(&caller.user, &caller.client);
    let room = Room { limits: queue, memory: gate.broker.memory().clone() };
    let client = Client::new(link, caller.who.clone(), key, peer, room, gate.metrics.clone());
    let client = Arc::new(client.reached(arrival.local).speaking(gate.credentials.dialect(&caller.user)));
    let online = |device: &DeviceId| gate.status(device, true);
    let admission = gate
        .registry
        .admit(&client, limits.links_per_device, limits.takeovers, online)
        .map_err(|refused| deny(gate, &client, refused))?;
    let entry = Entry::new(gate.clone(), client.clone());
    if let Some(old) = admission.replaces {
        // what it still has under way must be handed on before the newcomer's; it is given up after a while
        let _ = tokio::time::timeout(TAKEOVER, old.left.cancelled()).await;
    }
    // a change before it was registered ended nobody; from then on it is ended like all others
    if gate.credentials.generation() != generation && identify(gate, connect, arrival).await? != identity {
        return Err((reason::NOT_AUTHORIZED, "changed"));
    }
    match client.ending() {
        None => {}
        Some(Ending::Closed(_)) => return Err((reason::NOT_AUTHORIZED, "ended")),
        Some(ending) => return Err((reason::SERVER_BUSY, ending.name())),
    }
    let expiry = session_expiry(gate, connect, assigned.is_some());
    let opened = gate.broker.open(Visit { owner: caller, clean: connect.clean, expiry, queue }, &client);
    let Opened { session, present, resend, will, writes } = opened.map_err(|_| (reason::QUOTA, "too_many_sessions"))?;
    let seat = Seat::new(entry, session);
    if let Some((owner, will)) = will {
        gate.publish_will(&owner, None, will).await;
    }
    if !gate.broker.write(writes).await {
        return Err((reason::SERVER_BUSY, "storage"));
    }
    Ok(Place { seat, assigned, present, expiry, resend })
}

/// How long a session outlives its connection, in seconds. 3.1.1 says only whether it does.
fn session_expiry(gate: &Gate, connect: &Connect, assigned: bool) -> u32 {
    let asked = match connect.version {
        Version::V5 => connect.session_expiry,
        Version::V4 if connect.clean || assigned => 0,
        Version::V4 => NEVER,
    };
    let most = u32::try_from(gate.settings.limits.session_expiry.0.as_secs()).unwrap_or(NEVER);
    asked.min(most)
}

fn deny(gate: &Gate, client: &Client, refused: Refused) -> Denied {
    let Refused::Duplicate(old) = refused else { return (reason::QUOTA, "too_many_links") };
    if let (Who::Device(device), Some(old)) = (&client.who, old) {
        gate.alert_duplicate(device, old, client.peer);
    }
    (reason::QUOTA, "duplicate")
}

/// Who it is, and the user name that it has proven: empty for an anonymous client.
async fn identify(gate: &Gate, connect: &Connect, arrival: &Arrival) -> Result<Identity, Denied> {
    let settings = &gate.settings;
    let peer = arrival.peer;
    let loopback = peer.ip().to_canonical().is_loopback();
    let login = connect.login.as_ref();
    let certificate = arrival.certificate.as_ref();
    if login.is_none() && certificate.is_none() && settings.anonymous && (settings.anonymous_anywhere || loopback) {
        return Ok(Identity { who: Who::Anonymous, user: "".into() });
    }
    if certificate.is_none() && settings.bring_up && (settings.bring_up_anywhere || loopback) {
        // a stranger is the device that it says it is; also in bring-up mode a name that has a record needs its secret
        let name = login.map_or(connect.client_id.as_str(), |login| login.user.as_str());
        if let Ok(device) = DeviceId::parse(name)
            && !gate.credentials.knows(name)
        {
            return Ok(Identity { who: Who::Device(device), user: name.into() });
        }
    }
    let attempt = Attempt {
        user: login.map(|login| login.user.as_str()),
        password: login.map(|login| &login.password[..]),
        address: peer.ip(),
        certificate,
    };
    gate.credentials.login(attempt).await.map_err(|denied| match denied {
        credentials::Denied::Nothing => (reason::NOT_AUTHORIZED, "no_credentials"),
        credentials::Denied::Wrong => (reason::BAD_CREDENTIALS, "bad_credentials"),
        credentials::Denied::Certificate => (reason::NOT_AUTHORIZED, "certificate"),
        credentials::Denied::Busy => (reason::SERVER_BUSY, "passwords_busy"),
    })
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

//! Starting a session's actor, and the handle by which the router reaches it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, Notice, Parts, Resend, caught};
use super::ahead::Judging;
use super::book::{Book, Live};
use super::ears::Ears;
use super::info::{Info, SharedInfo};
use super::lanes::Lanes;
use super::outgoing::Outgoing;
use super::state::{Shown, State};
use super::telemetry::TelemetryMemory;
use super::tools::ToolServer;
use crate::domain::{DeviceId, ListenMode, SessionId};

/// A device that connects has so long to say hello before what was left behind is taken up.
pub(super) const INBOX_PATIENCE: Duration = Duration::from_secs(2);

/// Calls of tools that wait for a session.
const ASKING: usize = 4;

/// How others reach a session.
#[derive(Clone)]
pub struct Handle {
    /// What devices send.
    pub lanes: Arc<Lanes>,
    /// What the gateway and its operators say.
    pub notices: mpsc::Sender<Notice>,
    info: SharedInfo,
}

impl Handle {
    /// The session at a glance.
    pub fn info(&self) -> Info {
        self.info.read()
    }
}

/// A session that is to be run.
pub struct Starting {
    device: DeviceId,
    parts: Arc<Parts>,
    lanes: Arc<Lanes>,
    info: SharedInfo,
    notices: mpsc::Receiver<Notice>,
    online: bool,
}

/// Makes the handle of a device's session and what is to be run for it.
pub fn start(
    device: DeviceId,
    parts: Arc<Parts>,
    notices_tx: mpsc::Sender<Notice>,
    notices: mpsc::Receiver<Notice>,
    online: bool,
) -> (Handle, Starting) {
    let lanes = Arc::new(Lanes::new(parts.settings.audio_lane, parts.settings.control_lane));
    let info = SharedInfo::new(Info {
        device: device.clone(),
        session: unopened(),
        state: State::Connecting,
        dialect: crate::domain::dialect::NATIVE,
        mode: parts.settings.mode,
        silence_ms: parts.ears.settings.endpoint.pauses().silence_ms(),
        turns: 0,
        online,
        opened: parts.clock.wall(),
        last_seen: parts.clock.wall(),
    });
    let handle = Handle { lanes: Arc::clone(&lanes), notices: notices_tx, info: info.clone() };
    (handle, Starting { device, parts, lanes, info, notices, online })
}

impl Starting {
    /// Reads what is known of the device's session and runs it until it ends. `Err`: it ended by a panic.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ()> {
        let Self { device, parts, lanes, info, notices, online } = self;
        let book = Book::new(
            device.clone(),
            Arc::clone(&parts.store),
            Arc::clone(&parts.lifelog),
            Arc::clone(&parts.numbers),
            Arc::clone(&parts.clock),
        );
        let live = match Box::pin(book.read(&parts.settings)).await {
            Ok(live) => live,
            Err(error) => {
                // the record is damaged or the store is away: the device gets a new session, the record stays
                tracing::error!(%device, %error, "the session's record cannot be read: a new one is opened");
                Live::none(&parts.settings, None)
            }
        };
        let sink = Arc::clone(&parts.sink);
        let clock = Arc::clone(&parts.clock);
        let out = Arc::new(Outgoing::new(device.clone(), live.called(), live.down_seq, sink, clock));
        let open = live.mode != ListenMode::Manual;
        let mut ears = Ears::new(parts.ears.clone(), live.mode);
        ears.reset(live.mode, open);
        let rest_at = (!online).then(|| Instant::now() + parts.settings.rest_after.0);
        let tools = ToolServer::new(parts.settings.xiaozhi.tool_timeout.0);
        let shown = Shown::new(State::Connecting, parts.metrics.states());
        // boxed: each future that it passes through would keep a place for it
        let actor = Box::new(Actor {
            device,
            parts,
            lanes,
            info,
            out,
            book,
            live,
            ears,
            turn: None,
            ahead: None,
            aside: None,
            judging: Judging::default(),
            commits: FuturesUnordered::new(),
            joined: HashMap::new(),
            unacknowledged: BTreeMap::new(),
            resend: Resend::default(),
            online,
            hello_here: false,
            shown,
            calling: HashSet::new(),
            marks_due: None,
            images_due: None,
            stalls_at: None,
            rest_at,
            inbox_due: Some(Instant::now() + INBOX_PATIENCE),
            waiting: VecDeque::new(),
            words: VecDeque::new(),
            stopping: false,
            tools,
            asking: mpsc::channel(ASKING),
            has_mcp: false,
            things: super::things::Things::default(),
            photos: None,
            partials: super::cane::Partials::default(),
            due: super::due::Due::default(),
            wake_word: VecDeque::new(),
            away_since: None,
            telemetry: TelemetryMemory::default(),
            effects: FuturesUnordered::new(),
        });
        caught(actor, notices, stop).await
    }
}

fn unopened() -> SessionId {
    SessionId::parse("none").unwrap_or_else(|_| unreachable!("a word is an id"))
}

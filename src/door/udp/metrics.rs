//! What the door counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Why a datagram that came was not taken at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// Not as long as its header says.
    Length,
    /// Not of type 1.
    Kind,
    /// No channel has this ssrc.
    UnknownSsrc,
    /// Its number was taken before.
    Replay,
    /// Its number is too far behind to know.
    Late,
    /// Deciphered, it is no packet of speech.
    Format,
    /// From another address than the channel's.
    Address,
    /// Its number is far ahead.
    Jump,
}

impl Cause {
    pub const ALL: [Self; 8] = [
        Self::Length,
        Self::Kind,
        Self::UnknownSsrc,
        Self::Replay,
        Self::Late,
        Self::Format,
        Self::Address,
        Self::Jump,
    ];

    /// The label in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Kind => "type",
            Self::UnknownSsrc => "unknown_ssrc",
            Self::Replay => "replay",
            Self::Late => "late",
            Self::Format => "format",
            Self::Address => "address",
            Self::Jump => "jump",
        }
    }

    /// Reordering and loss alone can make it: not worth a line.
    pub fn harmless(self) -> bool {
        matches!(self, Self::Late | Self::Jump)
    }
}

/// What became of a frame for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Down {
    /// The socket has it.
    Sent,
    /// The device has no channel.
    NoChannel,
    /// The device's address is not known yet.
    NoAddress,
    /// It is longer than packets are.
    TooLong,
    /// More waited for the socket than may: the oldest went.
    Overflow,
    /// An interruption or the end of the channel took it from those that waited.
    Cleared,
    /// The socket refused it.
    Error,
}

impl Down {
    const ALL: [Self; 7] =
        [Self::Sent, Self::NoChannel, Self::NoAddress, Self::TooLong, Self::Overflow, Self::Cleared, Self::Error];

    fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::NoChannel => "no_channel",
            Self::NoAddress => "no_address",
            Self::TooLong => "too_long",
            Self::Overflow => "overflow",
            Self::Cleared => "cleared",
            Self::Error => "error",
        }
    }
}

/// What a request for a channel came to.
pub(super) const OPENS: [&str; 3] = ["ok", "limit", "no_host"];
/// Why channels end.
pub(super) const ENDS: [&str; 4] = ["replaced", "closed", "idle", "shutdown"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

/// Counters of the door.
#[derive(Debug, Clone)]
pub struct Metrics {
    up: Family<ByResult, Counter>,
    /// Those of `up`, looked up once: a flood must not cost a search for each datagram.
    ok: Counter,
    dropped: [Counter; Cause::ALL.len()],
    down: Family<ByResult, Counter>,
    sent: Counter,
    channels: Gauge,
    opens: Family<ByResult, Counter>,
    ends: Family<ByReason, Counter>,
    moves: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let up = Family::<ByResult, Counter>::default();
        let counter = |result: &'static str| up.get_or_create(&ByResult { result }).clone();
        let (ok, dropped) = (counter("ok"), Cause::ALL.map(|cause| counter(cause.name())));
        let down = Family::<ByResult, Counter>::default();
        let sent = down.get_or_create(&ByResult { result: Down::Sent.name() }).clone();
        Self {
            up,
            ok,
            dropped,
            down,
            sent,
            channels: Gauge::default(),
            opens: Family::default(),
            ends: Family::default(),
            moves: Counter::default(),
        }
    }
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "voxgate_udp_datagrams",
            "Datagrams that came, by what became of them; those with another address or a number far ahead are held back \
             and handed on when what follows confirms them",
            metrics.up.clone(),
        );
        registry.register(
            "voxgate_udp_frames",
            "Frames of speech for devices, by what became of them",
            metrics.down.clone(),
        );
        registry.register("voxgate_udp_channels", "Open channels for datagrams", metrics.channels.clone());
        registry.register(
            "voxgate_udp_channel_opens",
            "Requests for a channel, by result: no_host is a device that cannot be told where to send to",
            metrics.opens.clone(),
        );
        registry.register("voxgate_udp_channel_ends", "Channels that ended, by reason", metrics.ends.clone());
        registry.register(
            "voxgate_udp_address_moves",
            "Channels whose device went on from another address",
            metrics.moves.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for result in Down::ALL {
            drop(self.down.get_or_create(&ByResult { result: result.name() }));
        }
        for result in OPENS {
            drop(self.opens.get_or_create(&ByResult { result }));
        }
        for reason in ENDS {
            drop(self.ends.get_or_create(&ByReason { reason }));
        }
    }

    pub(super) fn taken(&self) {
        self.ok.inc();
    }

    pub(super) fn dropped(&self, cause: Cause) {
        self.dropped[cause as usize].inc();
    }

    pub(super) fn down(&self, what: Down) {
        self.down_by(what, 1);
    }

    pub(super) fn down_by(&self, what: Down, count: usize) {
        match what {
            _ if count == 0 => {}
            Down::Sent => drop(self.sent.inc_by(count as u64)),
            _ => drop(self.down.get_or_create(&ByResult { result: what.name() }).inc_by(count as u64)),
        }
    }

    pub(super) fn opened(&self, result: &'static str) {
        self.opens.get_or_create(&ByResult { result }).inc();
    }

    pub(super) fn ended(&self, reason: &'static str) {
        self.ends.get_or_create(&ByReason { reason }).inc();
    }

    pub(super) fn channels(&self, open: usize) {
        self.channels.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    pub(super) fn moved(&self) {
        self.moves.inc();
    }
}

#[cfg(test)]
impl Metrics {
    pub(super) fn count(&self, cause: Cause) -> u64 {
        self.dropped[cause as usize].get()
    }

    pub(super) fn count_ok(&self) -> u64 {
        self.ok.get()
    }

    pub(super) fn count_down(&self, what: Down) -> u64 {
        self.down.get_or_create(&ByResult { result: what.name() }).get()
    }

    pub(super) fn count_moves(&self) -> u64 {
        self.moves.get()
    }

    pub(super) fn open_channels(&self) -> i64 {
        self.channels.get()
    }

    pub(super) fn count_ends(&self, reason: &'static str) -> u64 {
        self.ends.get_or_create(&ByReason { reason }).get()
    }

    pub(super) fn count_opens(&self, result: &'static str) -> u64 {
        self.opens.get_or_create(&ByResult { result }).get()
    }
}

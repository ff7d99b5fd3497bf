//! Why a connection ends, and what the peer and the metrics are told.

use super::codec::{CodecError, reason};

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// DISCONNECT: the will is void.
    Left,
    /// DISCONNECT that asks for the will (MQTT 5, 0x04).
    LeftWithWill,
    /// The peer closed or reset the connection, or it timed out.
    PeerGone,
    /// What came is no packet.
    Codec(CodecError),
    /// It broke a rule; a reason code of MQTT 5 and a name.
    Broke(u8, &'static str),
    /// Nothing came for one and a half keep-alive intervals.
    KeepAlive,
    /// The same client id connected again.
    TakenOver,
    /// A watcher did not read fast enough.
    TooSlow,
    /// The gateway could not take what it sent for too long.
    Stuck,
    /// The gateway stops.
    Shutdown,
    /// Asked for by delivery or an operator.
    Closed(&'static str),
}

impl Ending {
    /// The reason code of the DISCONNECT that the peer gets (MQTT 5); none when it cannot or need not be told.
    pub fn reason(self) -> Option<u8> {
        Some(match self {
            Ending::Left | Ending::LeftWithWill | Ending::PeerGone => return None,
            Ending::Codec(error) => error.reason(),
            Ending::Broke(code, _) => code,
            Ending::KeepAlive => reason::KEEP_ALIVE,
            Ending::TakenOver => reason::TAKEN_OVER,
            Ending::TooSlow | Ending::Stuck => reason::QUOTA,
            Ending::Shutdown => reason::SHUTTING_DOWN,
            Ending::Closed(_) => reason::ADMINISTRATIVE,
        })
    }

    /// The label in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Left | Ending::LeftWithWill => "left",
            Ending::PeerGone => "peer_gone",
            Ending::Codec(error) => error.name(),
            Ending::Broke(_, name) => name,
            Ending::KeepAlive => "keep_alive",
            Ending::TakenOver => "taken_over",
            Ending::TooSlow => "too_slow",
            Ending::Stuck => "stuck",
            Ending::Shutdown => "shutdown",
            Ending::Closed(_) => "closed",
        }
    }

    /// Somebody should look at that client.
    pub fn blames(self) -> bool {
        matches!(self, Ending::Codec(_) | Ending::Broke(..) | Ending::TooSlow | Ending::Stuck)
    }

    /// Is the will published.
    pub fn wills(self) -> bool {
        self != Ending::Left
    }
}

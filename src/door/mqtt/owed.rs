//! Acknowledgements that are owed to a publisher, in order of arrival.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::codec::{AckKind, reason};
use super::metrics::Metrics;
use crate::domain::{Receipt, Refusal, Settled};

#[derive(Debug)]
enum State {
    Waiting(oneshot::Receiver<Settled>),
    Done(u8),
}

#[derive(Debug)]
struct Entry {
    id: u16,
    kind: AckKind,
    state: State,
}

/// The FIFO of one connection: an entry leaves when it and all before it are settled.
#[derive(Debug)]
pub(super) struct Owed {
    entries: VecDeque<Entry>,
    metrics: Metrics,
}

/// What to tell the publisher of the entry that is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub id: u16,
    pub kind: AckKind,
    /// A reason code of MQTT 5.
    pub code: u8,
    /// The store could not take it, or it was lost on its way there: sending it again may help.
    pub retry: bool,
    /// It was lost by a fault of ours: a client of 3.1.1 sends it again only on a new connection.
    pub lost: bool,
}

impl Owed {
    pub fn new(metrics: Metrics) -> Self {
        Self { entries: VecDeque::new(), metrics }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn holds(&self, id: u16) -> bool {
        self.entries.iter().any(|e| e.id == id)
    }

    /// Owes an acknowledgement until the receipt is settled. QoS 0 owes nothing.
    pub fn receipt(&mut self, qos: u8, id: u16) -> Receipt {
        if qos == 0 {
            return Receipt::none();
        }
        let (receipt, waiting) = Receipt::new();
        self.push(qos, id, State::Waiting(waiting));
        receipt
    }

    /// Owes an acknowledgement whose code is known already.
    pub fn known(&mut self, qos: u8, id: u16, code: u8) {
        if qos > 0 {
            self.push(qos, id, State::Done(code));
        }
    }

    fn push(&mut self, qos: u8, id: u16, state: State) {
        let kind = if qos == 1 { AckKind::PubAck } else { AckKind::PubRec };
        self.entries.push_back(Entry { id, kind, state });
        self.metrics.owed.inc();
    }

    /// Ids of QoS 2 publishes that are not settled.
    pub fn unsettled(&self) -> Vec<u16> {
        self.entries.iter().filter(|e| e.kind == AckKind::PubRec).map(|e| e.id).collect()
    }

    /// The next one that is due; pending (and woken later) while the oldest is not settled, or there is none.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        let Some(head) = self.entries.front_mut() else { return Poll::Pending };
        let (code, retry, lost) = match &mut head.state {
            State::Done(code) => (*code, false, false),
            State::Waiting(waiting) => match Pin::new(waiting).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(settled) => settled.map_or(LOST, code),
            },
        };
        let due = Due { id: head.id, kind: head.kind, code, retry, lost };
        self.entries.pop_front();
        self.metrics.owed.dec();
        Poll::Ready(due)
    }
}

/// The receipt was dropped.
const LOST: (u8, bool, bool) = (reason::IMPLEMENTATION, true, true);

/// The reason code of MQTT 5, whether nobody has the message, and whether that is our fault: of 3.1.1, where an
/// acknowledgement can only say yes, it is withheld then.
fn code(settled: Settled) -> (u8, bool, bool) {
    match settled {
        Settled::Durable | Settled::Taken => (reason::SUCCESS, false, false),
        Settled::Refused(refusal) => match refusal {
            Refusal::Malformed => (reason::BAD_PAYLOAD, false, false),
            Refusal::NotAllowed => (reason::NOT_AUTHORIZED, false, false),
            Refusal::Quota => (reason::QUOTA, false, false),
            Refusal::Storage => (reason::QUOTA, true, false),
            Refusal::Internal => (reason::IMPLEMENTATION, false, false),
        },
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.metrics.owed.dec_by(i64::try_from(self.entries.len()).unwrap_or(0));
    }
}

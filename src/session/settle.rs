//! Acknowledgements: what is owed, and what becomes of it when a commit ends.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use super::actor::Actor;
use super::alarm::Alarm;
use super::outgoing::Asked;
use super::window::{Marks, Rule, Verdict};
use crate::domain::{ImageId, Message, Receipt, Refusal, SessionId, Settled, Stream};
use crate::store::{Batch, CommitNo, StoreError};

/// Commits on their way.
pub(super) type Commits = FuturesUnordered<BoxFuture<'static, Committed>>;

/// A message whose acknowledgement waits for a commit.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) stream: Stream,
    pub(super) seq: Option<u32>,
    pub(super) receipt: Receipt,
    /// It is answered by its own number.
    pub(super) by_number: bool,
    /// An image that is whole when the commit is done: id and SHA-256.
    pub(super) image: Option<(ImageId, String)>,
}

/// A commit that ended.
pub(super) struct Committed {
    pub(super) owed: Option<Owed>,
    /// The marks that it wrote, and of which session.
    marks: (SessionId, Marks),
    pub(super) result: Result<CommitNo, StoreError>,
}

impl Actor {
    /// Decides on a number in memory.
    pub(super) fn verdict(&mut self, stream: Stream, seq: Option<u32>) -> Verdict {
        let Some(seq) = seq else { return Verdict::New };
        let verdict = self.live.windows.accept(stream, seq, Rule::Sure);
        self.parts.metrics.sequence(stream, verdict);
        verdict
    }

    /// Answers a message that is not new.
    pub(super) fn settle_old(&mut self, verdict: Verdict, stream: Stream, seq: Option<u32>, receipt: Receipt) {
        match (verdict, seq) {
            (Verdict::Pending, Some(seq)) if receipt.wanted() => {
                self.joined.entry((stream, seq)).or_default().push(receipt);
            }
            _ => receipt.settle(Settled::Durable),
        }
        // the device sends again because it does not know: tell it
        self.acknowledge(stream, None);
    }

    /// Writes `effect` and the marks in one batch; what is owed is settled when it is durable.
    pub(super) fn commit(&mut self, effect: Batch, owed: Option<Owed>) {
        let written = self.write(effect, owed);
        self.commits.push(written);
    }

    /// The same; who tells others is woken when it is durable.
    pub(super) fn commit_and_raise(&mut self, effect: Batch, owed: Owed, alarm: Option<Arc<dyn Alarm>>) {
        let written = self.write(effect, Some(owed));
        self.commits.push(Box::pin(async move {
            let committed = written.await;
            if let Some(alarm) = alarm.filter(|_| committed.result.is_ok()) {
                alarm.raised();
            }
            committed
        }));
    }

    /// Hands a batch to the store, now.
    fn write(&mut self, mut effect: Batch, owed: Option<Owed>) -> BoxFuture<'static, Committed> {
        if let Some(Owed { stream, seq: Some(seq), .. }) = &owed {
            self.live.windows.stream(*stream).hand_in(*seq);
        }
        if std::mem::take(&mut self.live.unwritten) {
            effect.extend(self.book.session(&mut self.live, self.out.control_seq()));
        }
        effect.extend(self.book.marks(&mut self.live, self.out.control_seq()));
        self.marks_due = None;
        let marks = (self.live.id.clone(), self.live.windows.marks());
        let commit = self.parts.store.commit(effect);
        Box::pin(async move { Committed { owed, marks, result: commit.await } })
    }

    /// A message that leaves nothing to re-do: it is done; its mark is written with the next commit, or soon.
    pub(super) fn done(&mut self, stream: Stream, seq: Option<u32>) {
        if let Some(seq) = seq {
            self.live.windows.stream(stream).committed(seq);
        }
        self.mark_soon();
    }

    /// Marks are to be written with the next commit, or soon.
    pub(super) fn mark_soon(&mut self) {
        let due = tokio::time::Instant::now() + self.parts.settings.mark_delay.0;
        self.marks_due.get_or_insert(due);
    }

    /// Writes marks that no commit carries.
    pub(super) fn write_marks(&mut self) {
        if self.marks_due.take().is_some() {
            self.commit(Batch::new(), None);
        }
    }

    pub(super) fn committed(&mut self, committed: Committed) {
        let Committed { owed, marks: (session, marks), result } = committed;
        if session == self.live.id {
            match &result {
                Ok(_) if self.live.is_open() => self.live.windows.written(marks),
                Ok(_) => {}
                Err(_) => self.live.unwritten = true,
            }
        }
        let settled = match &result {
            Ok(_) => Settled::Durable,
            Err(error) => {
                tracing::error!(device = %self.device, %error, "a commit failed: what it carried is not acknowledged");
                self.parts.metrics.failed_commit();
                Settled::Refused(Refusal::Storage)
            }
        };
        let Some(Owed { stream, seq, receipt, by_number, image }) = owed else { return };
        if let Some(seq) = seq {
            let window = self.live.windows.stream(stream);
            if result.is_ok() { window.committed(seq) } else { window.failed(seq) }
        }
        receipt.settle(settled);
        for receipt in seq.and_then(|seq| self.joined.remove(&(stream, seq))).unwrap_or_default() {
            receipt.settle(settled);
        }
        if by_number && result.is_ok() {
            return self.acknowledge_one(seq);
        }
        if self.live.manners.by_number {
            return;
        }
        if result.is_ok() && (seq.is_some() || image.is_some()) {
            self.acknowledge(stream, image);
        }
    }

    /// Tells the device what is durable.
    pub(super) fn acknowledge(&mut self, stream: Stream, image: Option<(ImageId, String)>) {
        let seq = Some(self.live.windows.told(stream)).filter(|seq| *seq > 0);
        let (image_id, sha256) = image.unzip();
        if seq.is_none() && image_id.is_none() {
            return;
        }
        // a device without a link is told in its next hello_ack
        let _ = self.out.control(Message::Ack { stream, seq, image_id, sha256 }, Asked::default());
    }
}

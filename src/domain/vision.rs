//! The seams of photos: a session lets its device send some, a door takes them, somebody answers what was asked.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Current, DeviceId, SessionId, TurnId};

/// A photo that a device took, and what is asked about it.
#[derive(Clone, PartialEq, Eq)]
pub struct Photo {
    /// Whose.
    pub device: DeviceId,
    /// In which session; none outside of any.
    pub session: Option<SessionId>,
    /// The turn that ran when it came.
    pub turn: Option<TurnId>,
    /// The question; never empty.
    pub question: String,
    /// `image/jpeg`, `image/png` or `image/webp`, by its content.
    pub mime: &'static str,
    /// The file.
    pub image: Bytes,
}

impl fmt::Debug for Photo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes of {}", self.mime, self.image.len(), self.device)
    }
}

/// A photo that nobody could say anything about, in words for the person who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unseen(pub &'static str);

/// Who answers questions about photos. Implemented by a pipeline.
pub trait Sight: Send + Sync {
    /// Keeps the photo and answers its question, by `until`. Run to its end it has always written down what came of it;
    /// `cancelled` ends it early, when nobody waits for the answer any more.
    fn look(
        &self,
        photo: Photo,
        until: Instant,
        cancelled: CancellationToken,
    ) -> BoxFuture<'static, Result<String, Unseen>>;

    /// Answers the question of a photo that is kept already, by `until`.
    fn answer(&self, photo: Photo, until: Instant) -> BoxFuture<'static, Result<String, Unseen>>;
}

impl Sight for Current<dyn Sight> {
    fn look(
        &self,
        photo: Photo,
        until: Instant,
        cancelled: CancellationToken,
    ) -> BoxFuture<'static, Result<String, Unseen>> {
        self.now().look(photo, until, cancelled)
    }

    fn answer(&self, photo: Photo, until: Instant) -> BoxFuture<'static, Result<String, Unseen>> {
        self.now().answer(photo, until)
    }
}

/// Who lets devices send photos. Implemented by the door that takes them.
pub trait Photos: Send + Sync {
    /// Lets a device send photos as long as the pass is held; they belong to `session`. `addresses` are ours that it
    /// connected to, and its own, where they are known. None: the door is not open, or the device could not find it.
    fn open(
        &self,
        device: &DeviceId,
        session: Option<&SessionId>,
        addresses: Option<(IpAddr, IpAddr)>,
    ) -> Option<PhotoPass>;
}

/// Leave to send photos; it ends when it is dropped.
pub struct PhotoPass {
    url: String,
    token: String,
    turn: Arc<AtomicU32>,
    _held: Box<dyn Send + Sync>,
}

impl PhotoPass {
    /// A pass for `url`. The door reads the turn that runs from `turn` (0: none); what is `held` is dropped with the pass.
    pub fn new(url: String, token: String, turn: Arc<AtomicU32>, held: Box<dyn Send + Sync>) -> Self {
        Self { url, token, turn, _held: held }
    }

    /// Where the device sends its photos.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it shows there. A secret: for the device alone.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// This turn runs now.
    pub fn in_turn(&self, turn: Option<TurnId>) {
        self.turn.store(turn.map_or(0, |turn| turn.0), Ordering::Relaxed);
    }
}

impl fmt::Debug for PhotoPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhotoPass").field("url", &self.url).finish_non_exhaustive()
    }
}

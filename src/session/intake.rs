//! What a session asks of the pipelines for telemetry and images, behind traits of its own.

use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::domain::{DeviceId, ImageId, ImageUpload, Refusal};

/// An image that is whole and stored as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The device's number, or by its hash.
    pub id: ImageId,
    /// Lower-case hex.
    pub sha256: String,
    /// `image/jpeg`, `image/png` or `image/webp`.
    pub mime: String,
    /// Bytes.
    pub size: u64,
    /// Where, below the data directory.
    pub path: String,
}

impl Stored {
    /// The body of its lifelog entry.
    pub fn body(&self) -> Value {
        json!({"image_id": self.id.to_string(), "sha256": self.sha256, "mime": self.mime,
               "size": self.size, "path": self.path})
    }
}

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A part: the image is not whole yet.
    Part,
    /// The image is whole.
    Image(Stored),
}

/// What is to be said about unfinished images.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overdue {
    /// Parts to ask for: image, inclusive ranges.
    pub missing: Vec<(ImageId, Vec<(u16, u16)>)>,
    /// Images that were given up.
    pub dropped: Vec<ImageId>,
    /// Look again after this; none: nothing is unfinished.
    pub again: Option<Duration>,
}

/// Takes what is not a turn.
pub trait Intake: Send + Sync {
    /// Assembles and stores an image.
    fn image(&self, device: &DeviceId, upload: ImageUpload) -> BoxFuture<'static, Result<Taken, Refusal>>;

    /// Which parts of unfinished images to ask for, and which images are given up.
    fn overdue(&self, device: &DeviceId) -> Overdue;
}

//! Images: parts are put together, whole ones are stored as files and named by their content.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::domain::{Clock, DeviceId, ImageId, ImageUpload, Refusal};
use crate::lifelog::{ImageError, ImageRef, Lifelog};
use crate::session::{Intake, Stored, Taken};
use crate::wire::native::assembly::{Assembler, Assembled};

/// Takes images.
pub struct Images {
    lifelog: Arc<Lifelog>,
    clock: Arc<dyn Clock>,
    unfinished: Mutex<Assembler>,
}

impl Images {
    /// No image is under way.
    pub fn new(lifelog: Arc<Lifelog>, clock: Arc<dyn Clock>) -> Self {
        Self { lifelog, clock, unfinished: Mutex::new(Assembler::new()) }
    }

    /// The whole image and its number, when this upload completes one.
    fn whole(&self, device: &DeviceId, upload: ImageUpload) -> Result<Option<(Option<ImageId>, Bytes)>, Refusal> {
        let part = match upload {
            ImageUpload::Whole(image) => return Ok(Some((None, image))),
            ImageUpload::Part(part) => part,
        };
        let id = part.image;
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        match unfinished.add(device, part, self.clock.mono()) {
            Ok(Assembled::Whole(image)) => Ok(Some((Some(id), image))),
            Ok(Assembled::Part) => Ok(None),
            Err(error) => {
                tracing::info!(%device, image = %id, %error, "an image was refused");
                Err(Refusal::Malformed)
            }
        }
    }
}

impl Intake for Images {
    fn image(&self, device: &DeviceId, upload: ImageUpload) -> BoxFuture<'static, Result<Taken, Refusal>> {
        let whole = self.whole(device, upload);
        let (lifelog, device, at) = (Arc::clone(&self.lifelog), device.clone(), self.clock.wall());
        Box::pin(async move {
            let Some((id, image)) = whole? else { return Ok(Taken::Part) };
            let stored = lifelog.store_image(&device, at, image).await.map_err(|error| match error {
                ImageError::Unknown => Refusal::Malformed,
                ImageError::Write(why) => {
                    tracing::error!(%device, why, "an image could not be stored");
                    Refusal::Storage
                }
            })?;
            Ok(Taken::Image(described(id, stored)))
        })
    }
}

fn described(id: Option<ImageId>, image: ImageRef) -> Stored {
    // an image that came bare is named by the first eight bytes of its hash
    let by_content = image.sha256.get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or_default();
    Stored {
        id: id.unwrap_or(ImageId(by_content)),
        sha256: image.sha256,
        mime: image.mime,
        size: image.bytes,
        path: image.path,
    }
}

//! Images: parts are put together, whole ones are stored as files and named by their content.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::domain::{Clock, DeviceId, ImageId, ImageUpload, Refusal};
use crate::lifelog::{ImageError, ImageRef, Lifelog};
use crate::session::{Intake, Overdue, Stored, Taken};
use crate::wire::native::{AssemblyLimits, ImageAssembler, ImageBudget, Progress};

/// Takes images.
pub struct Images {
    lifelog: Arc<Lifelog>,
    clock: Arc<dyn Clock>,
    budget: Arc<ImageBudget>,
    unfinished: Mutex<HashMap<DeviceId, ImageAssembler>>,
}

impl Images {
    /// No image is under way.
    pub fn new(lifelog: Arc<Lifelog>, clock: Arc<dyn Clock>) -> Self {
        Self { lifelog, clock, budget: ImageBudget::new(ImageBudget::DEFAULT), unfinished: Mutex::default() }
    }

    fn unfinished(&self) -> MutexGuard<'_, HashMap<DeviceId, ImageAssembler>> {
        // an assembler is whole between two calls
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole image and its number, when this upload completes one.
    fn whole(&self, device: &DeviceId, upload: ImageUpload) -> Result<Option<(Option<ImageId>, Bytes)>, Refusal> {
        let part = match upload {
            ImageUpload::Whole(image) => return Ok(Some((None, image))),
            ImageUpload::Part(part) => part,
        };
        let mut unfinished = self.unfinished();
        let assembler = unfinished
            .entry(device.clone())
            .or_insert_with(|| ImageAssembler::new(AssemblyLimits::default(), Arc::clone(&self.budget)));
        let added = assembler.add(&part, self.clock.mono());
        for dropped in added.dropped {
            tracing::info!(%device, image = %dropped, "an unfinished image was dropped for a newer one");
        }
        match added.progress {
            Progress::Kept | Progress::Again => Ok(None),
            Progress::Whole(image) => Ok(Some((Some(part.image), image))),
            Progress::Damaged | Progress::Contradicts => Err(Refusal::Malformed),
            Progress::NoRoom => Err(Refusal::Quota),
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

    fn overdue(&self, device: &DeviceId) -> Overdue {
        let mut unfinished = self.unfinished();
        let Some(assembler) = unfinished.get_mut(device) else { return Overdue::default() };
        let now = self.clock.mono();
        let dropped = assembler.expire(now);
        let missing = assembler.to_ask(now);
        let again = assembler.next_deadline().map(|at| at.saturating_sub(now));
        if again.is_none() {
            unfinished.remove(device);
        }
        Overdue { missing, dropped, again }
    }
}

/// An image as its entry tells of it.
pub(super) fn described(id: Option<ImageId>, image: ImageRef) -> Stored {
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

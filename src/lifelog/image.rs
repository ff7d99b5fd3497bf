//! Images are files: written, synced, named by their content, then referred to.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Lifelog;
use super::day::Day;
use crate::domain::{DeviceId, Wall};

/// Why an image was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Neither JPEG nor PNG nor WebP by its first bytes.
    #[error("the bytes are no JPEG, PNG or WebP image")]
    Unknown,
    /// The disk did not take it.
    #[error("the image could not be written: {0}")]
    Write(String),
}

/// A stored image, as an entry's body refers to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRef {
    /// Below the data folder: `images/<day>/<device>/<sha256>.<ext>`.
    pub path: String,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// `image/jpeg`, `image/png`, `image/webp`.
    pub mime: String,
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // writing to a String cannot fail
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Lifelog {
    /// Stores an image; it is on disk when this returns. The same image again is the same file.
    pub async fn store_image(&self, device: &DeviceId, at: Wall, image: Bytes) -> Result<ImageRef, ImageError> {
        let (mime, ext) = format_of(&image).ok_or(ImageError::Unknown)?;
        let (root, day, folder) = (self.image_dir(), Day::of(at).to_string(), folder(device));
        let try_no = self.numbers.next();
        let write = move || {
            let sha256 = hex(&Sha256::digest(&image));
            let dir = root.join(&day).join(&folder);
            write_once(&root, &dir, &format!("{sha256}.{ext}"), try_no, &image)?;
            let path = format!("images/{day}/{folder}/{sha256}.{ext}");
            Ok(ImageRef { path, sha256, bytes: image.len() as u64, mime: mime.into() })
        };
        let failed = |e: &dyn std::fmt::Display| ImageError::Write(e.to_string());
        let stored = tokio::task::spawn_blocking(write).await.map_err(|e| failed(&e))?;
        let stored = stored.map_err(|e: io::Error| failed(&e))?;
        self.metrics.images.inc();
        Ok(stored)
    }

    /// Where the file of a reference is; none when the reference leads out of the image folder.
    pub fn image_path(&self, image: &ImageRef) -> Option<PathBuf> {
        let path = Path::new(&image.path);
        let plain = path.components().all(|c| matches!(c, std::path::Component::Normal(_)));
        (plain && path.starts_with("images")).then(|| self.dir.join(path))
    }
}

fn format_of(image: &[u8]) -> Option<(&'static str, &'static str)> {
    if image.starts_with(&[0xFF, 0xD8, 0xFF]) {
        return Some(("image/jpeg", "jpg"));
    }
    if image.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some(("image/png", "png"));
    }
    (image.starts_with(b"RIFF") && image.get(8..12) == Some(b"WEBP")).then_some(("image/webp", "webp"))
}

/// A device's folder. `.` and `..` are ids, and no folders of ours.
fn folder(device: &DeviceId) -> String {
    match device.as_str().strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => device.to_string(),
    }
}

/// `try_no` keeps two that store the same image at once apart.
fn write_once(root: &Path, dir: &Path, name: &str, try_no: u64, bytes: &[u8]) -> io::Result<()> {
    let path = dir.join(name);
    if path.is_file() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    let aside = dir.join(format!(".{name}.{try_no}.new"));
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, &path)?;
    // the file's own name, and the folders that may be new
    for folder in dir.ancestors().take_while(|d| d.starts_with(root)) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

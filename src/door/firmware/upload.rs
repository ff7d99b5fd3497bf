//! Files on their way in: parts, one after the other, below `firmware/incoming`. Everything here blocks.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::FirmwareError;

/// Largest part of an upload, bytes: as JSON it fits a line of the control socket.
pub const MAX_PART: usize = 32 << 10;
/// Most uploads at once; beginning another throws the oldest away.
const AT_ONCE: usize = 4;

fn incoming(folder: &Path) -> PathBuf {
    folder.join("incoming")
}

fn place(folder: &Path, upload: &str) -> Result<PathBuf, FirmwareError> {
    let named = upload.len() == 32 && upload.bytes().all(|b| b.is_ascii_hexdigit());
    if named { Ok(incoming(folder).join(upload)) } else { Err(FirmwareError::Upload) }
}

fn at(path: &Path) -> impl Fn(io::Error) -> FirmwareError {
    move |source| FirmwareError::File { path: path.to_owned(), source }
}

/// Throws all unfinished uploads away.
pub(super) fn clear(folder: &Path) -> Result<(), FirmwareError> {
    let path = incoming(folder);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
        _ => Ok(()),
    }
}

/// Adds a part.
pub(super) fn part(folder: &Path, upload: &str, offset: u64, part: &[u8], largest: u64) -> Result<(), FirmwareError> {
    let path = place(folder, upload)?;
    if part.len() > MAX_PART {
        return Err(FirmwareError::Upload);
    }
    if offset + part.len() as u64 > largest {
        forget(folder, upload)?;
        return Err(FirmwareError::Large(largest));
    }
    if offset == 0 {
        fs::create_dir_all(incoming(folder)).map_err(at(folder))?;
        make_room(folder)?;
        return fs::write(&path, part).map_err(at(&path));
    }
    let file = fs::OpenOptions::new().append(true).open(&path);
    let mut file = match file {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FirmwareError::Upload),
        file => file.map_err(at(&path))?,
    };
    if file.metadata().map_err(at(&path))?.len() != offset {
        return Err(FirmwareError::Upload);
    }
    file.write_all(part).map_err(at(&path))
}

fn make_room(folder: &Path) -> Result<(), FirmwareError> {
    let path = incoming(folder);
    let entries = fs::read_dir(&path).map_err(at(&path))?.filter_map(Result::ok);
    let age = |entry: &fs::DirEntry| entry.metadata().and_then(|meta| meta.modified()).ok();
    let mut entries: Vec<_> = entries.map(|entry| (age(&entry), entry.path())).collect();
    entries.sort();
    for (_, old) in entries.iter().rev().skip(AT_ONCE - 1) {
        fs::remove_file(old).map_err(at(old))?;
    }
    Ok(())
}

/// All of an upload.
pub(super) fn whole(folder: &Path, upload: &str) -> Result<Vec<u8>, FirmwareError> {
    let path = place(folder, upload)?;
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FirmwareError::Upload),
        bytes => bytes.map_err(at(&path)),
    }
}

/// Throws an upload away.
pub(super) fn forget(folder: &Path, upload: &str) -> Result<(), FirmwareError> {
    let path = place(folder, upload)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
        _ => Ok(()),
    }
}

/// Writes a file so that it is whole after a loss of power, or not there.
pub(super) fn keep(path: &Path, bytes: &[u8]) -> Result<(), FirmwareError> {
    let unfinished = path.with_extension("new");
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = (|| {
        fs::create_dir_all(folder)?;
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        fs::File::open(folder)?.sync_all()
    })();
    written.map_err(at(path))
}

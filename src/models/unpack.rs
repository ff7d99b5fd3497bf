//! Files out of downloads, bounded and checked while they are written.
//!
//! Only members that the manifest names are read, each under the name that the manifest gives it: a path in
//! an archive never becomes a path on the disk. A member is read to the manifest's size and one byte more.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::digest::Sha;
use super::manifest::Take;

/// Bytes at a time.
const PIECE: usize = 1 << 18;

/// Why files could not be taken out.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    #[error("{0} is in none of the downloads")]
    Missing(String),
    #[error("{0} is longer than the {1} bytes of the manifest")]
    TooLong(String, u64),
    #[error("{file} has the sha256 {got} instead of {want}")]
    Wrong { file: String, got: Sha, want: Sha },
    #[error("{0} is no archive that can be read: {1}")]
    Archive(String, zip::result::ZipError),
    #[error("{0}: {1}")]
    Io(String, io::Error),
    #[error("stopped")]
    Stopped,
}

/// A download that is here.
pub(super) struct Fetched {
    pub path: PathBuf,
    /// The name of its only member when it is no archive.
    pub name: String,
    pub archive: bool,
}

/// Writes all of `takes` into `folder`. `watch` gets the bytes done of all; `false` stops.
pub(super) fn unpack(
    downloads: &[Fetched],
    takes: &[Take],
    folder: &Path,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), UnpackError> {
    let total = takes.iter().map(|take| take.size).sum();
    let mut done = 0;
    for take in takes {
        one(downloads, take, folder, &mut |piece| {
            done += piece;
            watch(done, total)
        })?;
    }
    Ok(())
}

fn one(
    downloads: &[Fetched],
    take: &Take,
    folder: &Path,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<(), UnpackError> {
    let failed = |e| UnpackError::Io(take.to.clone(), e);
    let mut out = BufWriter::new(File::create(folder.join(&take.to)).map_err(failed)?);
    let mut hash = Sha256::new();
    let mut left = take.size;
    let mut piece = vec![0; PIECE];
    for member in &take.from {
        with_member(downloads, member, &mut |reader| {
            loop {
                let read = reader.read(&mut piece).map_err(failed)?;
                if read == 0 {
                    return Ok(());
                }
                left = left.checked_sub(read as u64).ok_or_else(|| UnpackError::TooLong(take.to.clone(), take.size))?;
                hash.update(&piece[..read]);
                out.write_all(&piece[..read]).map_err(failed)?;
                if !go_on(read as u64) {
                    return Err(UnpackError::Stopped);
                }
            }
        })?;
    }
    let got = Sha::of(hash);
    if got != take.sha256 {
        return Err(UnpackError::Wrong { file: take.to.clone(), got, want: take.sha256 });
    }
    out.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)
}

type Reading<'a> = &'a mut dyn FnMut(&mut dyn Read) -> Result<(), UnpackError>;

/// Gives `read` the member of that name in the first download that has it.
fn with_member(downloads: &[Fetched], member: &str, read: Reading<'_>) -> Result<(), UnpackError> {
    for download in downloads {
        let failed = |e| UnpackError::Io(download.name.clone(), e);
        if download.archive {
            let broken = |e| UnpackError::Archive(download.name.clone(), e);
            let file = BufReader::new(File::open(&download.path).map_err(failed)?);
            let mut archive = ZipArchive::new(file).map_err(broken)?;
            let found = match archive.by_name(member) {
                Ok(mut found) => read(&mut found),
                Err(zip::result::ZipError::FileNotFound) => continue,
                Err(error) => Err(broken(error)),
            };
            return found;
        }
        if download.name == member {
            return read(&mut File::open(&download.path).map_err(failed)?);
        }
    }
    Err(UnpackError::Missing(member.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(dir: &Path, members: &[(&str, &[u8])]) -> Vec<Fetched> {
        let path = dir.join("a.whl");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        for (name, bytes) in members {
            let deflated = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
            zip.start_file(*name, deflated).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
        vec![Fetched { path, name: "a.whl".into(), archive: true }]
    }

    fn take(from: &[&str], to: &str, bytes: &[u8]) -> Take {
        let from = from.iter().map(|&name| name.to_owned()).collect();
        Take { from, to: to.into(), size: bytes.len() as u64, sha256: Sha::bytes(bytes), input: false }
    }

    #[test]
    fn parts_are_joined_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let downloads = archive(dir.path(), &[("x/2", b"cd"), ("x/1", b"ab")]);
        unpack(&downloads, &[take(&["x/1", "x/2"], "m", b"abcd")], dir.path(), &mut |_, _| true).unwrap();
        assert_eq!(std::fs::read(dir.path().join("m")).unwrap(), b"abcd");
    }

    #[test]
    fn a_member_that_points_outside_stays_inside() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        let downloads = archive(dir.path(), &[("../../evil", b"x"), ("/abs", b"y")]);
        for (from, bytes) in [("../../evil", b"x"), ("/abs", b"y")] {
            unpack(&downloads, &[take(&[from], "good", bytes)], &inside, &mut |_, _| true).unwrap();
            assert_eq!(std::fs::read(inside.join("good")).unwrap(), bytes);
        }
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 1);
        assert!(!dir.path().join("evil").exists() && !Path::new("/abs").exists());
    }

    #[test]
    fn a_bomb_ends_at_the_manifests_size() {
        let dir = tempfile::tempdir().unwrap();
        let downloads = archive(dir.path(), &[("bomb", &vec![0; 64 << 20])]);
        let bomb = take(&["bomb"], "m", &[0; 100]);
        let mut seen = 0;
        let error = unpack(&downloads, &[bomb], dir.path(), &mut |done, _| {
            seen = done;
            true
        });
        assert!(matches!(error, Err(UnpackError::TooLong(_, 100))), "{error:?}");
        assert!(seen <= 100 && std::fs::metadata(dir.path().join("m")).unwrap().len() <= 100);
    }

    #[test]
    fn other_bytes_a_missing_member_and_a_broken_archive_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let downloads = archive(dir.path(), &[("f", b"abd")]);
        let mut go = |_, _| true;
        let wrong = unpack(&downloads, &[take(&["f"], "m", b"abc")], dir.path(), &mut go);
        assert!(matches!(wrong, Err(UnpackError::Wrong { .. })), "{wrong:?}");
        let short = unpack(&downloads, &[take(&["f"], "m", b"abd!")], dir.path(), &mut go);
        assert!(matches!(short, Err(UnpackError::Wrong { .. })), "{short:?}");
        let missing = unpack(&downloads, &[take(&["g"], "m", b"abc")], dir.path(), &mut go);
        assert!(matches!(missing, Err(UnpackError::Missing(_))), "{missing:?}");
        std::fs::write(&downloads[0].path, b"PK\x03\x04 no archive").unwrap();
        let broken = unpack(&downloads, &[take(&["f"], "m", b"abc")], dir.path(), &mut go);
        assert!(matches!(broken, Err(UnpackError::Archive(..))), "{broken:?}");
    }
}

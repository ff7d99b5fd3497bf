//! Keys of services, each in a file that only its owner may read. They are told nowhere else.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// A key and the file that it goes to.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub file: PathBuf,
    pub secret: String,
}

/// Writes one; false when it is there already. It belongs to whom its folder belongs to, so that root can write it for the
/// gateway. Another key in its place is not touched.
pub(super) fn write(key: &Key) -> anyhow::Result<bool> {
    let name = || key.file.display().to_string();
    let folder = key.file.parent().unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!(
            "{}: there is no such folder; make it for the gateway's user, mode 0700, then do it again",
            folder.display()
        );
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key.file);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return same(key).map(|()| false),
        Err(error) => return Err(error).with_context(name),
    };
    let (own, wanted) = (file.metadata().with_context(name)?, fs::metadata(folder).with_context(name)?);
    if own.uid() != wanted.uid() {
        chown(&key.file, Some(wanted.uid()), Some(wanted.gid())).with_context(name)?;
    }
    file.write_all(key.secret.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .with_context(name)?;
    Ok(true)
}

fn same(key: &Key) -> anyhow::Result<()> {
    let there = fs::read_to_string(&key.file).with_context(|| key.file.display().to_string())?;
    if there.trim() != key.secret {
        bail!("{}: is there already, with another key; remove it, or name another folder", key.file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_written_once_for_its_owner_alone_and_another_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let key = |secret: &str| Key { file: folder.path().join("chat.key"), secret: secret.to_owned() };
        assert!(write(&key("sk-1")).unwrap());
        assert_eq!(fs::metadata(&key("").file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!write(&key("sk-1")).unwrap());
        let refused = format!("{:#}", write(&key("sk-2")).unwrap_err());
        assert!(refused.contains("another key") && !refused.contains("sk-"), "{refused}");
        assert_eq!(fs::read_to_string(key("").file).unwrap(), "sk-1\n");
        let nowhere = Key { file: folder.path().join("no/chat.key"), secret: "sk-1".to_owned() };
        assert!(write(&nowhere).is_err());
    }
}

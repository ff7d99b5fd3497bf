//! Passwords come from a file or standard input, never from the command line, where everybody can see them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::admin::{Credential, NewPassword, Secret};
use crate::domain::DeviceId;

use super::context::Context;

/// Longest password, in bytes; MQTT would carry 65,535.
const MAX: u64 = 1_024;

/// Reads the first line of a file; `-` is standard input.
pub(super) fn read(path: &Path) -> anyhow::Result<Secret> {
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().lock().take(MAX + 2).read_to_string(&mut text).context("standard input")?;
    } else {
        let file = fs::File::open(path).with_context(|| path.display().to_string())?;
        file.take(MAX + 2).read_to_string(&mut text).with_context(|| path.display().to_string())?;
    }
    let line = text.lines().next().unwrap_or_default();
    ensure!(!line.is_empty(), "{}: the first line is the password, and it is empty", path.display());
    ensure!(u64::try_from(line.len())? <= MAX, "{}: a password has at most {MAX} bytes", path.display());
    Ok(Secret(line.to_owned()))
}

/// Whose password is changed, and to what.
#[derive(Debug, clap::Args)]
pub(super) struct Change {
    /// The device's id or the operator's name
    name: DeviceId,
    #[command(flatten)]
    to: To,
    /// Print one JSON object: {user, secret}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct To {
    /// Take the password from the first line of this file; - is standard input. At least 12 characters
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Make a new password of 256 random bits and print it
    #[arg(long)]
    rotate: bool,
}

impl Change {
    /// What to ask for, and whether the answer is to be JSON.
    pub(super) fn read(self) -> anyhow::Result<(NewPassword, bool)> {
        let password = self.to.password_file.as_deref().map(read).transpose()?;
        Ok((NewPassword { name: self.name.to_string(), password }, self.json))
    }
}

/// Tells a credential once: the secret alone on standard output, what it is on standard error. `done` says what
/// happened: `("device", "added")`.
pub(super) fn tell(
    (what, done): (&str, &str),
    credential: &Credential,
    json: bool,
    context: &mut Context<'_>,
) -> anyhow::Result<()> {
    if json {
        return context.json(credential);
    }
    match &credential.secret {
        Some(secret) => {
            eprintln!("{what} {} {done}; its password, shown this once:", credential.user);
            writeln!(context.out, "{}", secret.0)?;
        }
        None => eprintln!("{what} {} {done} with the password that you chose", credential.user),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_first_line_is_the_password_and_an_empty_one_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("p");
        fs::write(&file, "hush hush\r\nmore\n").expect("writes");
        assert_eq!(read(&file).expect("reads"), Secret("hush hush".into()));
        fs::write(&file, "\nhush").expect("writes");
        assert!(read(&file).is_err());
        fs::write(&file, "x".repeat(1_025)).expect("writes");
        assert!(read(&file).is_err());
    }
}

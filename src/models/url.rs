//! A file from an address, resumed where an earlier try broke off.

use std::path::Path;

use futures::StreamExt;
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;

use super::progress::Event;
use crate::provider::http::{Client, HttpError, Patience};

/// Tries in a row that may bring not one byte. A try that brings some is free: a bad line makes its way too.
const BARREN_TRIES: u32 = 3;
/// Progress is told each time so many bytes are here.
const TELL_EVERY: u64 = 1 << 20;

/// Fetches `url` into `to` (appending to what is there) until it has `size` bytes. Nothing is known about
/// the bytes yet. `Err` is for a person.
pub(super) async fn fetch(
    client: &Client,
    url: &str,
    to: &Path,
    size: u64,
    patience: Patience,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<(), String> {
    let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut have = tokio::fs::metadata(to).await.map_or(0, |meta| meta.len());
    if have > size {
        tokio::fs::remove_file(to).await.map_err(|e| format!("{}: {e}", to.display()))?;
        have = 0;
    }
    if have > 0 {
        tell(Event::Resume { file: name.clone(), have });
    }
    let mut barren = 0;
    while have < size {
        let before = have;
        let error = match part(client, url, to, &mut have, size, patience, tell).await {
            Ok(()) => continue,
            Err(error) => error,
        };
        barren = if have > before { 0 } else { barren + 1 };
        if barren == BARREN_TRIES || !error.passing {
            return Err(error.text);
        }
        tell(Event::Retry { file: name.clone(), error: error.text });
    }
    Ok(())
}

struct Failure {
    text: String,
    /// Asking again may help.
    passing: bool,
}

impl Failure {
    fn lasting(text: impl Into<String>) -> Self {
        Self { text: text.into(), passing: false }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self { passing: error.kind().transient(), text: error.to_string() }
    }
}

/// One request: from `have` on, as far as it goes.
async fn part(
    client: &Client,
    url: &str,
    to: &Path,
    have: &mut u64,
    size: u64,
    patience: Patience,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<(), Failure> {
    let disk = |e: std::io::Error| Failure::lasting(format!("{}: {e}", to.display()));
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let mut download = client.download(url, *have, patience).await?;
    if let Some(total) = download.total
        && total != size
    {
        return Err(Failure::lasting(format!("the server offers {total} bytes, the manifest says {size}")));
    }
    let mut file = OpenOptions::new().create(true).append(true).open(to).await.map_err(disk)?;
    if download.from != *have {
        // This server sends files from the start only.
        file.set_len(download.from).await.map_err(disk)?;
        *have = download.from;
    }
    let mut told = *have;
    let written = loop {
        match download.stream.next().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(Failure::from(error)),
            Some(Ok(piece)) => {
                let end = *have + piece.len() as u64;
                if end > size {
                    break Err(Failure::lasting(format!(
                        "the server sends more than the {size} bytes of the manifest"
                    )));
                }
                if let Err(error) = file.write_all(&piece).await {
                    break Err(disk(error));
                }
                *have = end;
            }
        }
        if *have - told >= TELL_EVERY || *have == size {
            told = *have;
            tell(Event::Download { file: name.clone().into_owned(), done: *have, total: size });
        }
    };
    file.flush().await.map_err(disk)?;
    written?;
    if *have < size {
        return Err(Failure { text: format!("the answer ended after {have} of {size} bytes"), passing: true });
    }
    file.sync_all().await.map_err(disk)
}

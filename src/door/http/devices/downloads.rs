//! `/xiaozhi/firmware/…`: images, in whole or in part, to boards that were offered them.
//!
//! Firmware shows nothing when it fetches an image, so the address itself says for whom and until when it counts, and
//! has a part that nobody can guess.

use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, Instant, sleep_until};

use super::answer::Seen;
use super::refusal::{FAILED, LIMITED, Refusal};
use super::request::Facts;
use super::{Door, Peer};
use crate::domain::DeviceId;
use crate::door::enrolment::mac;
use crate::door::firmware::{Candidate, Offer, Release};
use crate::topics::Who;

/// Bytes that are read and sent at once.
const CHUNK: usize = 16 << 10;

const FORGED: Refusal = Refusal::new(
    "forged",
    StatusCode::NOT_FOUND,
    "no such address, or no longer; the board gets another when it starts",
);
const GONE: Refusal = Refusal::new("gone", StatusCode::GONE, "this firmware was taken back");
const BUSY: Refusal =
    Refusal::new("busy", StatusCode::SERVICE_UNAVAILABLE, "too many boards fetch firmware just now; try again later");
const BAD_RANGE: Refusal = Refusal::new("bad_range", StatusCode::RANGE_NOT_SATISFIABLE, "the image has no such bytes");

/// The `firmware` of an answer, when there is something newer for the board.
pub(super) fn offer(door: &Door, seen: &Seen, device: &DeviceId, facts: &Facts) -> Option<Value> {
    let version = facts.version.as_ref()?;
    let candidate = Candidate { device, board: &facts.board, chip: &facts.chip, version, slot: facts.slot };
    let release = match door.parts.firmware.offer(&candidate) {
        Offer::Nothing => return None,
        Offer::Release(release) => release,
        Offer::TooLarge(Release { version, size, .. }) => {
            door.parts.metrics.outgrown.inc();
            let (board, slot) = (&facts.board, facts.slot);
            tracing::warn!(%device, board, version, size, slot, "new firmware is larger than the board's partition, it is not offered");
            return None;
        }
    };
    let until = door.parts.clock.wall().0 / 1_000 + door.settings.firmware.address_life.0.as_secs();
    let ticket = ticket(door, release.id(), device, until)?;
    door.parts.metrics.offers.inc();
    let (board, from, to) = (&facts.board, version.to_string(), &release.version);
    tracing::info!(%device, board, from, to, "a board is offered new firmware");
    let url = seen.url("http", "https", &format!("/xiaozhi/firmware/{}/{ticket}", release.id()));
    Some(json!({"version": release.version, "url": url}))
}

/// For whom, until when (seconds since 1970), and the proof: no colon, which firmware would take for a port's.
fn ticket(door: &Door, id: &str, device: &DeviceId, until: u64) -> Option<String> {
    let until = format!("{until:x}");
    let proof = door.parts.credentials.ticket("firmware", &[id, device.as_str(), &until]).ok()?;
    Some(format!("{}.{until}.{proof}", device.as_str().replace(':', "-")))
}

/// Whose ticket it is; none when it is forged, or its time is over.
fn read_ticket(door: &Door, id: &str, text: &str) -> Option<DeviceId> {
    let mut parts = text.splitn(3, '.');
    let device = mac(&parts.next()?.replace('-', ":"))?;
    let until = u64::from_str_radix(parts.next()?, 16).ok()?;
    let made = ticket(door, id, &device, until)?;
    let fits = bool::from(made.as_bytes().ct_eq(text.as_bytes()));
    (fits && until > door.parts.clock.wall().0 / 1_000).then_some(device)
}

/// Sends an image.
pub(super) async fn download(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    Path((id, ticket)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let result = send(&door, &peer, &id, &ticket, &headers).await;
    let (label, response) = result.unwrap_or_else(|refusal| (refusal.result, refusal.into_response()));
    door.parts.metrics.download(label);
    response
}

async fn send(
    door: &Arc<Door>,
    peer: &Peer,
    id: &str,
    ticket: &str,
    headers: &HeaderMap,
) -> Result<(&'static str, Response), Refusal> {
    if !door.rates.admit(peer.address().ip(), door.parts.clock.mono()) {
        return Err(LIMITED);
    }
    let device = read_ticket(door, id, ticket).ok_or(FORGED)?;
    if !matches!(door.parts.credentials.who(device.as_str()), Some(Who::Device(_))) {
        return Err(FORGED);
    }
    let release = door.parts.firmware.by_id(id).filter(|_| door.parts.firmware.is_sent(id)).ok_or(GONE)?;
    let etag = format!("\"{}\"", release.sha256);
    let says = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if says(header::IF_NONE_MATCH).is_some_and(|tags| tags == "*" || tags.contains(&etag)) {
        return Ok(("unchanged", (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response()));
    }
    // a part of another image would be no help
    let resumes = says(header::IF_RANGE).is_none_or(|tag| tag == etag);
    let range = match says(header::RANGE).filter(|_| resumes).map(|text| range(text, release.size)) {
        None | Some(Wanted::All) => None,
        Some(Wanted::Part(from, to)) => Some((from, to)),
        Some(Wanted::Nothing) => {
            let mut response = BAD_RANGE.into_response();
            insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{}", release.size));
            return Ok((BAD_RANGE.result, response));
        }
    };
    let permit = Arc::clone(&door.downloads).try_acquire_owned().map_err(|_| BUSY)?;
    let file = door.parts.firmware.file(&release).await.map_err(|error| {
        if let Some(unsaid) = door.quiet.may_log() {
            tracing::error!(%error, version = release.version, board = release.board, unsaid, "firmware cannot be sent");
        }
        FAILED
    })?;
    peer.stay();
    tracing::info!(%device, board = release.board, version = release.version, "a board fetches firmware");
    let (from, to) = range.unwrap_or((0, release.size));
    let body = body(door, &release, file, (from, to), permit).await.map_err(|_| FAILED)?;
    let mut response =
        (if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK }, body).into_response();
    for (name, value) in [
        // firmware does not take an image without
        (header::CONTENT_LENGTH, (to - from).to_string()),
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, etag),
    ] {
        insert(&mut response, name, &value);
    }
    if range.is_some() {
        insert(&mut response, header::CONTENT_RANGE, &format!("bytes {from}-{}/{}", to - 1, release.size));
    }
    Ok((if range.is_some() { "part" } else { "whole" }, response))
}

fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// What a `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// Everything: it is no range of bytes, or several, and then the whole is an answer too (RFC 9110, 14.2).
    All,
    /// From the first to before the second.
    Part(u64, u64),
    /// What is not there.
    Nothing,
}

fn range(text: &str, size: u64) -> Wanted {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::All;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (from.trim(), to.trim()) {
        ("", last) => match number(last) {
            None => Wanted::All,
            Some(0) => Wanted::Nothing,
            Some(last) => Wanted::Part(size.saturating_sub(last), size),
        },
        (from, to) => match (number(from), to, number(to)) {
            (Some(from), _, Some(to)) if to < from => Wanted::All,
            (Some(from), "", _) | (Some(from), _, Some(_)) if from >= size => Wanted::Nothing,
            (Some(from), "", _) => Wanted::Part(from, size),
            (Some(from), _, Some(to)) => Wanted::Part(from, to.saturating_add(1).min(size)),
            _ => Wanted::All,
        },
    }
}

/// A download under way. Whoever drops it gives its place to another.
struct Sending {
    door: Arc<Door>,
    id: String,
    file: File,
    left: u64,
    due: Instant,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

async fn body(
    door: &Arc<Door>,
    release: &Release,
    file: std::fs::File,
    (from, to): (u64, u64),
    place: OwnedSemaphorePermit,
) -> io::Result<Body> {
    let mut file = File::from_std(file);
    file.seek(SeekFrom::Start(from)).await?;
    let now = Instant::now();
    let sending = Sending {
        door: Arc::clone(door),
        id: release.id().to_owned(),
        file,
        left: to - from,
        due: now,
        until: now + door.settings.firmware.time.0,
        _place: place,
    };
    Ok(Body::from_stream(futures::stream::try_unfold(sending, |mut sending| async move {
        let chunk = sending.next().await?;
        Ok::<_, io::Error>(chunk.map(|chunk| (chunk, sending)))
    })))
}

impl Sending {
    /// The next bytes, not before their time; an error ends the connection, so that the board keeps what it has.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        sleep_until(self.due).await;
        if !self.door.parts.firmware.is_sent(&self.id) {
            return Err(io::Error::other("the firmware was taken back"));
        }
        let now = Instant::now();
        if now >= self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut chunk = BytesMut::zeroed(usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK));
        self.file.read_exact(&mut chunk).await?;
        let sent = chunk.len() as u64;
        self.left -= sent;
        let pace = Duration::from_secs_f64(sent as f64 / self.door.settings.firmware.bytes_per_second.0.max(1) as f64);
        self.due = self.due.max(now) + pace;
        self.door.parts.metrics.bytes.inc_by(sent);
        Ok(Some(chunk.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_of_what_is_there_or_nothing_and_what_is_no_range_is_all() {
        for (text, wanted) in [
            ("bytes=0-", Wanted::Part(0, 100)),
            ("bytes=10-19", Wanted::Part(10, 20)),
            ("bytes=90-1000", Wanted::Part(90, 100)),
            ("bytes=-10", Wanted::Part(90, 100)),
            ("bytes=-1000", Wanted::Part(0, 100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=100-200", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=20-10", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("bytes=x-y", Wanted::All),
            ("bytes=-", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("", Wanted::All),
        ] {
            assert_eq!(range(text, 100), wanted, "{text}");
        }
    }
}

//! A service with OpenAI's HTTP API that fails as it is told, for fault runs. It lives in the load generator, nowhere else.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::bench::{REPLY, WORDS};
use super::providers::tone;

/// What a failing service says: nobody but an operator may ever read it.
pub const CURSE: &str = "upstream exploded in worker 7";
/// What it takes when it is well.
const WELL: Duration = Duration::from_millis(20);
/// What it takes when it is slow.
const SLOW: Duration = Duration::from_secs(6);
/// Samples of speech for a character.
const SAMPLES: u32 = 24_000 / 40;
/// The longest request.
const LONGEST: usize = 8 << 20;

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    Well,
    /// It answers late.
    Slow,
    /// Its answers break off in their midst.
    Cut,
    /// It refuses, with words of its own.
    Refuses,
    /// It takes requests and says nothing.
    Silent,
    /// Nobody is there.
    Gone,
}

impl Mood {
    /// For a log or a plot.
    pub fn name(self) -> &'static str {
        match self {
            Mood::Well => "well",
            Mood::Slow => "slow",
            Mood::Cut => "cut",
            Mood::Refuses => "refuses",
            Mood::Silent => "silent",
            Mood::Gone => "gone",
        }
    }
}

/// A service on loopback; it ends with this.
pub struct Service {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    _work: JoinSet<()>,
}

impl Service {
    /// Starts one that is well.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mood, moods) = watch::channel(Mood::Well);
        let mut work = JoinSet::new();
        work.spawn(run(listener, address, moods));
        Ok(Self { address, mood, _work: work })
    }

    /// `http://127.0.0.1:PORT/v1`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// From now on it is like that.
    pub fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

async fn run(first: TcpListener, address: SocketAddr, mut moods: watch::Receiver<Mood>) {
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    loop {
        let mood = *moods.borrow_and_update();
        if mood == Mood::Gone {
            // whoever is connected finds that out too
            (listener, connections) = (None, JoinSet::new());
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let Some(open) = &listener else {
            if mood == Mood::Gone && moods.changed().await.is_err() {
                return;
            }
            sleep(WELL).await;
            continue;
        };
        tokio::select! {
            changed = moods.changed() => if changed.is_err() { return },
            accepted = open.accept() => if let Ok((socket, _)) = accepted {
                let moods = moods.clone();
                connections.spawn(async move { drop(serve(socket, &moods).await) });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Requests of one connection, one after the other.
async fn serve(mut socket: TcpStream, moods: &watch::Receiver<Mood>) -> io::Result<()> {
    let mut bytes = Vec::new();
    while let Some((path, rest)) = request(&mut socket, &mut bytes).await? {
        bytes = rest;
        let mood = *moods.borrow();
        match mood {
            Mood::Silent => return until_left(&mut socket).await,
            Mood::Slow => sleep(SLOW).await,
            _ => sleep(WELL).await,
        }
        if mood == Mood::Refuses {
            let body = json!({"error": {"message": CURSE, "type": "server_error"}}).to_string();
            socket.write_all(whole("500 Internal Server Error", &body).as_bytes()).await?;
            continue;
        }
        if !answer(&mut socket, &path, mood == Mood::Cut).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Says nothing until whoever asked gives up.
async fn until_left(socket: &mut TcpStream) -> io::Result<()> {
    let mut unread = [0; 512];
    while socket.read(&mut unread).await? > 0 {}
    Ok(())
}

/// The path of the next request, which is read to its end, and what came behind it.
async fn request(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<Option<(String, Vec<u8>)>> {
    loop {
        if let Some((path, length)) = complete(bytes) {
            return Ok(Some((path, bytes.split_off(length))));
        }
        if bytes.len() > LONGEST || socket.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// The path, and the length of a request that is whole.
fn complete(bytes: &[u8]) -> Option<(String, usize)> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]);
    let path = text.split(' ').nth(1)?.to_owned();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head + length.unwrap_or(0);
    (bytes.len() >= end).then_some((path, end))
}

fn whole(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Answers; `false`: the answer was cut off, and the connection with it.
async fn answer(socket: &mut TcpStream, path: &str, cut: bool) -> io::Result<bool> {
    let (kind, pieces) = if path.ends_with("/chat/completions") {
        ("text/event-stream", words())
    } else if path.ends_with("/audio/speech") {
        ("audio/pcm", speech())
    } else if path.ends_with("/audio/transcriptions") {
        ("application/json", vec![json!({"text": WORDS}).to_string().into_bytes()])
    } else {
        ("application/json", vec![br#"{"data": []}"#.to_vec()])
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    let sent = if cut { pieces.len() / 2 } else { pieces.len() };
    for piece in &pieces[..sent] {
        socket.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
        socket.write_all(piece).await?;
        socket.write_all(b"\r\n").await?;
    }
    if !cut {
        socket.write_all(b"0\r\n\r\n").await?;
    }
    Ok(!cut)
}

/// An answer of the chat model, word by word.
fn words() -> Vec<Vec<u8>> {
    let piece = |text: &str| {
        let event = json!({"choices": [{"delta": {"content": text}, "finish_reason": null}]});
        format!("data: {event}\n\n").into_bytes()
    };
    let mut pieces: Vec<_> = REPLY.split_inclusive(' ').map(piece).collect();
    let end = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
    pieces.push(format!("data: {end}\n\ndata: [DONE]\n\n").into_bytes());
    pieces
}

/// A tone as long as the answer, in four pieces.
fn speech() -> Vec<Vec<u8>> {
    let length = u32::try_from(REPLY.len()).unwrap_or(60);
    let samples = tone(length * SAMPLES / 2);
    let piece = |part: &[i16]| part.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    samples.chunks(samples.len().div_ceil(4).max(1)).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_when_its_body_is_there() {
        let head = b"POST /v1/x HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(complete(head), None);
        let all = [&head[..], b"abcGET"].concat();
        assert_eq!(complete(&all), Some(("/v1/x".to_owned(), all.len() - 3)));
        assert_eq!(complete(b"nonsense"), None);
        assert_eq!(complete(b"\r\n\r\n"), None);
    }
}

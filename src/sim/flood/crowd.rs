//! A great many connections: that stay, that come back, that come and go.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::client::{PATIENCE, dial, greet};
use super::packets::{self, DISCONNECT};
use super::tls::{Secured, Trust};
use super::{FloodError, Login};

/// Connections that are opened at once.
const AT_ONCE: usize = 64;
/// Connections from one address of this machine, well below its ports.
const FROM_ONE: usize = 10_000;
/// Between two tries of one client of a herd.
const AGAIN: Duration = Duration::from_millis(100);
/// A herd is given up after this.
const GIVE_UP: Duration = Duration::from_secs(90);

/// An open connection.
#[derive(Debug)]
enum Kept {
    Plain(TcpStream),
    Secured(Box<Secured>),
}

/// Connections that say nothing; dropped, they close.
#[derive(Debug, Default)]
pub struct Crowd {
    kept: Vec<(Login, Kept)>,
}

impl Crowd {
    /// How many.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Each publishes one message with QoS 0: topic and payload.
    pub async fn publish(&mut self, message: impl Fn(&Login) -> (String, String)) -> Result<(), FloodError> {
        for (login, kept) in &mut self.kept {
            let (topic, payload) = message(login);
            let packet = packets::publish(&topic, payload.as_bytes());
            let written = match kept {
                Kept::Plain(stream) => stream.write_all(&packet).await,
                Kept::Secured(stream) => stream.write_all(&packet).await,
            };
            written.map_err(|_| FloodError::Closed)?;
        }
        Ok(())
    }
}

/// Opens a connection for each login, by TLS where there is a trust.
pub async fn crowd(addr: SocketAddr, logins: &[Login], trust: Option<&Trust>) -> Result<Crowd, FloodError> {
    let open = |(n, login): (usize, Login)| async move {
        let opening = async {
            let mut stream = dial(addr, source(n / FROM_ONE)).await?;
            let Some(trust) = trust else {
                greet(&mut stream, addr, &login).await?;
                return Ok(Kept::Plain(stream));
            };
            let mut stream = trust.secure(stream, addr).await?;
            greet(&mut stream, addr, &login).await?;
            Ok(Kept::Secured(Box::new(stream)))
        };
        let kept = timeout(PATIENCE, opening).await.map_err(|_| FloodError::Silence("connect", PATIENCE))??;
        Ok((login, kept))
    };
    let numbered: Vec<_> = logins.iter().cloned().enumerate().collect();
    let kept = stream::iter(numbered).map(open).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(Crowd { kept })
}

/// An address of this machine.
fn source(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, u8::try_from(n % 250).unwrap_or(0) + 1)
}

/// A herd that is back.
#[derive(Debug)]
pub struct Returned {
    /// All of them, connected again.
    pub crowd: Crowd,
    /// When each was back, in order.
    pub back: Vec<Instant>,
    /// Connects that failed before, all together.
    pub failed: u64,
}

/// Reads whatever comes, until the other end closes.
async fn read_out<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut rest = [0; 64];
    // whatever ends it
    while matches!(stream.read(&mut rest).await, Ok(n) if n > 0) {}
}

/// Waits until each connection is closed, then opens it anew: its first try after a share of `spread`, further ones
/// each 100 ms. Each publishes `hello` and is back when something comes in answer.
pub async fn herd(
    addr: SocketAddr,
    crowd: Crowd,
    spread: Duration,
    hello: fn(&Login) -> (String, String),
) -> Result<Returned, FloodError> {
    let mut tasks = JoinSet::new();
    let count = crowd.kept.len().max(1);
    for (n, (login, kept)) in crowd.kept.into_iter().enumerate() {
        // neighbours in the list are not neighbours in time
        let first = spread.mul_f64((n * 7_919 % count) as f64 / count as f64);
        tasks.spawn(timeout(GIVE_UP, async move {
            match kept {
                Kept::Plain(mut stream) => read_out(&mut stream).await,
                Kept::Secured(mut stream) => read_out(&mut *stream).await,
            }
            sleep(first).await;
            come_back(addr, login, source(n / FROM_ONE), hello).await
        }));
    }
    let mut returned = Returned { crowd: Crowd::default(), back: Vec::new(), failed: 0 };
    while let Some(done) = tasks.join_next().await {
        let done = done.map_err(|error| FloodError::Tool(error.to_string()))?;
        let (login, stream, at, failed) = done.map_err(|_| FloodError::Silence("let everybody back in", GIVE_UP))?;
        returned.crowd.kept.push((login, Kept::Plain(stream)));
        returned.back.push(at);
        returned.failed += failed;
    }
    returned.back.sort();
    Ok(returned)
}

async fn come_back(
    addr: SocketAddr,
    login: Login,
    from: Ipv4Addr,
    hello: fn(&Login) -> (String, String),
) -> (Login, TcpStream, Instant, u64) {
    let mut failed = 0;
    loop {
        let opening = async {
            let mut stream = dial(addr, from).await?;
            greet(&mut stream, addr, &login).await?;
            let (topic, payload) = hello(&login);
            let failed = |error| FloodError::Io(error, addr);
            stream.write_all(&packets::publish(&topic, payload.as_bytes())).await.map_err(failed)?;
            stream.read_u8().await.map_err(failed)?;
            Ok::<_, FloodError>(stream)
        };
        match timeout(PATIENCE, opening).await {
            Ok(Ok(stream)) => return (login, stream, Instant::now(), failed),
            Ok(Err(_)) | Err(_) => failed += 1,
        }
        sleep(AGAIN).await;
    }
}

/// CONNECT, CONNACK, DISCONNECT, closed, again and again, each login on its own, for `length`. How many, and s.
pub async fn connect_rate(addr: SocketAddr, logins: &[Login], length: Duration) -> Result<(u64, f64), FloodError> {
    let begun = Instant::now();
    let mut tasks: JoinSet<Result<u64, FloodError>> = JoinSet::new();
    for (n, login) in logins.iter().cloned().enumerate() {
        tasks.spawn(async move {
            let mut count = 0;
            while begun.elapsed() < length {
                let one = async {
                    // a port rests for a minute after its connection: many addresses have enough of them
                    let mut stream = dial(addr, source(n + usize::try_from(count).unwrap_or(0))).await?;
                    greet(&mut stream, addr, &login).await?;
                    stream.write_all(&DISCONNECT).await.map_err(|error| FloodError::Io(error, addr))?;
                    read_out(&mut stream).await;
                    Ok(())
                };
                timeout(PATIENCE, one).await.map_err(|_| FloodError::Silence("connect", PATIENCE))??;
                count += 1;
            }
            Ok(count)
        });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.map_err(|error| FloodError::Tool(error.to_string())).flatten()?;
    }
    Ok((count, begun.elapsed().as_secs_f64()))
}

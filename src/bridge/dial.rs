//! From nothing to CONNACK.

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::{Connect, ConnectReturnCode, Login, Packet, mqttbytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tls::Connector;
use super::trouble::Trouble;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// No CONNACK is larger.
const CONNACK: usize = 64;
/// Set in the protocol level, this says "I am a bridge": mosquitto and its kind then leave out what we published
/// ourselves, and tell which messages are retained. No part of the standard.
const BRIDGE: u8 = 0x80;

/// The other broker, and who we are there. Its Debug shows no password.
#[derive(Clone)]
pub(super) struct Remote {
    pub host: String,
    pub port: u16,
    pub tls: Option<Connector>,
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<String>,
    pub clean: bool,
    /// Seconds.
    pub keep_alive: u16,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({}:{})", self.host, self.port)
    }
}

/// A connection of either kind.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A connection that is in.
pub(super) struct Dialled {
    pub socket: Box<dyn Socket>,
    /// What came with the CONNACK.
    pub inbox: BytesMut,
    /// The other broker knows us from before.
    pub present: bool,
}

impl Remote {
    /// Connects; `as_bridge` says so, in a way that not every broker knows.
    pub async fn dial(&self, as_bridge: bool) -> Result<Dialled, Trouble> {
        let dialled = tokio::time::timeout(PATIENCE, self.greet(as_bridge)).await;
        dialled.unwrap_or_else(|_| Err(Trouble::Unreachable(format!("no answer within {} s", PATIENCE.as_secs()))))
    }

    async fn greet(&self, as_bridge: bool) -> Result<Dialled, Trouble> {
        let unreachable = |error: std::io::Error| Trouble::Unreachable(error.to_string());
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let mut socket: Box<dyn Socket> = match &self.tls {
            Some(tls) => Box::new(tls.connect(tcp).await?),
            None => Box::new(tcp),
        };
        socket.write_all(&self.connect(as_bridge)?).await?;
        socket.flush().await?;
        let mut inbox = BytesMut::with_capacity(4 << 10);
        loop {
            match Packet::read(&mut inbox, CONNACK) {
                Ok(Packet::ConnAck(answer)) => {
                    admitted(answer.code)?;
                    return Ok(Dialled { socket, inbox, present: answer.session_present && !self.clean });
                }
                Ok(_) => return Err(Trouble::Protocol("its first packet is no CONNACK".into())),
                Err(mqttbytes::Error::InsufficientBytes(_)) => {}
                // a code of mqtt 5 or of nobody: it does not like the packet
                Err(mqttbytes::Error::InvalidConnectReturnCode(_)) => return Err(Trouble::Version),
                Err(error) => return Err(Trouble::Protocol(error.to_string())),
            }
            if socket.read_buf(&mut inbox).await? == 0 {
                return Err(Trouble::Closed(" before it let us in"));
            }
        }
    }

    fn connect(&self, as_bridge: bool) -> Result<BytesMut, Trouble> {
        let mut connect = Connect::new(self.client_id.as_str());
        (connect.clean_session, connect.keep_alive) = (self.clean, self.keep_alive);
        if let Some(user) = &self.username {
            connect.login = Some(Login::new(user.as_str(), self.password.as_deref().unwrap_or_default()));
        }
        let mut out = BytesMut::new();
        connect.write(&mut out).map_err(|error| Trouble::Protocol(error.to_string()))?;
        // the level stands after the protocol's name, which is the first text in the packet
        let level = out.windows(4).position(|w| w == b"MQTT").and_then(|at| out.get_mut(at + 4));
        if let Some(level) = level.filter(|_| as_bridge) {
            *level |= BRIDGE;
        }
        Ok(out)
    }
}

fn admitted(code: ConnectReturnCode) -> Result<(), Trouble> {
    match code {
        ConnectReturnCode::Success => Ok(()),
        ConnectReturnCode::RefusedProtocolVersion => Err(Trouble::Version),
        ConnectReturnCode::BadClientId => Err(Trouble::Refused("the client id")),
        ConnectReturnCode::ServiceUnavailable => Err(Trouble::Refused("it is not available now")),
        ConnectReturnCode::BadUserNamePassword => Err(Trouble::Refused("wrong user name or password")),
        ConnectReturnCode::NotAuthorized => Err(Trouble::Refused("not authorized")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn remote() -> Remote {
        Remote {
            host: "h".into(),
            port: 1,
            tls: None,
            client_id: "MQTT".into(),
            username: Some("u".into()),
            password: Some("secret".into()),
            clean: false,
            keep_alive: 60,
        }
    }

    #[test]
    fn a_bridge_says_so_in_the_level_and_nowhere_else() {
        let (plain, bridge) = (remote().connect(false).unwrap(), remote().connect(true).unwrap());
        let differ: Vec<_> = (0..plain.len()).filter(|at| plain[*at] != bridge[*at]).collect();
        assert_eq!(differ, [8]);
        assert_eq!((plain[8], bridge[8]), (4, 0x84));
    }

    #[test]
    fn the_password_is_not_shown() {
        assert_eq!(format!("{:?}", remote()), "Remote(h:1)");
    }
}

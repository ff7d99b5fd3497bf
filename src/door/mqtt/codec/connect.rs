//! CONNECT: who wants in, with which will.

use std::fmt;

use bytes::Bytes;

use super::props::{Place, Props};
use super::read::Reader;
use super::{CodecError, PublishProps, Text, Version};

/// User name and password. Its Debug shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub user: Text,
    /// The password: any bytes.
    pub password: Bytes,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

/// What to publish when the connection ends without DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: Text,
    /// What.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Keep it.
    pub retain: bool,
    /// Properties (MQTT 5).
    pub props: Option<Box<PublishProps>>,
    /// Seconds to wait (MQTT 5); at most the life of the session.
    pub delay: u32,
}

/// CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The protocol level.
    pub version: Version,
    /// Clean session (3.1.1), clean start (5).
    pub clean: bool,
    /// Seconds; 0 is none.
    pub keep_alive: u16,
    /// May be empty.
    pub client_id: Text,
    /// The will.
    pub will: Option<Will>,
    /// Credentials, when given.
    pub login: Option<Login>,
    /// Seconds that the client would like its session to live on.
    pub session_expiry: u32,
    /// Most publishes with QoS 1 and 2 that may be on their way to the client.
    pub receive_maximum: u16,
    /// Largest packet that the client takes.
    pub max_packet: u32,
    /// Topic aliases that the client takes.
    pub alias_maximum: u16,
    /// The client asks for extended authentication.
    pub extended_auth: bool,
}

pub(super) fn read(r: &mut Reader) -> Result<Connect, CodecError> {
    let version = protocol(r)?;
    let flags = r.u8()?;
    if flags & 1 != 0 {
        return Err(CodecError::Malformed("reserved connect flag is set"));
    }
    let keep_alive = r.u16()?;
    let props = if version == Version::V5 { Props::read(r, Place::Connect)? } else { Props::default() };
    let client_id = r.text()?;
    let will = will(r, flags, version)?;
    let login = login(r, flags, version)?;
    r.end()?;
    Ok(Connect {
        version,
        clean: flags & 2 != 0,
        keep_alive,
        client_id,
        will,
        login,
        session_expiry: props.session_expiry.unwrap_or(0),
        receive_maximum: props.receive_maximum.unwrap_or(u16::MAX),
        max_packet: props.max_packet.unwrap_or(u32::MAX),
        alias_maximum: props.alias_maximum.unwrap_or(0),
        extended_auth: props.auth_method.is_some(),
    })
}

fn protocol(r: &mut Reader) -> Result<Version, CodecError> {
    let name = r.binary()?;
    let level = r.u8()?;
    match (&name[..], level) {
        (b"MQTT", 4) => Ok(Version::V4),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT" | b"MQIsdp", other) => Err(CodecError::Version(other)),
        _ => Err(CodecError::Malformed("not mqtt")),
    }
}

fn will(r: &mut Reader, flags: u8, version: Version) -> Result<Option<Will>, CodecError> {
    let (qos, retain) = ((flags >> 3) & 3, flags & 0x20 != 0);
    if flags & 4 == 0 {
        return if qos != 0 || retain { Err(CodecError::Malformed("will flags without a will")) } else { Ok(None) };
    }
    if qos == 3 {
        return Err(CodecError::Malformed("will qos 3"));
    }
    let props = if version == Version::V5 { Props::read(r, Place::Will)? } else { Props::default() };
    let (topic, payload) = (r.text()?, r.binary()?);
    let delay = props.will_delay.unwrap_or(0);
    let props = props.has_any.then(|| Box::new(props.publish));
    Ok(Some(Will { topic, payload, qos, retain, props, delay }))
}

fn login(r: &mut Reader, flags: u8, version: Version) -> Result<Option<Login>, CodecError> {
    let (has_user, has_password) = (flags & 0x80 != 0, flags & 0x40 != 0);
    if has_password && !has_user && version == Version::V4 {
        return Err(CodecError::Malformed("password without user name"));
    }
    let user = if has_user { r.text()? } else { Text::default() };
    let password = if has_password { r.binary()? } else { Bytes::new() };
    Ok((has_user || has_password).then_some(Login { user, password }))
}

//! Who asks: an operator's token, or an operator's signature.
//!
//! A token is `NAME.SECRET`, where the secret is all behind the last dot: secrets that the gateway makes have none, and
//! names may. A signature is HMAC-SHA-256 over method, path with query, timestamp, nonce and the SHA-256 of the body.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::http::{HeaderMap, Method, StatusCode, Uri};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Api;
use super::fault::Fault;
use super::nonces::Stamp;
use super::settings::Signature;
use crate::admin::Role;
use crate::door::credentials::{Attempt, Denied};
use crate::topics::{self, Who};

/// A proven operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub name: Arc<str>,
    pub role: Role,
    /// What the body must hash to: it was signed.
    pub digest: Option<[u8; 32]>,
}

/// What a request shows of itself before its body.
pub(super) struct Shown<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub address: IpAddr,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}

/// The name and the secret of the token, from either header. Two that differ are none: one of them is not meant.
fn token(headers: &HeaderMap) -> Option<(&str, &str)> {
    let (authorization, own) = (text(headers, "authorization"), text(headers, "x-auth-token"));
    let token = match authorization.split_once(' ') {
        _ if !headers.contains_key("authorization") => own,
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && (own.is_empty() || own == token.trim()) => {
            token.trim()
        }
        _ => return None,
    };
    token.rsplit_once('.').filter(|(name, secret)| !name.is_empty() && !secret.is_empty())
}

fn role(role: topics::Role) -> Role {
    match role {
        topics::Role::Viewer => Role::Viewer,
        topics::Role::Operator => Role::Operator,
        topics::Role::Admin => Role::Admin,
    }
}

impl Api {
    /// Who it is, and that the request is counted for somebody. Nothing of the body has been read.
    pub(super) async fn admit(&self, shown: &Shown<'_>) -> Result<Caller, Fault> {
        if !self.settings.auth {
            self.stranger(shown.address)?;
            return Ok(Caller { name: "anonymous".into(), role: Role::Admin, digest: None });
        }
        let changes = !matches!(*shown.method, Method::GET | Method::HEAD);
        let signed = self.settings.signature == Signature::Required;
        let caller = if signed { self.by_signature(shown)? } else { self.by_token(shown).await? };
        if !self.operators.take(Arc::clone(&caller.name), self.clock.mono()) {
            return Err(Fault::rate_limited(1));
        }
        // what only looks may be asked again; but no signature is good twice
        if signed || changes && self.settings.wants_nonces() {
            let stamp = Stamp::read(shown.headers)?;
            self.nonces.take(&caller.name, &stamp, self.clock.wall())?;
        }
        Ok(caller)
    }

    /// Counts a request of somebody who has not proven who it is.
    pub(super) fn stranger(&self, address: IpAddr) -> Result<(), Fault> {
        if self.strangers.admit(address, self.clock.mono()) { Ok(()) } else { Err(Fault::rate_limited(2)) }
    }

    async fn by_token(&self, shown: &Shown<'_>) -> Result<Caller, Fault> {
        let Some((user, password)) = token(shown.headers) else {
            self.stranger(shown.address)?;
            return Err(Fault::unauthorized());
        };
        let attempt = Attempt {
            user: Some(user),
            password: Some(password.as_bytes()),
            address: shown.address,
            certificate: None,
        };
        let mut login = pin!(self.credentials.login(attempt));
        // a right secret of the gateway's is known at once, whatever others do at the same address
        let identity = match futures::poll!(login.as_mut()) {
            Poll::Ready(Ok(identity)) => Ok(identity),
            Poll::Ready(Err(denied)) => {
                self.stranger(shown.address)?;
                Err(denied)
            }
            Poll::Pending => {
                self.stranger(shown.address)?;
                login.await
            }
        };
        match identity {
            Ok(identity) => match identity.who {
                Who::Operator(may) => Ok(Caller { name: identity.user, role: role(may), digest: None }),
                Who::Device(_) | Who::Anonymous => Err(forbidden()),
            },
            Err(Denied::Busy) => Err(Fault::busy("too many passwords are being checked: come again")),
            Err(_) => Err(Fault::unauthorized()),
        }
    }

    fn by_signature(&self, shown: &Shown<'_>) -> Result<Caller, Fault> {
        let proven = self.signed(shown);
        if proven.is_err() {
            self.stranger(shown.address)?;
        }
        proven
    }

    fn signed(&self, shown: &Shown<'_>) -> Result<Caller, Fault> {
        let name = text(shown.headers, "x-operator");
        let stamp = Stamp::read(shown.headers)?;
        let bad = |code| Fault::coded(StatusCode::BAD_REQUEST, code);
        let digest = unhex(text(shown.headers, "x-content-sha256")).ok_or_else(|| bad("missing_digest"))?;
        let signature = unhex(text(shown.headers, "x-request-signature")).ok_or_else(|| bad("missing_signature"))?;
        let path = shown.uri.path_and_query().map_or("/", |path| path.as_str());
        // done for a name that nobody has too, so that both take the same time
        let (key, may) = match self.credentials.signing_key(name) {
            Some((key, may)) => (key.reveal().to_owned(), Some(may)),
            None => (String::new(), None),
        };
        let made = sign(key.as_bytes(), shown.method.as_str(), path, &stamp, &digest);
        match may.filter(|_| bool::from(made.ct_eq(&signature))) {
            Some(may) => Ok(Caller { name: name.into(), role: role(may), digest: Some(digest) }),
            None => Err(Fault::unauthorized()),
        }
    }
}

/// A proven identity that may not do it.
pub(super) fn forbidden() -> Fault {
    Fault::new(StatusCode::FORBIDDEN, "forbidden", "your role does not allow this")
}

/// The signature of a request: HMAC-SHA-256 over five lines without a newline at the end.
fn sign(key: &[u8], method: &str, path: &str, stamp: &Stamp, digest: &[u8; 32]) -> [u8; 32] {
    let text = format!("{method}\n{path}\n{}\n{}\n{}", stamp.text, stamp.nonce, hex(digest));
    // HMAC takes keys of any length, and ours is 43 bytes: this is the key filled up to one block
    let mut block = [0_u8; 64];
    let length = key.len().min(64);
    block[..length].copy_from_slice(&key[..length]);
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // a String never fails to take more
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let bytes = text.as_bytes();
    if bytes.len() != 64 {
        return None;
    }
    let mut digest = [0; 32];
    for (at, pair) in bytes.chunks_exact(2).enumerate() {
        let nibble = |byte: u8| char::from(byte).to_digit(16);
        digest[at] = u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_token_comes_in_either_header_and_its_name_may_have_dots() {
        let read = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            token(&headers).map(|(name, secret)| (name.to_owned(), secret.to_owned()))
        };
        let anna = Some(("anna.b".to_owned(), "s-e_c".to_owned()));
        assert_eq!(read("authorization", "Bearer anna.b.s-e_c"), anna);
        assert_eq!(read("authorization", "bearer  anna.b.s-e_c "), anna);
        assert_eq!(read("x-auth-token", "anna.b.s-e_c"), anna);
        for bad in ["Bearer", "Bearer x", "Bearer .x", "Bearer x.", "Basic YTpi", ""] {
            assert_eq!(read("authorization", bad), None, "{bad}");
        }
    }

    /// Made with `printf … | openssl dgst -sha256 -hmac`.
    #[test]
    fn a_signature_is_what_openssl_makes_of_the_five_lines() {
        let stamp = Stamp { text: "1800000000".into(), at_ms: 1_800_000_000_000, nonce: "n-1".into() };
        let digest = unhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855").unwrap();
        let key = b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
        let made = hex(&sign(key, "POST", "/v1/device/bind?x=1", &stamp, &digest));
        assert_eq!(made, "9dd390a2d7d831ad7dec8ce454beebb168d7f698aa0a8c9daa7b2e2f69cf0064");
    }

    #[test]
    fn hex_reads_back_and_garbage_does_not() {
        let bytes: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 8).unwrap());
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}

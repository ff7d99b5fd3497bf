//! What operators publish on `gateway/{gateway}/command/{id}/{name}`.

use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::domain::{Commands, DeviceId, Refusal};
use crate::router::{CommandError, Router};

/// Longest text to say, bytes.
const LONGEST: usize = 4_096;

pub(super) struct DeviceCommands {
    router: Router,
}

impl DeviceCommands {
    pub(super) fn new(router: Router) -> Self {
        Self { router }
    }

    fn run(&self, device: &DeviceId, name: &str, payload: &[u8]) -> Result<(), Refusal> {
        let done = match name {
            "say" => self.router.say(device, text(payload)?),
            "abort" => self.router.hush(device),
            "reboot" => self.router.reboot(device),
            _ => return Err(Refusal::Malformed),
        };
        done.map_err(|error| match error {
            CommandError::NotConnected(_) => Refusal::NotAllowed,
            CommandError::Busy(_) => Refusal::Quota,
        })
    }
}

impl Commands for DeviceCommands {
    fn command(&self, device: DeviceId, name: &str, payload: Bytes) -> BoxFuture<'static, Result<(), Refusal>> {
        let done = self.run(&device, name, &payload);
        if let Err(refusal) = done {
            tracing::info!(%device, name, why = refusal.name(), "a command was refused");
        }
        Box::pin(std::future::ready(done))
    }
}

/// The text to say: as it is, or the `text` of a JSON object.
fn text(payload: &[u8]) -> Result<String, Refusal> {
    let plain = std::str::from_utf8(payload).map_err(|_| Refusal::Malformed)?.trim();
    let text = if plain.starts_with('{') {
        serde_json::from_str::<Value>(plain)
            .ok()
            .and_then(|value| value.get("text").and_then(Value::as_str).map(str::to_owned))
            .ok_or(Refusal::Malformed)?
    } else {
        plain.to_owned()
    };
    if text.is_empty() || text.len() > LONGEST {
        return Err(Refusal::Malformed);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_to_say_is_plain_or_json() {
        assert_eq!(text(b" Dinner is ready \n"), Ok("Dinner is ready".to_owned()));
        assert_eq!(text(br#"{"text": "Dinner"}"#), Ok("Dinner".to_owned()));
        for bad in [&b""[..], b"{", br#"{"say": 1}"#, &[0xff], &[b'x'; LONGEST + 1]] {
            assert_eq!(text(bad), Err(Refusal::Malformed));
        }
    }
}

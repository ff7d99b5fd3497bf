//! A board's first request: who it is to be and where to go, read as firmware reads it, with what would trouble it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::board::Path;
use crate::domain::DeviceId;
use crate::provider::http::{self, Client, Headers, HttpError, Patience};
use crate::sim::device::Login;
use crate::wire::xiaozhi::frames::Version;

/// How long firmware waits.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest name of a value in a board's flash.
const NAME: usize = 15;
/// Longest value there, bytes.
const VALUE: usize = 4_000;
/// What it is, for its firmware and its number.
const BOARD: &str = "voxgate-simulated";

/// Why there is no answer to go on with.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// Nobody answered, or with a refusal.
    #[error("bootstrap: {0}")]
    Http(#[from] HttpError),
    /// Firmware could not use the answer.
    #[error("bootstrap: {0}")]
    Useless(&'static str),
}

/// What a board was told.
#[derive(Debug)]
pub enum Told {
    /// It waits for an operator, and shows this code.
    Wait(String),
    /// It may come in.
    Go(Login, Path),
}

/// Asks for boards.
#[derive(Debug)]
pub struct Bootstrap {
    client: Client,
    url: String,
    /// What would trouble firmware in the answers.
    pub complaints: Vec<String>,
}

impl Bootstrap {
    /// At this URL, as in `http://gateway:8003/xiaozhi/ota/`.
    pub fn new(url: &str) -> Result<Self, BootstrapError> {
        let client = Client::new(&http::Settings::default())?;
        Ok(Self { client, url: url.to_owned(), complaints: Vec::new() })
    }

    /// As the board with this MAC and this number; MQTT counts before WebSocket, as in firmware.
    pub async fn ask(&mut self, id: &DeviceId, number: &str) -> Result<Told, BootstrapError> {
        let body = json!({
            "version": 2, "language": "en-US", "mac_address": id.as_str(), "uuid": number,
            "application": {"name": "xiaozhi", "version": "2.4.2"},
            "board": {"type": BOARD, "name": BOARD, "ip": "127.0.0.1", "mac": id.as_str()},
        });
        let headers = Headers::new().with("device-id", id.as_str()).with("client-id", number);
        let headers = headers.with("activation-version", "1").with("connection", "close");
        let patience = Patience { first_byte: PATIENCE, between: PATIENCE, whole: PATIENCE };
        let answer = self.client.post_json(&self.url, &headers, &body, patience).await?;
        self.reads(id, &answer)
    }

    fn reads(&mut self, id: &DeviceId, answer: &Value) -> Result<Told, BootstrapError> {
        for part in ["mqtt", "websocket"] {
            if let Some(values) = answer[part].as_object() {
                self.keeps(part, values);
            }
        }
        self.looks_for_news(&answer["firmware"]);
        if let Some(code) = answer["activation"]["code"].as_str() {
            return Ok(Told::Wait(code.to_owned()));
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(mqtt) = answer["mqtt"].as_object() {
            let useless = BootstrapError::Useless("no endpoint, user or password in mqtt");
            let endpoint = mqtt.get("endpoint").and_then(Value::as_str).unwrap_or_default();
            let found = endpoint.split_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
            let secret = mqtt.get("password").and_then(text);
            let user = mqtt.get("username").and_then(Value::as_str).and_then(|user| DeviceId::parse(user).ok());
            let (Some((host, port)), Some(secret), Some(id)) = (found, secret, user) else { return Err(useless) };
            return Ok(Told::Go(Login { host: host.to_owned(), port, id, secret }, Path::Mqtt));
        }
        let websocket = &answer["websocket"];
        let (Some(url), Some(secret)) = (text(&websocket["url"]), text(&websocket["token"])) else {
            return Err(BootstrapError::Useless("neither mqtt nor websocket"));
        };
        let version = match websocket["version"].as_u64() {
            None | Some(1) => Version::One,
            Some(2) => Version::Two,
            Some(3) => Version::Three,
            Some(_) => return Err(BootstrapError::Useless("a version of frames that there is not")),
        };
        let login = Login { host: String::new(), port: 0, id: id.clone(), secret };
        Ok(Told::Go(login, Path::WebSocket(url, version)))
    }

    /// Each text and number goes into flash by its name.
    fn keeps(&mut self, part: &str, values: &Map<String, Value>) {
        for (name, value) in values {
            let long = value.as_str().is_some_and(|value| value.len() > VALUE);
            if (name.len() > NAME && !value.is_object()) || long {
                self.complaints.push(format!("{part}.{name} does not fit into flash"));
            }
        }
        if values.get("endpoint").and_then(Value::as_str).is_some_and(|endpoint| endpoint.contains("//")) {
            self.complaints.push("an endpoint with a scheme".to_owned());
        }
    }

    fn looks_for_news(&mut self, firmware: &Value) {
        let version = firmware["version"].as_str().unwrap_or("0");
        if version.split('.').any(|part| part.parse::<u32>().is_err()) {
            self.complaints.push(format!("a firmware version {version:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    fn read(answer: &Value) -> (Result<Told, BootstrapError>, Vec<String>) {
        let mut bootstrap = Bootstrap::new("http://gateway:8003/xiaozhi/ota/").unwrap();
        let told = bootstrap.reads(&DeviceId::parse("02:00:00:00:00:01").unwrap(), answer);
        (told, bootstrap.complaints)
    }

    #[test]
    fn mqtt_counts_before_websocket_and_a_code_before_both() {
        let websocket = json!({"url": "ws://gateway:8003/xiaozhi/v1/", "token": "t", "version": 2});
        let mqtt = json!({"endpoint": "gateway:1883", "username": "02:00:00:00:00:01", "password": "p"});
        let (told, _) = read(&json!({"mqtt": mqtt, "websocket": websocket}));
        assert!(matches!(told, Ok(Told::Go(login, Path::Mqtt)) if login.port == 1_883 && login.secret == "p"));
        let (told, _) = read(&json!({"websocket": websocket}));
        assert!(matches!(told, Ok(Told::Go(_, Path::WebSocket(_, Version::Two)))));
        let (told, _) = read(&json!({"mqtt": mqtt, "activation": {"code": "123456"}}));
        assert!(matches!(told, Ok(Told::Wait(code)) if code == "123456"));
    }

    #[test]
    fn what_would_end_firmware_is_complained_of() {
        let mqtt = json!({"endpoint": "mqtt://gateway:1883", "username": "x", "password": "p", "a_name_too_long_for_flash": "x"});
        let (told, complaints) = read(&json!({"mqtt": mqtt, "firmware": {"version": "v1.2"}}));
        assert!(told.is_err());
        assert_eq!(complaints.len(), 3, "{complaints:?}");
        assert!(read(&json!({})).0.is_err());
    }
}

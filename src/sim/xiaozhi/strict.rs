//! What would trouble stock firmware: every message of the gateway is held against what a device does with it.
//!
//! A state machine of its own, after the firmware's: idle, listening, speaking. It has no socket and no clock; each
//! complaint is one line that says what came, and when.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// Speech that comes sooner after `tts start` is thrown away by a device that has not switched over.
const LEAD: Duration = Duration::from_millis(100);
/// How far speech may be ahead of what was played: what the smallest devices hold.
const AHEAD: Duration = Duration::from_millis(600);
/// Speech may stop so much before its end by the device's clock: less than half a frame is cut off.
const CUT: Duration = Duration::from_millis(30);
/// Longest text that every device takes, bytes.
const TEXT: usize = 8 << 10;
/// How long one frame lasts.
const FRAME: Duration = Duration::from_millis(60);
/// Most complaints that are kept.
const MOST: usize = 100;
/// Longest Opus packet in one datagram that a 4G modem takes.
const PACKET: usize = 680;

/// Where a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No conversation, or nothing goes on in it.
    Idle,
    /// Hello was said.
    Connecting,
    /// The microphone is on.
    Listening,
    /// Speech is played.
    Speaking,
}

/// Who ends a turn of this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The gateway.
    Auto,
    /// The device.
    Manual,
    /// The gateway; the microphone is on all the time.
    Realtime,
}

impl Mode {
    /// The word in `listen`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Auto => "auto",
            Mode::Manual => "manual",
            Mode::Realtime => "realtime",
        }
    }
}

/// A device that complains.
#[derive(Debug)]
pub struct Strict {
    state: State,
    mode: Mode,
    session: Option<String>,
    /// Datagrams carry the audio.
    datagrams: bool,
    /// It is older firmware, with things.
    things: bool,
    began: Option<Instant>,
    /// When what has come so far will have been played.
    plays_to: Option<Instant>,
    said_sentence: bool,
    aborted: bool,
    last_seq: u32,
    /// Holes in the numbers of datagrams.
    pub lost: u32,
    /// What troubled the device, and what it was doing.
    pub complaints: Vec<String>,
    /// What came too early, too late or too fast, by the clock of whoever runs this: a machine that stands still for a
    /// moment is seen here, too.
    pub timing: Vec<String>,
}

impl Strict {
    /// A device that is idle.
    pub fn new(datagrams: bool) -> Self {
        Self {
            state: State::Idle,
            mode: Mode::Auto,
            session: None,
            datagrams,
            things: false,
            began: None,
            plays_to: None,
            said_sentence: false,
            aborted: false,
            last_seq: 0,
            lost: 0,
            complaints: Vec::new(),
            timing: Vec::new(),
        }
    }

    /// It is older firmware, with things.
    pub fn has_things(&mut self) {
        self.things = true;
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// The session that the gateway named.
    pub fn session(&self) -> &str {
        self.session.as_deref().unwrap_or_default()
    }

    /// It says hello.
    pub fn says_hello(&mut self) {
        (self.state, self.session, self.last_seq) = (State::Connecting, None, 0);
    }

    /// It listens.
    pub fn listens(&mut self, mode: Mode) {
        (self.state, self.mode) = (State::Listening, mode);
    }

    /// Its button was let go (manual mode).
    pub fn stops_listening(&mut self) {
        self.state = State::Idle;
    }

    /// It wants silence: a button was pressed, or somebody speaks into what it plays.
    pub fn aborts(&mut self) {
        self.aborted = self.state == State::Speaking;
    }

    /// Speech that would still be played, at this moment.
    pub fn unplayed(&self, at: Instant) -> Duration {
        self.plays_to.map_or(Duration::ZERO, |end| end.saturating_duration_since(at))
    }

    /// It ended the conversation.
    pub fn hangs_up(&mut self) {
        (self.state, self.session) = (State::Idle, None);
    }

    fn complain(&mut self, what: impl Into<String>) {
        if self.complaints.len() < MOST {
            self.complaints.push(format!("{} ({:?})", what.into(), self.state));
        }
    }

    fn mistimed(&mut self, what: String) {
        if self.timing.len() < MOST {
            self.timing.push(what);
        }
    }

    /// A text came.
    pub fn text(&mut self, at: Instant, text: &[u8]) -> Option<Value> {
        if text.len() > TEXT {
            self.complain(format!("a text of {} bytes", text.len()));
        }
        let Ok(message) = serde_json::from_slice::<Value>(text) else {
            self.complain("a text that is no json");
            return None;
        };
        let Some(kind) = message["type"].as_str() else {
            self.complain("a text without a type");
            return None;
        };
        match kind {
            "hello" => self.hello(&message),
            "tts" => self.tts(at, &message),
            "stt" => self.needs(&message, &["text"]),
            "llm" => self.needs(&message, &["emotion"]),
            "alert" => self.needs(&message, &["status", "message", "emotion"]),
            "goodbye" => self.goodbye(&message),
            "mcp" => self.mcp(&message["payload"]),
            "system" if message["command"] == "reboot" => {}
            "iot" if self.things => self.commands(&message),
            other => self.complain(format!("a text of type {other}")),
        }
        Some(message)
    }

    /// Older firmware looks for all three in each command.
    fn commands(&mut self, message: &Value) {
        let whole = |command: &Value| {
            command["name"].is_string() && command["method"].is_string() && command["parameters"].is_object()
        };
        if !message["commands"].as_array().is_some_and(|commands| commands.iter().all(whole)) {
            self.complain("a command without name, method or parameters");
        }
    }

    fn needs(&mut self, message: &Value, fields: &[&str]) {
        for field in fields {
            if !message[*field].is_string() {
                self.complain(format!("{} without {field}", message["type"]));
            }
        }
    }

    fn hello(&mut self, message: &Value) {
        if self.state != State::Connecting {
            self.complain("hello");
        }
        let expected = if self.datagrams { "udp" } else { "websocket" };
        if message["transport"] != expected {
            self.complain(format!("hello with transport {}", message["transport"]));
        }
        let audio = &message["audio_params"];
        if audio["sample_rate"] != 24_000 || audio["frame_duration"] != 60 {
            self.complain(format!("hello with audio {audio}"));
        }
        match message["session_id"].as_str().filter(|id| !id.is_empty()) {
            Some(id) => self.session = Some(id.to_owned()),
            None => self.complain("hello without a session id"),
        }
        if self.datagrams {
            self.needs_udp(&message["udp"]);
        }
        self.state = State::Idle;
    }

    fn needs_udp(&mut self, udp: &Value) {
        let hex = |value: &Value| {
            value.as_str().is_some_and(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        if !hex(&udp["key"]) || !hex(&udp["nonce"]) || !udp["nonce"].as_str().is_some_and(|n| n.starts_with("01")) {
            self.complain("hello whose key or nonce is none");
        }
        let server = udp["server"].as_str().unwrap_or_default();
        if server.is_empty() || server == "0.0.0.0" || server.contains(':') || !udp["port"].is_u64() {
            self.complain(format!("hello with server {server:?}"));
        }
    }

    fn tts(&mut self, at: Instant, message: &Value) {
        match message["state"].as_str() {
            Some("start") => {
                if !matches!(self.state, State::Listening | State::Idle) {
                    self.complain("tts start");
                }
                (self.state, self.began, self.plays_to) = (State::Speaking, Some(at), None);
                (self.said_sentence, self.aborted) = (false, false);
            }
            Some("sentence_start") => {
                self.needs(message, &["text"]);
                self.said_sentence = true;
                if self.state != State::Speaking {
                    self.complain("sentence_start outside of speech");
                }
            }
            Some("stop") => self.tts_stop(at),
            other => self.complain(format!("tts {other:?}")),
        }
    }

    fn tts_stop(&mut self, at: Instant) {
        if self.state != State::Speaking && !self.aborted {
            self.complain("tts stop outside of speech");
        }
        if let Some(cut) = self.plays_to.and_then(|end| end.checked_duration_since(at)).filter(|cut| *cut > CUT)
            && !self.aborted
        {
            self.mistimed(format!("tts stop cuts off {} ms of speech", cut.as_millis()));
        }
        // the microphone is on again, but for a device whose button is pressed for it
        self.state = if self.mode == Mode::Manual { State::Idle } else { State::Listening };
        (self.plays_to, self.aborted) = (None, false);
    }

    fn goodbye(&mut self, message: &Value) {
        if self.session.is_some() && message["session_id"].as_str() != self.session.as_deref() {
            self.complain("goodbye of another session: it is ignored");
            return;
        }
        self.hangs_up();
    }

    fn mcp(&mut self, payload: &Value) {
        if payload["jsonrpc"] != "2.0" {
            self.complain("mcp without jsonrpc 2.0");
        }
        let notification = payload["method"].as_str().is_some_and(|method| method.starts_with("notifications"));
        if !notification && payload["id"].as_i64().is_none_or(|id| i32::try_from(id).is_err()) {
            self.complain(format!("mcp with id {}", payload["id"]));
        }
        if !matches!(payload["method"].as_str(), Some("initialize" | "tools/list" | "tools/call")) && !notification {
            self.complain(format!("mcp method {}", payload["method"]));
        }
    }

    /// A frame of speech came; datagrams have a number. False: the device does not play it.
    pub fn audio(&mut self, at: Instant, seq: Option<u32>, packet: &[u8]) -> bool {
        if let Some(seq) = seq {
            if seq <= self.last_seq {
                self.complain(format!("datagram {seq} after {}", self.last_seq));
                return false;
            }
            self.lost += seq - self.last_seq - 1;
            self.last_seq = seq;
        }
        if packet.is_empty() || packet.len() > PACKET {
            self.complain(format!("a packet of {} bytes", packet.len()));
        }
        if self.state != State::Speaking {
            // after an abort it may have been on its way; else it is lost
            if !self.aborted {
                self.complain("a frame outside of speech");
            }
            return false;
        }
        if let Some(early) =
            self.began.filter(|_| self.plays_to.is_none()).map(|began| at - began).filter(|e| *e < LEAD)
        {
            self.mistimed(format!("a frame {} ms after tts start", early.as_millis()));
        }
        if !std::mem::replace(&mut self.said_sentence, true) {
            self.complain("speech before its sentence");
        }
        let from = self.plays_to.filter(|end| *end > at).unwrap_or(at);
        self.plays_to = Some(from + FRAME);
        let ahead = from + FRAME - at;
        if ahead > AHEAD {
            self.mistimed(format!("speech is {} ms ahead", ahead.as_millis()));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value, reason = "what is written in place reads better by value")]

    use serde_json::json;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn said(strict: &mut Strict, at: Instant, message: Value) {
        strict.text(at, message.to_string().as_bytes());
    }

    fn udp() -> Value {
        json!({"type": "hello", "transport": "udp", "session_id": "s", "audio_params": {"sample_rate": 24000, "frame_duration": 60},
            "udp": {"server": "192.0.2.1", "port": 8884, "key": "ab".repeat(16), "nonce": format!("01{}", "0".repeat(30))}})
    }

    /// A device in a conversation, listening.
    fn listening() -> (Strict, Instant) {
        let (mut strict, now) = (Strict::new(true), Instant::now());
        strict.says_hello();
        said(&mut strict, now, udp());
        strict.listens(Mode::Auto);
        (strict, now)
    }

    #[test]
    fn a_gateway_that_does_everything_right_is_not_complained_of() {
        let (mut strict, now) = listening();
        said(&mut strict, now, json!({"type": "stt", "text": "hi"}));
        said(&mut strict, now, json!({"type": "tts", "state": "start"}));
        said(&mut strict, now, json!({"type": "llm", "emotion": "happy", "text": ""}));
        said(&mut strict, now, json!({"type": "tts", "state": "sentence_start", "text": "Hello."}));
        let first = now + ms(150);
        for n in 0..10 {
            let at = first + ms(60) * u32::saturating_sub(n, 4);
            assert!(strict.audio(at, Some(n + 1), &[1, 2, 3]));
        }
        said(&mut strict, first + ms(600), json!({"type": "tts", "state": "stop"}));
        assert_eq!((strict.state(), &strict.complaints[..]), (State::Listening, &[][..]));
        assert_eq!(strict.timing, [""; 0]);
        said(&mut strict, first, json!({"type": "goodbye", "session_id": "s"}));
        assert_eq!((strict.state(), strict.complaints.len()), (State::Idle, 0));
    }

    #[test]
    fn what_troubles_firmware_is_complained_of() {
        let complaint = |act: &dyn Fn(&mut Strict, Instant)| {
            let (mut strict, now) = listening();
            act(&mut strict, now);
            [strict.complaints, strict.timing].concat().join("; ")
        };
        let speaking = |strict: &mut Strict, now| {
            said(strict, now, json!({"type": "tts", "state": "start"}));
            said(strict, now, json!({"type": "tts", "state": "sentence_start", "text": "x"}));
        };
        let has = |act: &dyn Fn(&mut Strict, Instant), what: &str| {
            let found = complaint(act);
            assert!(found.contains(what), "{what}: {found}");
        };
        has(&|s, now| assert!(!s.audio(now, Some(1), &[1])), "outside of speech");
        has(&|s, now| drop(s.text(now, b"{}")), "without a type");
        has(&|s, now| drop(s.text(now, b"nonsense")), "no json");
        has(&|s, now| said(s, now, json!({"type": "alert", "status": "x"})), "without message");
        has(&|s, now| said(s, now, json!({"type": "goodbye", "session_id": "other"})), "another session");
        has(
            &|s, now| {
                said(s, now, json!({"type": "mcp", "payload": {"jsonrpc": "2.0", "id": "1", "method": "initialize"}}));
            },
            "id",
        );
        has(
            &|s, now| {
                speaking(s, now);
                s.audio(now + ms(20), Some(1), &[1]);
            },
            "20 ms after tts start",
        );
        has(
            &|s, now| {
                speaking(s, now);
                s.audio(now + ms(200), Some(1), &[1]);
                s.audio(now + ms(200), Some(1), &[1]);
            },
            "datagram 1 after 1",
        );
        has(
            &|s, now| {
                speaking(s, now);
                for n in 1..20 {
                    s.audio(now + ms(200), Some(n), &[1]);
                }
            },
            "ms ahead",
        );
        has(
            &|s, now| {
                speaking(s, now);
                for n in 1..5 {
                    s.audio(now + ms(200), Some(n), &[1]);
                }
                said(s, now + ms(250), json!({"type": "tts", "state": "stop"}));
            },
            "cuts off 190 ms",
        );
        let mut strict = Strict::new(true);
        strict.says_hello();
        let mut hello = udp();
        hello["udp"]["nonce"] = "00".repeat(16).into();
        hello["udp"]["server"] = "0.0.0.0".into();
        said(&mut strict, Instant::now(), hello);
        assert_eq!(strict.complaints.len(), 2, "{:?}", strict.complaints);
    }
}

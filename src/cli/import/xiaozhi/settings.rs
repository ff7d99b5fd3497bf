//! The piece of `voxgate.toml` that does what that server's settings did, and what no setting does.

use std::path::Path;

use toml::{Table, Value};

use super::database::main_agent;
use super::keys::Key;
use super::old::{Old, Part};
use super::services::{self, Service};

/// Something that people should know; one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub what: String,
    pub then: String,
}

/// What goes into `voxgate.toml`, and beside it.
#[derive(Default)]
pub(super) struct Settings {
    pub piece: Table,
    pub keys: Vec<Key>,
    pub notes: Vec<Note>,
    /// The service that speaks, when it is one of those that go on: voices are in its words.
    pub speaks: Option<String>,
}

impl Settings {
    /// Of all that was read. Keys would go to files in `folder`.
    pub fn of(old: &Old, folder: Option<&Path>) -> Self {
        let mut settings = Self::default();
        settings.conversation(old);
        settings.persona(old);
        for part in [Part::Hear, Part::Think, Part::Speak, Part::See] {
            settings.service(old, part, folder);
        }
        settings.pause(old);
        settings.absent(old);
        settings
    }

    fn set(&mut self, path: &str, value: impl Into<Value>) {
        let (tables, key) = path.rsplit_once('.').unwrap_or(("", path));
        let mut table = &mut self.piece;
        for name in tables.split('.').filter(|name| !name.is_empty()) {
            let inner = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => table = inner,
                // a key is never a table's name too
                _ => return,
            }
        }
        table.insert(key.to_owned(), value.into());
    }

    fn note(&mut self, what: impl Into<String>, then: impl Into<String>) {
        self.notes.push(Note { what: what.into(), then: then.into() });
    }

    fn conversation(&mut self, old: &Old) {
        if let Some(seconds) = old.number("close_connection_no_voice_time").filter(|n| (1..=86_400).contains(n)) {
            self.set("session.xiaozhi.idle", format!("{seconds}s"));
        }
        if let Some(seconds) = old.number("tool_call_timeout").filter(|n| (1..=600).contains(n)) {
            self.set("session.xiaozhi.tool_timeout", format!("{seconds}s"));
        }
        for (theirs, ours) in [("wakeup_words", "wake_words"), ("exit_commands", "exit_words")] {
            let words = old.list(theirs);
            if !words.is_empty() {
                self.set(&format!("session.xiaozhi.{ours}"), words);
            }
        }
        match old.switch("enable_greeting") {
            Some(false) => self.set("session.xiaozhi.greeting", ""),
            Some(true) => self.note("enable_greeting", "the greeting is a sentence here: session.xiaozhi.greeting"),
            None => {}
        }
        match old.switch("end_prompt.enable") {
            Some(false) => self.set("session.xiaozhi.farewell", ""),
            _ if old.text("end_prompt.prompt").is_some() => {
                self.note("end_prompt", "the farewell is a sentence here: session.xiaozhi.farewell");
            }
            _ => {}
        }
        if let Some(sentence) = old.text("system_error_response") {
            self.set("voice.reply.apology", sentence);
        }
        if let Some(zone) = old.number("server.timezone_offset").and_then(zone) {
            self.set("devices.timezone", zone);
        }
    }

    /// Who answers where no device says otherwise.
    fn persona(&mut self, old: &Old) {
        let main = main_agent(old).and_then(|id| old.agents.get(&id));
        let prompt = main.and_then(|agent| agent.prompt.clone()).or_else(|| old.text("prompt"));
        if let Some(prompt) = prompt {
            self.set("voice.reply.system_prompt", prompt);
        }
        if let Some(language) = main.and_then(|agent| agent.language.as_deref()) {
            match tag(language) {
                Some(tag) => self.set("voice.reply.language", tag),
                None => self.note(format!("language {language}"), "is no tag: write voice.reply.language yourself"),
            }
        }
    }

    fn service(&mut self, old: &Old, part: Part, folder: Option<&Path>) {
        let Some(id) = old.chosen.get(&part) else { return };
        let Some(model) = old.models.get(id) else {
            let then = "the file does not say what it is; write the service into voxgate.toml, or give the server's \
                        config.yaml too: --yaml config.yaml --yaml data/.config.yaml";
            return self.note(format!("{} {id}", part.name()), then);
        };
        let what = format!("{} {} ({})", part.name(), model.name, model.kind());
        if model.kind().is_empty() {
            let then = "its type stands elsewhere; give the server's config.yaml too: --yaml config.yaml --yaml \
                        data/.config.yaml";
            return self.note(format!("{} {}", part.name(), model.name), then);
        }
        match services::map(model) {
            Service::Left(instead) => self.note(what, instead),
            Service::Taken(taken) => {
                let table = taken.table;
                self.set(&format!("{table}.type"), taken.kind);
                for (key, value) in [("url", taken.url), ("model", taken.model), ("voice", taken.voice)] {
                    if let Some(value) = value {
                        self.set(&format!("{table}.{key}"), value);
                    }
                }
                if part == Part::Speak {
                    self.speaks = Some(id.clone());
                }
                let then = match (taken.key, folder) {
                    (None, _) if taken.kind == "edge" => {
                        format!("becomes [{table}]; nobody promises this service: docs/providers.md says more")
                    }
                    (None, _) => format!("becomes [{table}], without a key"),
                    (Some(_), None) => format!("becomes [{table}]; its key goes to a file with --keys FOLDER"),
                    (Some(secret), Some(folder)) => {
                        let file = folder.join(format!("{}.key", table.rsplit('.').next().unwrap_or(table)));
                        self.set(&format!("{table}.api_key_file"), file.display().to_string());
                        let then = format!("becomes [{table}], its key {}", file.display());
                        self.keys.push(Key { file, secret });
                        then
                    }
                };
                self.note(what, then);
            }
        }
    }

    /// Silence that ends a turn, where somebody changed it.
    fn pause(&mut self, old: &Old) {
        let model = old.chosen.get(&Part::Pause).and_then(|id| old.models.get(id));
        let silence = model.and_then(|model| model.text(&["min_silence_duration_ms"])).and_then(|ms| ms.parse().ok());
        if let Some(ms) = silence.filter(|ms: &u32| (300..=5_000).contains(ms)) {
            self.set("voice.endpoint.silence", format!("{ms}ms"));
        }
    }

    /// What that server did and no setting does here.
    fn absent(&mut self, old: &Old) {
        for table in &old.missing {
            self.note(format!("table {table}"), "is not in the dump: what stands there is not taken");
        }
        let remembers = old.chosen.get(&Part::Remember).and_then(|id| old.models.get(id));
        if let Some(model) = remembers.filter(|model| !matches!(model.kind().as_str(), "nomem" | "")) {
            let then = "what it knew is put behind the instructions of the devices; nothing is added to it here";
            self.note(format!("Memory {}", model.name), then);
        }
        for (keys, then) in [
            (
                &["manager-api.url"][..],
                "this server has its settings from its console: give a dump of that database (--dump)",
            ),
            (&["plugins"], "are not taken: the chat model is told of the boards' own tools only"),
            (&["server.mqtt_gateway"], "is built in here: boards are told MQTT (1883) and datagrams (8884) themselves"),
            (&["mcp_endpoint", "server.mcp_endpoint"], "nothing here connects to it"),
            (&["voiceprint.url", "server.voice_print"], "nobody is told from another by the voice here"),
            (&["context_providers"], "nothing here asks them"),
        ] {
            if let Some(key) = keys.iter().find(|key| says_something(old, key)) {
                self.note(*key, then);
            }
        }
        if old.number("device_max_output_size").is_some_and(|most| most > 0) {
            self.note("device_max_output_size", "there is no daily limit of a device here");
        }
    }
}

fn says_something(old: &Old, key: &str) -> bool {
    match old.parameters.get(key) {
        Some(serde_json::Value::Object(all)) => !all.is_empty(),
        // what stands in the place of an address in examples is none
        _ => old.text(key).is_some_and(|text| text.is_ascii() && !text.eq_ignore_ascii_case("none")),
    }
}

/// Whole hours from UTC as a zone. POSIX has the sign the other way round.
fn zone(hours: i64) -> Option<String> {
    match hours {
        8 => Some("Asia/Shanghai".to_owned()),
        0 => Some("UTC".to_owned()),
        -12..=14 => Some(format!("Etc/GMT{:+}", -hours)),
        _ => None,
    }
}

/// A tag of BCP 47; the console has `zh_CN`, and names in Chinese.
pub(super) fn tag(text: &str) -> Option<String> {
    let known = [
        ("中文", "zh"),
        ("普通话", "zh"),
        ("英文", "en"),
        ("英语", "en"),
        ("日语", "ja"),
        ("韩语", "ko"),
        ("粤语", "yue"),
    ];
    if let Some((_, tag)) = known.iter().find(|(name, _)| text.starts_with(name)) {
        return Some((*tag).to_owned());
    }
    let tag = text.replace('_', "-");
    let fits = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let first = tag.split('-').next().is_some_and(|first| (2..=3).contains(&first.len()));
    (first && tag.len() <= 35 && tag.split('-').all(fits)).then_some(tag)
}

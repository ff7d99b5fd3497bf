//! Services of that server: those that have a type here go on, the others are named with what to do instead.

use super::old::{Model, Part};
use crate::provider::edge;

/// What becomes of a service.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// It goes on.
    Taken(Taken),
    /// It does not, for this reason; and what to do.
    Left(String),
}

/// A service in the words of `[providers.…]`. No Debug of the key.
#[derive(PartialEq, Eq)]
pub(super) struct Taken {
    /// `providers.chat`, …
    pub table: &'static str,
    /// `openai`, …
    pub kind: &'static str,
    /// None where the service is always at the same place.
    pub url: Option<String>,
    pub model: Option<String>,
    pub voice: Option<String>,
    pub key: Option<String>,
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taken").field("table", &self.table).field("url", &self.url).finish_non_exhaustive()
    }
}

/// What becomes of it here.
pub(super) fn map(model: &Model) -> Service {
    let kind = model.kind();
    let url = model.text(&["base_url", "url", "api_url"]);
    let (table, end) = match model.part {
        Part::Hear => ("providers.stt", "/audio/transcriptions"),
        Part::Think => ("providers.chat", "/chat/completions"),
        Part::Speak => ("providers.tts", "/audio/speech"),
        Part::See => ("vision", "/chat/completions"),
        Part::Pause | Part::Remember => return Service::Left("nothing is needed in its place".to_owned()),
    };
    match (model.part, kind.as_str()) {
        (Part::Think, "gemini") => return gemini(model, table),
        (Part::Speak, "edge") => return edges(model, table),
        _ => {}
    }
    let versioned = matches!((model.part, kind.as_str()), (Part::Think, "ollama" | "xinference"));
    let Some(url) = url.filter(|_| kind == "openai" || versioned) else {
        return Service::Left(instead(model.part, &kind).to_owned());
    };
    let url = url.trim_end_matches('/');
    let mut url = url.strip_suffix(end).unwrap_or(url).to_owned();
    if versioned && !url.ends_with("/v1") {
        url.push_str("/v1");
    }
    if let Err(why) = plain(&url) {
        return Service::Left(why.to_owned());
    }
    Service::Taken(Taken {
        table,
        kind: "openai",
        url: Some(url),
        model: model.text(&["model_name", "model"]),
        voice: model.text(&["voice", "private_voice"]).filter(|_| model.part == Part::Speak),
        key: model.text(&["api_key"]).filter(|key| is_key(key)),
    })
}

/// Google's own form; the service has no model of its own.
fn gemini(model: &Model, table: &'static str) -> Service {
    let Some(name) = model.text(&["model_name", "model"]) else {
        return Service::Left("it names no model: type = \"gemini\", model = \"…\" in [providers.chat]".to_owned());
    };
    let key = model.text(&["api_key"]).filter(|key| is_key(key));
    Service::Taken(Taken { table, kind: "gemini", url: None, model: Some(name), voice: None, key })
}

/// The voices of Edge, by their names.
fn edges(model: &Model, table: &'static str) -> Service {
    match model.text(&["voice", "private_voice"]).filter(|voice| edge::is_voice(voice)) {
        Some(voice) => {
            Service::Taken(Taken { table, kind: "edge", url: None, model: None, voice: Some(voice), key: None })
        }
        None => Service::Left("it names no voice: type = \"edge\", voice = \"…\" in [providers.tts]".to_owned()),
    }
}

/// An address that may be shown: secrets stand in what comes before an `@` and after a `?`.
fn plain(url: &str) -> Result<(), &'static str> {
    if !(url.starts_with("http://") || url.starts_with("https://")) || url.contains(char::is_whitespace) {
        return Err("its address is no web address; write the service into voxgate.toml by hand");
    }
    if url.contains(['@', '?', '#']) {
        return Err("its address has a user name or a query, which no service has here; write it by hand");
    }
    Ok(())
}

/// A key, and none of the words that stand in its place in examples.
fn is_key(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    // a key is random, and may have three letters of any word in it
    let placeholder = ["your", "xxxx"].iter().any(|word| lower.contains(word))
        || lower.ends_with("xxx")
        || matches!(lower.as_str(), "none" | "empty");
    text.bytes().all(|byte| byte.is_ascii_graphic()) && !placeholder
}

/// What to do instead.
fn instead(part: Part, kind: &str) -> &'static str {
    match (part, kind) {
        (Part::Think, "dify" | "coze" | "AliBL" | "fastgpt" | "homeassistant") => {
            "a bot on somebody's platform: name the model behind it, or a gateway to it in OpenAI's form, in \
             [providers.chat], and put the bot's instructions into voice.reply.system_prompt"
        }
        (Part::Hear, "fun_local" | "sherpa_onnx_local" | "vosk") => {
            "a local model: leave [providers.stt] out and use the one here (voxgate models pull), or serve yours in \
             OpenAI's form or as Wyoming"
        }
        (Part::Speak, "siliconflow") => {
            "it has OpenAI's form too: type = \"openai\", url = \"https://api.siliconflow.cn/v1\", with your model and \
             voice"
        }
        (Part::Speak, "custom") => {
            "when its address ends with /v1/audio/speech it has OpenAI's form: type = \"openai\", and the address up to \
             /v1"
        }
        (Part::Hear, _) => "not in OpenAI's form: name a service that is, or a Wyoming one, in [providers.stt]",
        (Part::Speak, _) => "not in OpenAI's form: name a service that is, or a Wyoming one, in [providers.tts]",
        (Part::See, _) => "not in OpenAI's form: name a service that is in [vision]",
        _ => "not in OpenAI's form: name a service that is in [providers.chat]",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use serde_json::{Value, json};

    use super::*;

    fn of(part: Part, config: Value) -> Service {
        let Value::Object(config) = config else { panic!("no object") };
        map(&Model { part, name: "m".into(), config })
    }

    fn taken(part: Part, config: Value) -> Taken {
        match of(part, config) {
            Service::Taken(taken) => taken,
            Service::Left(why) => panic!("{why}"),
        }
    }

    #[test]
    fn what_speaks_openais_form_goes_on_with_the_address_up_to_its_path() {
        let chat = taken(
            Part::Think,
            json!({"type": "openai", "url": "https://x.test/v4/", "model_name": "m", "api_key": "k"}),
        );
        assert_eq!(
            (chat.table, chat.kind, chat.url.as_deref(), chat.key.as_deref()),
            ("providers.chat", "openai", Some("https://x.test/v4"), Some("k"))
        );
        let hear = json!({"type": "openai", "base_url": "https://x.test/v1/audio/transcriptions", "model_name": "w"});
        assert_eq!(taken(Part::Hear, hear).url.as_deref(), Some("https://x.test/v1"));
        let speak = json!({"type": "openai", "api_url": "http://x:8880/v1/audio/speech", "model": "t", "voice": 7});
        let speak = taken(Part::Speak, speak);
        assert_eq!((speak.url.as_deref(), speak.voice.as_deref()), (Some("http://x:8880/v1"), Some("7")));
        let ollama = taken(Part::Think, json!({"type": "ollama", "base_url": "http://h:11434"}));
        assert_eq!(ollama.url.as_deref(), Some("http://h:11434/v1"));
        assert_eq!(taken(Part::See, json!({"type": "openai", "base_url": "http://h/v1"})).table, "vision");
    }

    #[test]
    fn services_with_a_type_of_their_own_go_on_without_an_address() {
        let chat = taken(Part::Think, json!({"type": "gemini", "model_name": "gemini-2.5-flash", "api_key": "k"}));
        let is = (chat.kind, chat.url, chat.model.as_deref(), chat.key.as_deref());
        assert_eq!(is, ("gemini", None, Some("gemini-2.5-flash"), Some("k")));
        let speak = taken(Part::Speak, json!({"type": "edge", "voice": "zh-CN-XiaoxiaoNeural", "output_dir": "tmp/"}));
        let is = (speak.table, speak.kind, speak.url, speak.voice.as_deref(), speak.key);
        assert_eq!(is, ("providers.tts", "edge", None, Some("zh-CN-XiaoxiaoNeural"), None));
    }

    #[test]
    fn words_in_the_place_of_a_key_are_none() {
        for word in ["你的 key", "your-key", "sk-xxxx", "none", ""] {
            let chat = json!({"type": "openai", "url": "http://h/v1", "api_key": word});
            assert_eq!(taken(Part::Think, chat).key, None, "{word}");
        }
    }

    #[test]
    fn everything_else_is_left_with_what_to_do_and_no_address_with_a_secret_is_shown() {
        for (part, config) in [
            (Part::Think, json!({"type": "gemini", "api_key": "k"})),
            (Part::Think, json!({"type": "openai"})),
            (Part::Think, json!({})),
            (Part::Think, json!({"type": "openai", "url": "https://u:secret@h/v1"})),
            (Part::Think, json!({"type": "openai", "url": "https://h/v1?key=secret"})),
            (Part::Think, json!({"type": "openai", "url": "h/v1"})),
            (Part::Hear, json!({"type": "fun_local"})),
            (Part::Speak, json!({"type": "edge", "voice": "x"})),
            (Part::See, json!({"type": "else", "url": "http://h"})),
        ] {
            match of(part, config) {
                Service::Left(why) => assert!(!why.is_empty() && !why.contains("secret"), "{why}"),
                Service::Taken(taken) => panic!("{taken:?}"),
            }
        }
    }
}

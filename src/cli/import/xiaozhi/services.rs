//! Services of that server: those that have a type here go on, the others are named with what to do instead.

use super::old::{Model, Part};
use crate::provider::{anthropic, deepgram, edge, elevenlabs, gemini};

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
    if let Some(own) = own_kind(model.part, &kind, url.as_deref()) {
        return native(model, own, table, url.as_deref());
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

/// The type here of a service that is asked in a form of its own: by that server's type, or by where it is, since those that
/// have OpenAI's form beside their own give less in it.
fn own_kind(part: Part, kind: &str, url: Option<&str>) -> Option<&'static str> {
    let is_at = |own: &str| kind == "openai" && url.and_then(host) == host(own);
    match (part, kind) {
        (Part::Think | Part::See, "gemini") => Some("gemini"),
        (Part::Think | Part::See, _) if is_at(gemini::URL) => Some("gemini"),
        (Part::Think | Part::See, "anthropic" | "claude") => Some("anthropic"),
        (Part::Think | Part::See, _) if is_at(anthropic::URL) => Some("anthropic"),
        (Part::Hear, "deepgram") => Some("deepgram"),
        (Part::Speak, "elevenlabs" | "elevenlabs_sdk") => Some("elevenlabs"),
        (Part::Speak, "edge") => Some("edge"),
        _ => None,
    }
}

/// The host of a web address, with its port.
fn host(url: &str) -> Option<&str> {
    url.strip_prefix("https://")?.split('/').next()
}

/// A service in a form of its own; where it always is, no address is needed.
fn native(model: &Model, kind: &'static str, table: &'static str, url: Option<&str>) -> Service {
    let at = match kind {
        "gemini" => gemini::URL,
        "anthropic" => anthropic::URL,
        "deepgram" => deepgram::URL,
        "elevenlabs" => elevenlabs::URL,
        _ => edge::URL,
    };
    if url.is_some_and(|url| host(url) != host(at)) {
        let what = "it is reached at an address of its own, whose form nobody knows here";
        return Service::Left(format!("{what}: type = \"{kind}\", url = \"…\" in [{table}]"));
    }
    let name = match kind {
        "edge" => None,
        _ => model.text(&["model_name", "model_id", "model"]).filter(|name| is_model(name)),
    };
    if name.is_none() && matches!(kind, "gemini" | "anthropic") {
        return Service::Left(format!("it names no model: type = \"{kind}\", model = \"…\" in [{table}]"));
    }
    let (voices, is_voice): (&[&str], fn(&str) -> bool) = match kind {
        "elevenlabs" => (&["voice_id", "voice", "private_voice"], elevenlabs::is_voice),
        "edge" => (&["voice", "private_voice"], edge::is_voice),
        _ => (&[], |_| false),
    };
    let voice = model.text(voices).filter(|voice| is_voice(voice));
    if voice.is_none() && !voices.is_empty() {
        return Service::Left(format!("it names no voice: type = \"{kind}\", voice = \"…\" in [{table}]"));
    }
    let key = model.text(&["api_key"]).filter(|key| kind != "edge" && is_key(key));
    Service::Taken(Taken { table, kind, url: None, model: name, voice, key })
}

/// A model's name, as services have them; Gemini's stands in an address.
fn is_model(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    name.bytes().all(plain) && !name.contains("..")
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
        let chat = taken(Part::Think, json!({"type": "claude", "model_name": "claude-haiku-4-5", "api_key": "k"}));
        let is = (chat.table, chat.kind, chat.url, chat.model.as_deref(), chat.key.as_deref());
        assert_eq!(is, ("providers.chat", "anthropic", None, Some("claude-haiku-4-5"), Some("k")));
        let hear = taken(Part::Hear, json!({"type": "deepgram", "model": "nova-3", "api_key": "k", "language": "en"}));
        let is = (hear.table, hear.kind, hear.url, hear.model.as_deref(), hear.key.as_deref());
        assert_eq!(is, ("providers.stt", "deepgram", None, Some("nova-3"), Some("k")));
        let speak = json!({"type": "elevenlabs", "voice_id": "21m00Tcm4TlvDq8ikWAM", "model_id": "eleven_flash_v2_5"});
        let speak = taken(Part::Speak, speak);
        let is = (speak.table, speak.kind, speak.voice.as_deref(), speak.model.as_deref(), speak.key);
        assert_eq!(is, ("providers.tts", "elevenlabs", Some("21m00Tcm4TlvDq8ikWAM"), Some("eleven_flash_v2_5"), None));
        let speak = taken(Part::Speak, json!({"type": "edge", "voice": "zh-CN-XiaoxiaoNeural", "output_dir": "tmp/"}));
        let is = (speak.table, speak.kind, speak.url, speak.voice.as_deref(), speak.key);
        assert_eq!(is, ("providers.tts", "edge", None, Some("zh-CN-XiaoxiaoNeural"), None));
    }

    #[test]
    fn who_has_openais_form_beside_a_better_one_is_asked_in_the_better_one() {
        for (url, kind) in [
            ("https://generativelanguage.googleapis.com/v1beta/openai/", "gemini"),
            ("https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", "gemini"),
            ("https://api.anthropic.com/v1/", "anthropic"),
        ] {
            for (part, table) in [(Part::Think, "providers.chat"), (Part::See, "vision")] {
                let model =
                    taken(part, json!({"type": "openai", "base_url": url, "model_name": "m-1", "api_key": "k"}));
                let is = (model.table, model.kind, model.url, model.model.as_deref(), model.key.as_deref());
                assert_eq!(is, (table, kind, None, Some("m-1"), Some("k")), "{url}");
            }
        }
        let other = json!({"type": "openai", "base_url": "https://api.anthropic.com.example/v1", "model_name": "m"});
        assert_eq!(taken(Part::Think, other).kind, "openai");
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
            (Part::Speak, json!({"type": "elevenlabs", "api_key": "secret"})),
            (Part::Speak, json!({"type": "elevenlabs", "voice_id": "../secret"})),
            (Part::Speak, json!({"type": "deepgram", "api_key": "secret"})),
            (Part::Think, json!({"type": "anthropic", "api_key": "secret"})),
            (Part::Think, json!({"type": "anthropic", "model_name": "m", "base_url": "https://u:secret@h/v1"})),
            (Part::Think, json!({"type": "gemini", "model_name": "m?key=secret"})),
            (Part::See, json!({"type": "else", "url": "http://h"})),
        ] {
            match of(part, config) {
                Service::Left(why) => assert!(!why.is_empty() && !why.contains("secret"), "{why}"),
                Service::Taken(taken) => panic!("{taken:?}"),
            }
        }
    }
}

//! `[engine]`: which local engines run, and where they are reached.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::{Problem, Span};

/// Who starts the engine process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The gateway starts it as a child, restarts it, and takes it along when it ends.
    #[default]
    Spawn,
    /// Somebody else does (the systemd unit); the gateway looks whether it is there.
    External,
    /// Nobody: everything comes from configured services.
    Off,
}

/// The local engines (`[engine]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// "spawn": the gateway starts the engine process; "external": somebody else does; "off": there is none.
    /// Default "spawn".
    pub start: Start,
    /// Address of the Wyoming listener (speech to text, text to speech). Default "127.0.0.1:10300".
    pub listen_wyoming: SocketAddr,
    /// A Unix socket that speaks Wyoming too. Default none.
    pub wyoming_socket: Option<PathBuf>,
    /// Address of the OpenAI-compatible listener (chat, embeddings) and of /health. Default "127.0.0.1:10380".
    pub listen_http: SocketAddr,
    /// The folder that `voxgate models pull` fills. Default: $VOXGATE_MODELS, else the user's data folder, else
    /// /var/lib/voxgate/models.
    pub models_dir: Option<PathBuf>,
    /// Cores that all engines together may use. 0 is all of the machine. Default 0.
    pub threads: usize,
    /// Cores that one transcription or answer may use while nobody else waits for them: with two it takes little more than half as
    /// long. 1 to 16. Default 2.
    pub threads_per_call: usize,
    /// Niceness of the engine process, 0 to 19: the higher, the more everything else goes first, above all the gateway's doors; one
    /// that it was started with is never lowered. Default 5.
    pub nice: u8,
    /// Calls that may wait in front of each engine; more are refused as busy. Default 32.
    pub queue: usize,
    /// Speech to text: folder of a GGML Whisper model or of a SenseVoice or Paraformer network (ONNX with tokens.txt, as
    /// sherpa-onnx exports them), or "off". Default "whisper-tiny.en-q8_0".
    pub stt: String,
    /// Chat: folder of a GGUF model of the Llama or Qwen 2 architecture with byte-level BPE and the chat template of Qwen, SmolLM2
    /// or Llama 3, or "off". Default "smollm2-135m-instruct-q8_0".
    pub chat: String,
    /// Shows the small chat model two worked examples before each conversation; without them it rambles.
    /// Default true.
    pub chat_examples: bool,
    /// The instructions that conversations start with: the chat model reads them ahead, while it loads.
    /// Default: `voice.reply.system_prompt`.
    pub instructions: Option<String>,
    /// Tokens of past conversations kept in memory, each once with its last answer and once without, so that a next turn is
    /// not read again from its start; 46 KB each with the default model. Default 2048.
    pub chat_cache: usize,
    /// Tokens of a conversation that are read before an answer begins, at most: where more are not remembered, the oldest
    /// turns are left out. A core reads about 190 a second of the default model. Default 128.
    pub chat_read: usize,
    /// Text to speech: "hibari", the folder of one of Piper's voices (most of them read with the program espeak-ng, which must
    /// be installed), "espeak-ng" (the program's own voice), or "off". Default "hibari".
    pub voice: String,
    /// The speaker of a Piper voice that has several: a name or number of its description. Default: the first.
    pub speaker: Option<String>,
    /// Embeddings: folder of a BERT model (`voxgate models pull minilm-l6-v2`), loaded at the first request, or "off".
    /// Default "off": nothing in the gateway asks for them yet.
    pub embed: String,
    /// The embedding model leaves memory after so long without a request. Default "10m".
    pub embed_idle: Span,
    /// The longest utterance that is transcribed; a longer one is refused. Default "120s".
    pub max_utterance: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start: Start::Spawn,
            listen_wyoming: SocketAddr::from(([127, 0, 0, 1], 10300)),
            wyoming_socket: None,
            listen_http: SocketAddr::from(([127, 0, 0, 1], 10380)),
            models_dir: None,
            threads: 0,
            threads_per_call: 2,
            nice: 5,
            queue: 32,
            stt: "whisper-tiny.en-q8_0".into(),
            chat: "smollm2-135m-instruct-q8_0".into(),
            chat_examples: true,
            instructions: None,
            chat_cache: 2_048,
            chat_read: 128,
            voice: "hibari".into(),
            speaker: None,
            embed: "off".into(),
            embed_idle: Span::secs(600),
            max_utterance: Span::secs(120),
        }
    }
}

impl Settings {
    /// All that is wrong with it.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, addr) in [("listen_wyoming", self.listen_wyoming), ("listen_http", self.listen_http)] {
            if !addr.ip().is_loopback() {
                problems.push(Problem::new(
                    format!("{path}.{key}"),
                    format!("{addr} is not a loopback address, and the engine asks nobody who they are"),
                    "listen on 127.0.0.1 or [::1]",
                ));
            }
        }
        if self.listen_wyoming == self.listen_http && self.listen_http.port() != 0 {
            problems.push(Problem::new(
                format!("{path}.listen_http"),
                "the same address as listen_wyoming",
                "give each its own port",
            ));
        }
        if self.queue == 0 {
            problems.push(Problem::new(format!("{path}.queue"), "nothing may wait", "write 1 or more"));
        }
        if self.nice > 19 {
            problems.push(Problem::new(format!("{path}.nice"), "more than 19", "write 0 to 19, such as 5"));
        }
        if !(1..=16).contains(&self.threads_per_call) {
            let mend = "write 1 to 16, such as 2";
            problems.push(Problem::new(format!("{path}.threads_per_call"), "outside 1 to 16", mend));
        }
        if self.chat_read == 0 {
            let mend = "write how many tokens may be waited for, such as 128";
            problems.push(Problem::new(format!("{path}.chat_read"), "nothing may be read", mend));
        }
        let names = [("stt", &self.stt), ("chat", &self.chat), ("voice", &self.voice), ("embed", &self.embed)];
        for (key, name) in names {
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                problems.push(Problem::new(
                    format!("{path}.{key}"),
                    format!("{name:?} is no folder below models_dir"),
                    "write the folder's name, or \"off\"",
                ));
            }
        }
        problems
    }

    /// The folder of the models.
    pub fn models_dir(&self) -> PathBuf {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let below_data = || {
            let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")))?;
            Some(data.join("voxgate/models")).filter(|dir| dir.is_dir())
        };
        self.models_dir
            .clone()
            .or_else(|| set("VOXGATE_MODELS"))
            .or_else(below_data)
            .unwrap_or_else(|| PathBuf::from("/var/lib/voxgate/models"))
    }

    /// Who speaks: the same name says a sentence the same way.
    pub fn speaker_of_voice(&self) -> String {
        let speaker = self.speaker.as_ref().map(|speaker| format!("/{speaker}"));
        format!("{}{}", self.voice, speaker.unwrap_or_default())
    }

    /// How many cores the engines share.
    pub fn cores(&self) -> usize {
        let machine = std::thread::available_parallelism().map_or(1, usize::from);
        if self.threads == 0 { machine } else { self.threads.min(machine) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_at_once() {
        let settings = Settings {
            listen_wyoming: SocketAddr::from(([0, 0, 0, 0], 10300)),
            queue: 0,
            threads_per_call: 0,
            stt: "../x".into(),
            ..Settings::default()
        };
        let keys: Vec<_> = settings.check("engine").into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["engine.listen_wyoming", "engine.queue", "engine.threads_per_call", "engine.stt"]);
        assert!(Settings::default().check("engine").is_empty());
    }

    #[test]
    fn another_speaker_is_another_voice_to_a_cache() {
        let of = |speaker: Option<&str>| {
            Settings { speaker: speaker.map(str::to_owned), ..Settings::default() }.speaker_of_voice()
        };
        assert_eq!((of(None).as_str(), of(Some("bob")).as_str()), ("hibari", "hibari/bob"));
    }
}

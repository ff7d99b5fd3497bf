//! The configuration: a TOML text becomes a checked [`Config`].
//!
//! Each part owns its `Settings`; this room only puts them together, finds every mistake in one run,
//! and writes the example, the schema and the reference from the same structs. It knows no meaning of
//! any key. To add a part, add one line to [`Config`].

mod complaint;
mod example;
mod gateway;
mod load;
mod reference;
mod schema;
mod text;

use crate::domain::Problem;

pub use complaint::{Complaint, ConfigError};
pub use example::example;
pub use load::{DEFAULT_PATH, ENV_PATH, load, parse, path};
pub use reference::reference;
pub use schema::schema_text;

/// Declares a table of parts: a struct whose fields are the parts' `Settings`, and its `check`.
macro_rules! parts {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$part_doc:meta])* $part:ident: $settings:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$part_doc])* pub $part: $settings,)+
        }

        impl $name {
            /// What is wrong with the parts. `path` is the table's own key, empty for the whole file.
            pub fn check(&self, path: &str) -> Vec<Problem> {
                let mut problems = Vec::new();
                $(problems.extend(self.$part.check(&join(path, stringify!($part))));)+
                problems
            }
        }
    };
}

parts! {
    /// The whole configuration, checked.
    pub struct Config {
        /// The gateway itself: its name and where it keeps its data.
        gateway: gateway::Settings,
        /// The MQTT door: listener, limits, the bus to operators' clients.
        mqtt: crate::door::mqtt::Settings,
        /// Bridges to other MQTT brokers. None by default; each is a table `[[bridges]]`.
        bridges: crate::bridge::Settings,
        /// Sessions: modes, lanes, timers, conversation.
        session: crate::session::Settings,
        /// Voice: hearing, the codec, replies.
        voice: Voice,
        /// Which service transcribes, answers, speaks, embeds.
        providers: crate::provider::Settings,
        /// Calls to services over HTTP.
        http_client: crate::provider::http::Settings,
        /// The local engines.
        engine: crate::engine::Settings,
        /// The weights of the local engines.
        models: crate::models::Settings,
        /// The records: journal and tree.
        store: crate::store::Settings,
        /// What happened, by device and time.
        lifelog: crate::lifelog::Settings,
        /// Operators' HTTP: metrics and health.
        http: crate::door::http::Settings,
        /// The local socket of the command line.
        control: crate::admin::Settings,
        /// What is logged, and how.
        log: crate::observe::logging::Settings,
    }
}

parts! {
    /// Voice.
    pub struct Voice {
        /// When speech counts as begun and a turn as ended.
        endpoint: crate::audio::endpoint::Settings,
        /// Telling speech from noise.
        vad: crate::audio::vad::Settings,
        /// Putting packets back in order.
        jitter: crate::audio::jitter::Settings,
        /// The codec.
        opus: crate::audio::OpusSettings,
        /// How a reply is thought and spoken.
        reply: crate::pipeline::voice::Settings,
    }
}

impl Voice {
    /// The part of it that is about audio.
    pub fn audio(&self) -> crate::audio::Settings {
        crate::audio::Settings {
            endpoint: self.endpoint.clone(),
            vad: self.vad.clone(),
            jitter: self.jitter.clone(),
            opus: self.opus.clone(),
        }
    }
}

impl Config {
    /// The folder of the models.
    pub fn models_dir(&self) -> std::path::PathBuf {
        self.models.folder(&self.gateway.data_dir)
    }

    /// `[engine]`, with what it takes from other parts filled in.
    pub fn engine(&self) -> crate::engine::Settings {
        let mut engine = self.engine.clone();
        engine.models_dir.get_or_insert_with(|| self.models_dir());
        engine.instructions.get_or_insert_with(|| self.voice.reply.system_prompt.clone());
        engine
    }
}

/// `key` inside `table`.
fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

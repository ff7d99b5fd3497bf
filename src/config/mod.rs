//! The configuration: a TOML text becomes a checked [`Config`].
//!
//! Each part owns its `Settings`; this room only puts them together, finds every mistake in one run,
//! and writes the example, the schema and the reference from the same structs. It knows no meaning of
//! any key. To add a part, add one line to [`Config`].

mod changed;
mod complaint;
mod example;
mod gateway;
mod load;
mod reference;
mod schema;
mod text;

use crate::domain::{ByteSize, Problem};

pub use changed::renewable;
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
        /// Audio as datagrams, beside MQTT.
        udp: crate::door::udp::Settings,
        /// The devices' HTTP door: bootstrap, enrolment, firmware.
        devices: crate::door::http::devices::Settings,
        /// The devices' WebSocket: conversations of boards, at the devices' HTTP door.
        websocket: crate::door::http::conversation::Settings,
        /// The page that makes a browser a device, at the devices' HTTP door.
        talk: crate::door::http::talk::Settings,
        /// Bridges to other MQTT brokers. None by default; each is a table `[[bridges]]`.
        bridges: crate::bridge::Settings,
        /// Sessions: modes, lanes, timers, conversation.
        session: crate::session::Settings,
        /// Voice: hearing, the codec, replies.
        voice: Voice,
        /// What is said is looked at: safety, quiet hours.
        policy: crate::policy::Settings,
        /// Calls for help: how they are confirmed, and who is told.
        sos: crate::pipeline::sos::Settings,
        /// Which service transcribes, answers, speaks, embeds.
        providers: crate::provider::Settings,
        /// Which service looks at photos.
        vision: crate::pipeline::vision::Settings,
        /// Calls to services over HTTP.
        http_client: crate::provider::http::Settings,
        /// What is kept so that no service need be asked twice.
        cache: crate::cache::Settings,
        /// The local engines.
        engine: crate::engine::Settings,
        /// The weights of the local engines.
        models: crate::models::Settings,
        /// What operators ask of devices that may be away.
        operations: crate::operations::Settings,
        /// Digital tasks: what the gateway works on by itself, in the background, with tools.
        tasks: crate::tasks::Settings,
        /// The records: journal and tree.
        store: crate::store::Settings,
        /// What happened, by device and time.
        lifelog: crate::lifelog::Settings,
        /// What is kept and published of what devices measure.
        telemetry: crate::telemetry::Settings,
        /// Devices in Home Assistant, over MQTT.
        home_assistant: crate::home_assistant::Settings,
        /// Operators' HTTP: metrics, health, the control API.
        http: crate::door::http::operators::Settings,
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

    /// What no part sees alone.
    pub(crate) fn check_together(&self) -> Vec<Problem> {
        let mut problems = self.check_bridges();
        if self.devices.enabled && self.devices.tls && !self.mqtt.tls.enabled && !self.mqtt.websocket_tls.enabled {
            let what = "shows the certificate of the MQTT door, and no listener of that speaks TLS";
            problems.push(Problem::new("devices.tls", what, "set mqtt.tls.enabled, or end TLS in a proxy"));
        }
        if self.http.enabled && self.http.tls && !self.mqtt.tls.enabled && !self.mqtt.websocket_tls.enabled {
            let what = "shows the certificate of the MQTT door, and no listener of that speaks TLS";
            problems.push(Problem::new("http.tls", what, "set mqtt.tls.enabled, or end TLS in a proxy"));
        }
        problems
    }

    /// What waits for bridges takes from the memory of all clients, and is never dropped
    /// for them. A quarter at least is left to those.
    fn check_bridges(&self) -> Vec<Problem> {
        let memory = self.mqtt.limits.memory;
        let bridges: Vec<_> = self.bridges.0.iter().filter(|bridge| bridge.enabled && !bridge.out.is_empty()).collect();
        let queues = bridges.iter().fold(0_u64, |sum, bridge| sum.saturating_add(bridge.queue.bytes.0));
        if queues <= memory.0 - memory.0 / 4 {
            return Vec::new();
        }
        let what = format!(
            "the queues of {} together may take {} of mqtt.limits.memory ({memory}): while the other brokers are away, \
             nothing would be left to devices",
            if bridges.len() == 1 { "the bridge".to_owned() } else { format!("{} bridges", bridges.len()) },
            ByteSize(queues)
        );
        // rounded up to whole megabytes
        let enough = ByteSize::mb(queues.saturating_mul(4).div_ceil(3).div_ceil(1 << 20));
        let remedy =
            format!("set mqtt.limits.memory to \"{enough}\" or more, or make queue.bytes of the bridges smaller");
        vec![Problem::new("bridges", what, remedy)]
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
    use super::*;

    /// `count` bridges with queues of a size, and the memory of all clients.
    fn bridges(count: usize, queue: &str, memory: &str) -> Result<Config, ConfigError> {
        let bridge = |n| {
            format!(
                "[[bridges]]\nname = \"b{n}\"\nhost = \"b{n}.example\"\nout = [{{ filter = \"a/#\" }}]\n\
                 queue = {{ bytes = \"{queue}\" }}\n"
            )
        };
        let bridges: String = (0..count).map(bridge).collect();
        parse("voxgate.toml", &format!("[mqtt.limits]\nmemory = \"{memory}\"\n{bridges}"))
    }

    #[test]
    fn bridges_whose_queues_would_leave_devices_no_memory_are_refused_with_what_is_enough() {
        bridges(3, "64MB", "256MB").unwrap();
        bridges(1, "192MB", "256MB").unwrap();
        for (count, queue, enough) in [(4, "64MB", "342MB"), (1, "256MB", "342MB")] {
            let error = bridges(count, queue, "256MB").unwrap_err().to_string();
            assert!(error.contains("bridges") && error.contains("256MB") && error.contains(enough), "{error}");
            bridges(count, queue, enough).unwrap();
        }
    }
}

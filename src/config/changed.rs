//! What is other in a configuration than in the one before, and what of it counts while the gateway runs.

use serde_json::Value;

use super::{Config, join};

/// What counts without a new start: these keys, and all below them.
const RENEWABLE: [&str; 3] = ["providers", "vision", "voice.reply"];

impl Config {
    /// This configuration with what may be renewed while it runs, from `new`.
    #[must_use]
    pub fn renewed(&self, new: &Config) -> Config {
        let mut next = self.clone();
        next.providers.clone_from(&new.providers);
        next.vision.clone_from(&new.vision);
        next.voice.reply.clone_from(&new.voice.reply);
        next
    }

    /// The keys whose values differ, without the values: they are for logs.
    pub fn changed(&self, new: &Config) -> Vec<String> {
        let value = |config: &Config| serde_json::to_value(config).unwrap_or_default();
        let mut keys = Vec::new();
        differ("", &value(self), &value(new), &mut keys);
        keys.sort();
        keys
    }
}

/// The key counts without a new start.
pub fn renewable(key: &str) -> bool {
    RENEWABLE.iter().any(|part| key.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// A list is one value: what moved in it would be told as many.
fn differ(key: &str, old: &Value, new: &Value, keys: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        if old != new {
            keys.push(key.to_owned());
        }
        return;
    };
    for (name, value) in after {
        differ(&join(key, name), before.get(name).unwrap_or(&Value::Null), value, keys);
    }
    for (name, value) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        differ(&join(key, name), value, &Value::Null, keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_by_its_key_alone() {
        let old = Config::default();
        let mut new = Config::default();
        new.voice.reply.system_prompt = "be brief".into();
        new.providers.chat.model = Some("m".into());
        let more = new.providers.chat.clone();
        new.providers.backup.chat.push(more);
        new.mqtt.listen.set_port(1);
        assert_eq!(
            old.changed(&new),
            ["mqtt.listen", "providers.backup.chat", "providers.chat.model", "voice.reply.system_prompt"]
        );
        assert!(new.changed(&new.clone()).is_empty());
    }

    #[test]
    fn only_services_prompts_and_voices_are_taken_over_and_the_two_lists_of_keys_agree() {
        let old = Config::default();
        let mut new = Config::default();
        new.voice.reply.language = "de".into();
        new.voice.opus.bitrate += 1_000;
        new.vision.prompt = "what is there".into();
        new.sos.spoken = "help comes".into();
        new.providers.pool.errors += 1;
        let next = old.renewed(&new);
        assert!(old.changed(&next).iter().all(|key| renewable(key)), "{:?}", old.changed(&next));
        assert!(next.changed(&new).iter().all(|key| !renewable(key)), "{:?}", next.changed(&new));
        assert_eq!(old.changed(&next).len(), 3);
        assert!(!renewable("voice.replying") && renewable("voice.reply.apology") && renewable("vision"));
    }
}

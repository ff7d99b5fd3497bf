//! What decides the answers of the services of a capability, as one text: the name under which caches keep them.

use super::{Kind, Service, Settings};

/// A capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// Speech to text.
    Stt,
    /// Text to speech.
    Tts,
    /// Chat.
    Chat,
    /// Embeddings.
    Embed,
}

impl Settings {
    /// Type, address, model, voice and rate of whoever may answer. `local` is what decides how the engine that comes with
    /// Voxgate answers. No key is in it.
    pub fn identity(&self, ability: Ability, local: &str) -> String {
        let (first, backup) = match ability {
            Ability::Stt => (&self.stt, self.backup.stt.as_slice()),
            Ability::Tts => (&self.tts, self.backup.tts.as_slice()),
            Ability::Chat => (&self.chat, self.backup.chat.as_slice()),
            Ability::Embed => (&self.embed, [].as_slice()),
        };
        std::iter::once(first).chain(backup).map(|service| service.identity(local)).collect::<Vec<_>>().join("; ")
    }
}

impl Service {
    fn identity(&self, local: &str) -> String {
        let Self { kind, url, model, voice, rate, .. } = self;
        let own = if *kind == Kind::Local { local } else { "" };
        format!("{} {url:?} {model:?} {voice:?} {rate} {own:?}", kind.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_decides_the_answer_is_another_identity_and_a_key_is_not() {
        let mut settings = Settings::default();
        let identity = |settings: &Settings| settings.identity(Ability::Tts, "hibari");
        let mut seen = vec![identity(&settings), settings.identity(Ability::Tts, "other")];
        settings.tts = Service { kind: Kind::Openai, url: Some("http://a/v1".into()), ..Service::default() };
        seen.push(identity(&settings));
        settings.tts.model = Some("m".into());
        seen.push(identity(&settings));
        settings.tts.voice = Some("m".into());
        seen.push(identity(&settings));
        settings.tts.rate = 16_000;
        seen.push(identity(&settings));
        settings.backup.tts.push(Service::default());
        seen.push(identity(&settings));
        let mut different = seen.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), seen.len(), "{seen:?}");
        settings.tts.api_key_env = Some("TOP_SECRET".into());
        assert_eq!(Some(&identity(&settings)), seen.last());
    }
}

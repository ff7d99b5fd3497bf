//! The caches of a gateway: what services are called in them, and what is said ahead.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::audio::Workers;
use crate::cache::{self, Caches};
use crate::config::Config;
use crate::domain::Clock;
use crate::pipeline::voice::{self, Speaker, Voice};
use crate::provider::{self, Ability, Embedder, Kind, Known};
use crate::store::Store;
use crate::store::records::devices;

/// Devices whose voices are looked at.
const DEVICES: usize = 10_000;
/// Voices that phrases are made ahead in.
const SPEAKERS: usize = 20;
/// How often phrases are tried again while speech does not work: at first, and at most.
const SOON: Duration = Duration::from_secs(5);
const LATE: Duration = Duration::from_mins(5);
/// How often it is seen to that phrases made ahead are still there.
const AGAIN: Duration = Duration::from_hours(1);

pub(super) fn open(config: &Config, workers: &Workers, clock: &Arc<dyn Clock>, metrics: cache::Metrics) -> Arc<Caches> {
    let parts = cache::Parts {
        data: config.gateway.data_dir.clone(),
        reserve: config.store.reserve.0,
        workers: workers.clone(),
        clock: Arc::clone(clock),
        metrics,
    };
    Arc::new(Caches::open(&config.cache, &parts))
}

/// The configured services under the names that caches know them by.
pub(super) fn known(config: &Config, made: provider::Providers) -> provider::Providers {
    let engine = &config.engine;
    let name = |ability, model: &str| {
        config.providers.identity(ability, &format!("voxgate {} {model}", env!("CARGO_PKG_VERSION")))
    };
    let provider::Providers { stt, tts, chat, embed, pools, warm } = made;
    let embed = embed.filter(|_| config.providers.embed.kind != Kind::Local || engine.embed != "off");
    provider::Providers {
        stt: stt.map(|stt| Arc::new(Known::new(stt, name(Ability::Stt, &engine.stt))) as _),
        tts: tts.map(|tts| Arc::new(Known::new(tts, name(Ability::Tts, &engine.speaker_of_voice()))) as _),
        chat: chat.map(|chat| {
            Arc::new(Known::new(chat, name(Ability::Chat, &format!("{} {}", engine.chat, engine.chat_examples)))) as _
        }),
        embed: embed.map(|embed| Arc::new(Known::new(embed, name(Ability::Embed, &engine.embed))) as _),
        pools,
        warm,
    }
}

/// Who makes vectors of questions. Nobody: answers are not found by meaning, and that is said where it is wanted.
pub(super) fn embed_with(config: &Config, caches: &Caches, embed: Option<Arc<dyn Embedder>>) {
    if config.cache.chat.semantic && embed.is_none() {
        tracing::warn!(
            "cache.chat.semantic is on and no service makes vectors: run voxgate models pull minilm-l6-v2 and set \
             engine.embed = \"minilm-l6-v2\", or configure [providers.embed]; until then only the same words are found"
        );
    }
    caches.chat.embed_with(embed);
}

/// Services that are asked behind the caches.
pub(super) fn before(providers: voice::Providers, caches: &Caches, workers: &Workers) -> voice::Providers {
    voice::Providers { transcriber: caches.transcripts.before(providers.transcriber, workers), ..providers }
}

/// Who makes phrases ahead.
#[derive(Clone)]
pub(super) struct Ahead {
    voice: Voice,
    store: Arc<dyn Store>,
    phrases: Arc<[String]>,
    language: Option<String>,
    enabled: bool,
    /// What an operator asks for and what is done by itself is not made twice.
    at_work: Arc<Mutex<()>>,
}

impl Ahead {
    pub(super) fn new(config: &Config, voice: &Voice, store: &Arc<dyn Store>) -> Self {
        let language = Some(config.voice.reply.language.clone()).filter(|language| !language.is_empty());
        let phrases = config.cache.speech.phrases.clone().into();
        let enabled = config.cache.speech.enabled;
        let at_work = Arc::default();
        Self { voice: voice.clone(), store: Arc::clone(store), phrases, language, enabled, at_work }
    }

    /// Why nothing can be made ahead.
    pub(super) fn why_not(&self) -> Option<&'static str> {
        if self.phrases.is_empty() {
            return Some("there is nothing to make ahead: list phrases in cache.speech.phrases");
        }
        (!self.enabled).then_some("the speech cache is off: set cache.speech.enabled")
    }

    /// Makes what is not there, in the gateway's own voice and in those of its devices.
    pub(super) async fn make(&self) -> voice::Warmed {
        let _one = self.at_work.lock().await;
        let speakers = self.speakers().await;
        self.voice.make_ahead(&self.phrases, &speakers).await
    }

    /// Makes phrases as soon as speech works, and sees to it that they stay.
    pub(super) async fn keep(self, stop: CancellationToken) {
        if self.why_not().is_some() {
            return;
        }
        let mut pause = SOON;
        loop {
            let made = tokio::select! {
                made = self.make() => made,
                () = stop.cancelled() => return,
            };
            let wait = if made.failed == 0 { AGAIN } else { pause };
            pause = if made.failed == 0 { SOON } else { (pause * 2).min(LATE) };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn speakers(&self) -> Vec<Speaker> {
        let mut speakers = vec![Speaker { voice: None, language: self.language.clone() }];
        let devices = devices::list(&*self.store, DEVICES).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the voices of devices cannot be read: phrases are made ahead in the gateway's own only");
            Vec::new()
        });
        for device in devices {
            let persona = device.settings.persona;
            let language = persona.language.or_else(|| self.language.clone());
            let speaker = Speaker { voice: persona.voice, language };
            if !speakers.contains(&speaker) && speakers.len() < SPEAKERS {
                speakers.push(speaker);
            }
        }
        speakers
    }
}

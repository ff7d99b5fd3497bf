//! The stations of this machine, made from the settings: what the two servers serve from.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::chat::{self, Chat};
use super::cores::{Cores, Urgency};
use super::ears::Ears;
use super::embed::Embedder;
use super::speak::{Espeak, Voice, sentences};
use super::station::{Health, Plan, Station};
use super::transcribe::Heard;
use super::{EngineError, Settings};

/// Pieces of an answer that may wait for a slow client.
const PIECES: usize = chat::MOST_TOKENS + 8;
/// Sentences that may wait for a slow client.
const SENTENCES: usize = 2;

/// All engines of a process.
pub struct Engines {
    settings: Settings,
    stt: Option<Station<Ears>>,
    hears: Languages,
    tts: Option<Station<Voice>>,
    speaks: Languages,
    chat: Option<Station<Chat>>,
    embed: Option<Station<Embedder>>,
}

/// BCP 47 of what a model is good at, from when it is loaded.
#[derive(Clone, Default)]
struct Languages(Arc<Mutex<Vec<String>>>);

impl Languages {
    fn set(&self, languages: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = languages;
    }

    fn get(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A sentence's worth of speech.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Samples a second, mono.
    pub rate: u32,
    /// Signed 16 bit.
    pub samples: Vec<i16>,
}

/// A model's folder is whole when its `READY` file is there.
fn missing(dir: &Path) -> Option<EngineError> {
    let text = || format!("missing: {} has no READY file; run `voxgate models pull`", dir.display());
    (!dir.join("READY").is_file()).then(|| EngineError::Missing(text()))
}

impl Engines {
    /// Starts the threads; models load behind it.
    pub fn start(settings: &Settings) -> Result<Self, EngineError> {
        let cores = Cores::new(settings.cores(), settings.threads_per_call);
        let dir = settings.models_dir();
        let plan = |name, threads, urgency| Plan { name, threads, queue: settings.queue, urgency, idle: None };
        let on = |name: &str| (name != "off").then(|| dir.join(name));
        // One thread more than cores would only wait; one fewer would leave a core idle.
        let all = settings.cores();

        let (hears, speaks) = (Languages::default(), Languages::default());
        let stt = on(&settings.stt).map(|dir| {
            let (from, languages) = (dir.clone(), hears.clone());
            let load = move || Ears::load(&from).inspect(|ears| languages.set(ears.languages()));
            Station::start(plan("stt", all, Urgency::Hearing), &cores, move || missing(&dir), load)
        });
        let manner = chat::Manner {
            instructions: settings.instructions.clone().unwrap_or_default(),
            examples: settings.chat_examples,
        };
        let chat = on(&settings.chat).map(|dir| {
            let (file, settings) = (dir.join("model.gguf"), settings.clone());
            let load = move || Chat::load(&file, manner.clone(), &settings);
            Station::start(plan("chat", all, Urgency::Chat), &cores, move || missing(&dir), load)
        });
        let embed = on(&settings.embed).map(|dir| {
            let plan = Plan { idle: Some(settings.embed_idle.0), ..plan("embed", 1, Urgency::Background) };
            let from = dir.clone();
            Station::start(plan, &cores, move || missing(&dir), move || Embedder::load(&from))
        });
        let speaker = settings.speaker.clone();
        let tts = on(&settings.voice)
            .map(|dir| voice(plan("tts", all, Urgency::Speech), &cores, dir, speaker, speaks.clone()));
        Ok(Self {
            settings: settings.clone(),
            stt: stt.transpose()?,
            hears,
            tts: tts.transpose()?,
            speaks,
            chat: chat.transpose()?,
            embed: embed.transpose()?,
        })
    }

    /// The settings that they were made from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// BCP 47 of what is heard well. Empty: many, or not loaded.
    pub fn hears(&self) -> Vec<String> {
        self.hears.get()
    }

    /// BCP 47 of what is spoken well. Empty: not loaded.
    pub fn speaks(&self) -> Vec<String> {
        self.speaks.get()
    }

    /// The words in 16 kHz mono samples.
    pub async fn transcribe(&self, pcm: Vec<i16>, language: Option<String>) -> Result<Heard, EngineError> {
        let stt = self.stt.as_ref().ok_or(EngineError::Off("stt"))?;
        stt.call(move |ear, desk| ear.transcribe(&pcm, language.as_deref(), desk)).await
    }

    /// Speech, sentence by sentence. An error is the last item; dropping the receiver ends the work.
    pub fn say(&self, text: &str) -> Result<mpsc::Receiver<Result<Said, EngineError>>, EngineError> {
        let tts = self.tts.as_ref().ok_or(EngineError::Off("voice"))?;
        let parts = sentences(text);
        let (out, said) = mpsc::channel(SENTENCES);
        tts.post(move |voice, desk| match voice {
            Ok(voice) => {
                for part in parts {
                    if out.is_closed() {
                        return;
                    }
                    let core = desk.core();
                    let result = voice.0.say(&part).map(|samples| Said { rate: voice.0.rate(), samples });
                    drop(core);
                    let failed = result.is_err();
                    if out.blocking_send(result).is_err() || failed {
                        return;
                    }
                }
            }
            Err(error) => drop(out.blocking_send(Err(error))),
        })?;
        Ok(said)
    }

    /// An answer as it comes. Dropping the receiver ends the work.
    pub fn chat(&self, request: chat::Request) -> Result<mpsc::Receiver<chat::Piece>, EngineError> {
        let chat = self.chat.as_ref().ok_or(EngineError::Off("chat"))?;
        let (out, pieces) = mpsc::channel(PIECES);
        chat.post(move |chat, desk| match chat {
            Ok(_) if out.is_closed() => {}
            Ok(chat) => chat.answer(&request, &out, desk),
            Err(error) => drop(out.blocking_send(chat::Piece::Failed(error))),
        })?;
        Ok(pieces)
    }

    /// One vector a text.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EngineError> {
        let embed = self.embed.as_ref().ok_or(EngineError::Off("embed"))?;
        embed.call(move |model, desk| model.embed(&texts, desk)).await
    }

    /// How each engine is, by name.
    pub fn health(&self) -> Report {
        let of = |health: Option<Health>| health.unwrap_or_else(Health::off);
        let engines = [
            ("stt", of(self.stt.as_ref().map(Station::health))),
            ("tts", of(self.tts.as_ref().map(Station::health))),
            ("chat", of(self.chat.as_ref().map(Station::health))),
            ("embed", of(self.embed.as_ref().map(Station::health))),
        ];
        let bad = |h: &Health| h.hung || matches!(h.state, "missing" | "failed");
        let status = if engines.iter().any(|(_, h)| bad(h)) {
            "degraded"
        } else if engines.iter().any(|(_, h)| h.state == "loading") {
            "loading"
        } else {
            "ready"
        };
        let value = |h: &Health| serde_json::to_value(h).unwrap_or_default();
        Report { status, engines: engines.iter().map(|(name, h)| ((*name).to_owned(), value(h))).collect() }
    }

    /// Takes no more calls and blocks until those that run have ended.
    pub fn close(self) {
        if let Some(station) = self.stt {
            station.close();
        }
        if let Some(station) = self.tts {
            station.close();
        }
        if let Some(station) = self.chat {
            station.close();
        }
        if let Some(station) = self.embed {
            station.close();
        }
    }
}

/// The answer of `/health`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `ready`, `loading` or `degraded`.
    pub status: &'static str,
    /// A [`Health`] an engine.
    pub engines: Map<String, Value>,
}

fn voice(
    plan: Plan,
    cores: &Arc<Cores>,
    dir: PathBuf,
    speaker: Option<String>,
    languages: Languages,
) -> Result<Station<Voice>, EngineError> {
    let known = move |voice: &Voice| languages.set(voice.0.languages());
    if dir.ends_with("espeak-ng") {
        let load = move || Ok(Voice(Box::new(Espeak::find()?))).inspect(&known);
        return Station::start(plan, cores, || None, load);
    }
    let from = dir.clone();
    let load = move || Voice::load(&from, speaker.as_deref()).inspect(&known);
    Station::start(plan, cores, move || missing(&dir), load)
}

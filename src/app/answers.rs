//! Who answers: services, phrases made ahead, the voice turn, who looks at photos. New settings take the place of old ones
//! while devices stay connected.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::start::configured_providers;
use super::{StartError, caches, housekeeping, photos};
use crate::admin::{AdminError, AdminErrorKind, Reloaded};
use crate::audio::Workers;
use crate::cache::Caches;
use crate::config::{self, Config};
use crate::domain::{Bulletins, Clock, Current, Sight};
use crate::engine::supervisor::View;
use crate::lifelog::Lifelog;
use crate::pipeline::vision;
use crate::pipeline::voice::{self, Phrases, Texts, Voice, Words};
use crate::policy::Policies;
use crate::provider::pool::{self, Kept, Pool, Pools};
use crate::provider::warm::{self, Warm};
use crate::provider::{self, ChatModel};
use crate::store::Store;
use crate::tasks::Tasks;

/// What it is made of, and what stays when settings change.
pub(super) struct Parts {
    /// Where the configuration is read anew.
    pub file: Option<PathBuf>,
    /// In the place of the configured ones.
    pub given: Option<voice::Providers>,
    pub engine: Option<View>,
    pub workers: Workers,
    pub policies: Policies,
    pub caches: Arc<Caches>,
    pub lifelog: Arc<Lifelog>,
    pub store: Arc<dyn Store>,
    pub watchers: Arc<dyn Bulletins>,
    pub errands: Arc<Tasks>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub random: Arc<dyn Fn() -> u128 + Send + Sync>,
    /// Who looks after the services that are in force.
    pub pools: Pools,
    pub pool: provider::pool::Metrics,
    pub warm: warm::Metrics,
    pub voice: voice::Metrics,
    pub vision: vision::Metrics,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

/// How often settings were read anew.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    reloads: Family<Outcome, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { reloads: Family::default() };
        registry.register(
            "voxgate_config_reloads",
            "Times at which the configuration was read anew: renewed, or refused and nothing changed",
            metrics.reloads.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for outcome in ["renewed", "refused"] {
            drop(self.reloads.get_or_create(&Outcome { outcome }));
        }
    }

    fn count(&self, outcome: &'static str) {
        self.reloads.get_or_create(&Outcome { outcome }).inc();
    }
}

/// What settings make.
struct Made {
    providers: voice::Providers,
    reply: voice::Settings,
    phrases: Arc<Phrases>,
    sight: Arc<dyn Sight>,
    /// Its pools, which want to be looked after.
    kept: Vec<Arc<dyn Kept>>,
    /// Its connections ahead of need.
    warm: Warm,
}

/// What counts now.
struct Running {
    config: Arc<Config>,
    /// Ends what goes on beside it: the making of its phrases, connections ahead of need.
    beside: CancellationToken,
}

/// Who answers. Share it as an `Arc`.
pub(super) struct Answers {
    parts: Parts,
    voice: Voice,
    chat: Current<dyn ChatModel>,
    providers: Current<voice::Providers>,
    sight: Current<dyn Sight>,
    phrases: Current<Phrases>,
    running: Mutex<Running>,
}

impl Answers {
    /// Makes all of it, and asks nobody yet.
    pub async fn open(config: &Arc<Config>, parts: Parts) -> Result<Arc<Self>, StartError> {
        let Made { providers, reply, phrases, sight, kept, warm } = parts.make(config).await?;
        parts.pools.set(kept, config.providers.pool.clone());
        let sight = Current::new(sight);
        let voice = Voice::new(voice::Parts {
            providers: providers.clone(),
            workers: parts.workers.clone(),
            settings: reply,
            opus: config.voice.opus.clone(),
            phrases: Arc::clone(&phrases),
            sight: Arc::new(sight.clone()),
            policies: parts.policies.clone(),
            tasks: Some(Arc::clone(&parts.errands)),
            caches: Arc::clone(&parts.caches),
            clock: Arc::clone(&parts.clock),
            random: Arc::clone(&parts.random),
            bell: warm.bell(),
            metrics: parts.voice.clone(),
        });
        let running = Running { config: Arc::clone(config), beside: parts.stop.child_token() };
        parts.tasks.spawn(warm.run(parts.warm.clone(), running.beside.clone()));
        Ok(Arc::new(Self {
            voice,
            chat: Current::new(Arc::clone(&providers.chat)),
            providers: Current::new(Arc::new(providers)),
            sight,
            phrases: Current::new(phrases),
            running: Mutex::new(running),
            parts,
        }))
    }

    /// Who runs turns.
    pub fn voice(&self) -> Voice {
        self.voice.clone()
    }

    /// What turns that begin now ask.
    pub fn providers(&self) -> Arc<voice::Providers> {
        self.providers.now()
    }

    /// The chat model, whichever it is.
    pub fn chat(&self) -> Arc<dyn ChatModel> {
        Arc::new(self.chat.clone())
    }

    /// Who looks at photos, whoever it is.
    pub fn sight(&self) -> Arc<dyn Sight> {
        Arc::new(self.sight.clone())
    }

    /// What is made ahead, whatever it is.
    pub fn phrases(&self) -> Current<Phrases> {
        self.phrases.clone()
    }

    /// Begins to make what is to be said at once.
    pub async fn make_phrases(&self) {
        let running = self.running.lock().await;
        self.begin_phrases(&running);
    }

    fn begin_phrases(&self, running: &Running) {
        self.parts.tasks.spawn(housekeeping::phrases(
            self.phrases.now(),
            Arc::clone(&self.providers.now().synthesizer),
            self.parts.workers.clone(),
            Arc::clone(&running.config),
            running.beside.clone(),
        ));
    }

    /// Reads the configuration anew. What is wrong with it changes nothing.
    pub async fn reload(&self) -> Result<Reloaded, AdminError> {
        let result = self.renew().await;
        match &result {
            Ok(Reloaded { renewed, restart }) => {
                self.parts.metrics.count("renewed");
                tracing::info!(?renewed, "the configuration was read anew");
                if !restart.is_empty() {
                    tracing::warn!(?restart, "these keys count from the next start on");
                }
            }
            Err(error) => {
                self.parts.metrics.count("refused");
                tracing::error!(%error, "the configuration was read anew, and nothing was changed");
            }
        }
        result
    }

    async fn renew(&self) -> Result<Reloaded, AdminError> {
        // one after the other: the last one read is the one that counts
        let mut running = self.running.lock().await;
        let new = self.parts.read().await?;
        let next = Arc::new(running.config.renewed(&new));
        self.parts.look_at(&next)?;
        let made = self.parts.make(&next).await.map_err(|error| invalid(error.to_string()))?;
        let changed = running.config.changed(&new);
        let (renewed, restart) = changed.into_iter().partition(|key| config::renewable(key));
        running.beside.cancel();
        *running = Running { config: next, beside: self.parts.stop.child_token() };
        self.put(made, &running);
        self.begin_phrases(&running);
        Ok(Reloaded { renewed, restart })
    }

    /// From here on the next turns are made of it.
    fn put(&self, made: Made, running: &Running) {
        let Made { providers, reply, phrases, sight, kept, warm } = made;
        let (config, bell) = (&running.config, warm.bell());
        self.parts.tasks.spawn(warm.run(self.parts.warm.clone(), running.beside.clone()));
        self.parts.pools.set(kept, config.providers.pool.clone());
        self.sight.replace(sight);
        self.chat.replace(Arc::clone(&providers.chat));
        self.phrases.replace(Arc::clone(&phrases));
        self.providers.replace(Arc::new(providers.clone()));
        self.voice.renew(voice::Renewed { providers, settings: reply, phrases, bell });
    }
}

fn invalid(what: impl Into<String>) -> AdminError {
    AdminError::new(AdminErrorKind::Invalid, what)
}

impl Parts {
    async fn read(&self) -> Result<Config, AdminError> {
        let Some(file) = self.file.clone() else {
            return Err(AdminError::new(AdminErrorKind::Conflict, "the gateway was started without a file to read"));
        };
        let read = tokio::task::spawn_blocking(move || config::load(&file)).await;
        let read = read.map_err(|error| AdminError::new(AdminErrorKind::Internal, error.to_string()))?;
        read.map_err(|error| invalid(error.to_string()))
    }

    /// What was right in its own file may be wrong beside what has not changed.
    fn look_at(&self, config: &Config) -> Result<(), AdminError> {
        if self.given.is_none() && self.engine.is_none() && config.providers.wants_engine() {
            return Err(invalid(
                "a service is of type \"local\", and the local engines do not run since none was when the gateway \
                 started: restart it, or name another service",
            ));
        }
        match config.check_together().first() {
            Some(problem) => Err(invalid(format!("{} {}: {}", problem.key, problem.what, problem.remedy))),
            None => Ok(()),
        }
    }

    async fn make(&self, config: &Arc<Config>) -> Result<Made, StartError> {
        let pool = pool::Parts {
            settings: config.providers.pool.clone(),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            metrics: self.pool.clone(),
        };
        let mut kept = Vec::new();
        let (providers, warm) = match &self.given {
            Some(providers) => (providers.clone(), Warm::default()),
            None => {
                configured_providers(config, self.engine.clone(), (&self.workers, &self.caches), &pool, &mut kept)
                    .await?
            }
        };
        let providers = caches::before(providers, &self.caches, &self.workers);
        let mut reply = config.voice.reply.clone();
        reply.speculate = reply.speculate.settled(self.given.is_none() && config.providers.chats_locally());
        let speech = config.gateway.data_dir.join("speech");
        let settings = Arc::clone(config);
        let phrases = tokio::task::spawn_blocking(move || phrases(&settings, &speech)).await;
        let phrases = phrases.map_err(|error| StartError::Interrupted(error.to_string()))?;
        let eyes = photos::eyes(config, &pool)?;
        kept.extend(eyes.as_ref().map(Pool::kept));
        let sight = photos::sight(
            config,
            eyes.map(|eyes| Arc::new(eyes) as _),
            (&self.lifelog, &self.store),
            Arc::clone(&self.watchers),
            &self.policies,
            &self.clock,
            self.vision.clone(),
        );
        Ok(Made { providers, reply, phrases: Arc::new(phrases), sight, kept, warm })
    }
}

/// What is said again and again, as far as it was made before.
fn phrases(config: &Config, dir: &Path) -> Phrases {
    let (reply, polite) = (&config.voice.reply, &config.session.xiaozhi);
    let all = Words {
        apology: Some(reply.apology.clone()),
        busy: Some(reply.busy.clone()),
        help: Some(config.sos.spoken.clone()),
        greeting: Some(polite.greeting.clone()),
        farewell: Some(polite.farewell.clone()),
    };
    let texts = Texts { language: reply.language.clone(), all, in_language: reply.in_language.clone() };
    Phrases::open(&texts, config.providers.tts.voice.as_deref().unwrap_or_default(), dir)
}

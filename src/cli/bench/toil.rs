//! The local engines kept busy, beside whatever else is measured.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::turn::{self, Bare};
use super::{demo, with_engines};
use crate::app::{Gateway, Outside};
use crate::config::Config;
use crate::observe::Notifier;
use crate::sim;

/// Whole questions at once for each core: one is worked on, one waits.
const EACH: usize = 2;

/// Engines that answer one question after the other.
pub(super) struct Toil {
    gateway: Gateway,
    work: JoinSet<()>,
    rounds: Arc<Mutex<Vec<[f64; 4]>>>,
}

impl Toil {
    /// Starts a gateway with engines of its own, for nobody else, and asks more of them than the cores can do.
    pub async fn begin(mut config: Config, dir: &Path) -> anyhow::Result<Self> {
        dir.join("engines").clone_into(&mut config.gateway.data_dir);
        config.control.socket = dir.join("engines.sock");
        (config.devices.enabled, config.udp.enabled) = (false, false);
        with_engines(&mut config);
        let prompt: Arc<str> = config.voice.reply.system_prompt.as_str().into();
        let outside = Outside { notifier: Notifier::default(), ..Outside::default() };
        let gateway = Gateway::start(config, outside).await?;
        demo::wait_for_the_engines(&gateway, &|_: &str| ()).await?;
        let providers = gateway.providers();
        let pcm: Arc<[i16]> = sim::demo::spoken(&*providers.synthesizer, sim::demo::QUESTION).await?.into();
        // whatever is wrong with them is said now, and not a hundred times later
        turn::round(&providers, &prompt, Arc::clone(&pcm)).await?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (mut work, rounds) = (JoinSet::new(), Arc::new(Mutex::new(Vec::new())));
        for _ in 0..cores * EACH {
            let (providers, prompt, pcm) = (providers.clone(), Arc::clone(&prompt), Arc::clone(&pcm));
            let rounds = Arc::clone(&rounds);
            work.spawn(async move {
                while let Ok(round) = turn::round(&providers, &prompt, Arc::clone(&pcm)).await {
                    rounds.lock().unwrap_or_else(PoisonError::into_inner).push(round);
                }
            });
        }
        Ok(Self { gateway, work, rounds })
    }

    /// Ends it; what the answers took.
    pub async fn end(mut self) -> anyhow::Result<Bare> {
        let at_work = self.work.len();
        let gave_up = std::iter::from_fn(|| self.work.try_join_next()).count();
        self.work.shutdown().await;
        self.gateway.stop(Duration::from_secs(10)).await;
        anyhow::ensure!(
            gave_up == 0,
            "{gave_up} of {at_work} who asked the engines were refused: they were not all busy"
        );
        let rounds = std::mem::take(&mut *self.rounds.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Bare::of(&rounds))
    }
}

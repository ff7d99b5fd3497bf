//! Photos of boards and canes: the door that takes them, and who looks at them.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::StartError;
use crate::config::Config;
use crate::domain::{Bulletins, Clock, Sight};
use crate::door::http::{Routes, vision as door};
use crate::lifelog::Lifelog;
use crate::pipeline::vision::{self, Vision};
use crate::policy::Policies;
use crate::provider::http::Client;
use crate::provider::pool::{self, Pool};
use crate::provider::{ChatModel, Kind};
use crate::store::Store;

/// The services that look at photos; reads their keys.
pub(super) fn eyes(config: &Config, parts: &pool::Parts) -> Result<Option<Pool<dyn ChatModel>>, StartError> {
    if config.vision.kind == Kind::Off {
        return Ok(None);
    }
    let client = Client::with_keys(&config.http_client)?;
    let first = config.vision.service();
    let services = std::iter::once(&first).chain(&config.vision.backup);
    let eyes: Result<Vec<_>, _> = services.map(|service| service.eye(&client)).collect();
    Ok(Pool::new("vision", eyes?, parts))
}

/// Who looks at photos.
pub(super) fn sight(
    config: &Config,
    model: Option<Arc<dyn ChatModel>>,
    (lifelog, store): (&Arc<Lifelog>, &Arc<dyn Store>),
    bulletins: Arc<dyn Bulletins>,
    policies: &Policies,
    clock: &Arc<dyn Clock>,
    metrics: vision::Metrics,
) -> Arc<dyn Sight> {
    Arc::new(Vision::new(vision::Parts {
        model,
        settings: config.vision.clone(),
        policies: policies.clone(),
        lifelog: Arc::clone(lifelog),
        store: Arc::clone(store),
        bulletins,
        clock: Arc::clone(clock),
        metrics,
    }))
}

/// The routes of photos; none where they are switched off.
pub(super) fn routes(
    config: &Config,
    passes: Option<Arc<door::Passes>>,
    sight: Arc<dyn Sight>,
    clock: &Arc<dyn Clock>,
    (metrics, tasks): (door::Metrics, &TaskTracker),
) -> Routes {
    let Some(passes) = passes else { return Routes::new() };
    let parts = door::Parts {
        passes,
        sight,
        clock: Arc::clone(clock),
        metrics,
        tasks: tasks.clone(),
        limits: config.devices.limits.clone(),
    };
    door::routes(config.devices.vision.clone(), parts)
}

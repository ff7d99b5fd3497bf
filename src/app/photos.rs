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
use crate::provider::Kind;
use crate::provider::http::Client;
use crate::store::Store;

/// Who looks at photos; reads the key of the service that does.
pub(super) fn sight(
    config: &Config,
    (lifelog, store): (&Arc<Lifelog>, &Arc<dyn Store>),
    bulletins: Arc<dyn Bulletins>,
    policies: &Policies,
    clock: &Arc<dyn Clock>,
    metrics: vision::Metrics,
) -> Result<Arc<dyn Sight>, StartError> {
    let model = match config.vision.kind {
        Kind::Off => None,
        _ => config.vision.service().vision(&Client::with_keys(&config.http_client)?)?,
    };
    Ok(Arc::new(Vision::new(vision::Parts {
        model,
        settings: config.vision.clone(),
        policies: policies.clone(),
        lifelog: Arc::clone(lifelog),
        store: Arc::clone(store),
        bulletins,
        clock: Arc::clone(clock),
        metrics,
    })))
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

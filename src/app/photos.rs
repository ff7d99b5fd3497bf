//! Photos of boards: the door that takes them, and who looks at them.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::StartError;
use crate::config::Config;
use crate::domain::{Bulletins, Clock};
use crate::door::http::{Routes, vision as door};
use crate::lifelog::Lifelog;
use crate::pipeline::vision::{self, Vision};
use crate::policy::Policies;
use crate::provider::Kind;
use crate::provider::http::Client;
use crate::store::Store;

/// What photos need of the rest.
pub(super) struct Parts<'a> {
    /// What may be said of them.
    pub policies: &'a Policies,
    /// Who may send some; nobody where they are switched off.
    pub passes: Option<Arc<door::Passes>>,
    pub lifelog: &'a Arc<Lifelog>,
    pub store: &'a Arc<dyn Store>,
    pub bulletins: Arc<dyn Bulletins>,
    pub clock: &'a Arc<dyn Clock>,
    pub metrics: (door::Metrics, vision::Metrics),
    pub tasks: &'a TaskTracker,
}

/// The routes of photos; reads the key of the service that looks at them.
pub(super) fn routes(config: &Config, parts: Parts<'_>) -> Result<Routes, StartError> {
    let Some(passes) = parts.passes else { return Ok(Routes::new()) };
    let model = match config.vision.kind {
        Kind::Openai => config.vision.service().vision(&Client::new(&config.http_client)?)?,
        _ => None,
    };
    let (door_metrics, metrics) = parts.metrics;
    let sight = Vision::new(vision::Parts {
        model,
        settings: config.vision.clone(),
        policies: parts.policies.clone(),
        lifelog: Arc::clone(parts.lifelog),
        store: Arc::clone(parts.store),
        bulletins: parts.bulletins,
        clock: Arc::clone(parts.clock),
        metrics,
    });
    let door_parts = door::Parts {
        passes,
        sight: Arc::new(sight),
        clock: Arc::clone(parts.clock),
        metrics: door_metrics,
        tasks: parts.tasks.clone(),
        limits: config.devices.limits.clone(),
    };
    Ok(door::routes(config.devices.vision.clone(), door_parts))
}

//! What homes see of devices: the latest telemetry.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::{Bulletins, Clock, DeviceId};
use crate::door::credentials::Credentials;
use crate::door::mqtt::Bus;
use crate::store::Store;
use crate::store::records::Numbers;
use crate::telemetry::{self, Board, Samples};
use crate::topics::Table;

/// Where what devices measure goes.
pub(super) fn samples(
    config: &Config,
    (store, numbers): (&Arc<dyn Store>, &Arc<Numbers>),
    clock: &Arc<dyn Clock>,
    (bus, table): (&Arc<Bus>, &Arc<Table>),
    metrics: telemetry::Metrics,
) -> Arc<Samples> {
    let (bus, table) = (Arc::clone(bus) as Arc<dyn Bulletins>, Arc::clone(table));
    Samples::new(telemetry::Parts {
        settings: config.telemetry.clone(),
        store: Arc::clone(store),
        numbers: Arc::clone(numbers),
        clock: Arc::clone(clock),
        board: Board::new(bus, Arc::new(move |device| table.latest_topic(device))),
        metrics,
    })
}

/// Takes back what is published of devices that may not come in any more, until `stop`.
pub(super) async fn gone(credentials: Arc<Credentials>, samples: Arc<Samples>, stop: CancellationToken) {
    let mut changed = credentials.changed();
    changed.mark_unchanged();
    let mut known: BTreeSet<DeviceId> = credentials.list_devices().into_iter().collect();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            heard = changed.changed() => if heard.is_err() { return },
        }
        let now: BTreeSet<DeviceId> = credentials.list_devices().into_iter().collect();
        for device in known.difference(&now) {
            samples.board().forget(device);
        }
        for device in now.difference(&known) {
            samples.board().welcome(device);
        }
        known = now;
    }
}

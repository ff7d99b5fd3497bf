//! What homes see of devices: the latest telemetry, and what Home Assistant is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::operators::Operators;
use crate::config::Config;
use crate::domain::{Bulletins, Clock, DeviceId};
use crate::door::credentials::Credentials;
use crate::door::mqtt::{Bus, Place, Room};
use crate::home_assistant::{About, Doing, Home};
use crate::session::Info;
use crate::store::Store;
use crate::store::records::{Device, Numbers, Status, devices};
use crate::telemetry::{self, Board, Samples};
use crate::topics::Table;

/// The name of the place in the broker where Home Assistant's word waits; no bridge can have it.
const PLACE: &str = "$home-assistant";
/// How often is looked at what sessions do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Changes of devices, and Home Assistant's starts, that come together are told together.
const PAUSE: Duration = Duration::from_millis(200);
/// Most devices that Home Assistant is told of.
const MOST_DEVICES: usize = 100_000;

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

/// Tells Home Assistant of devices and of what they do, until `stop`.
pub(super) async fn assistant(operators: Arc<Operators>, home: Arc<Home>, stop: CancellationToken) {
    home.withdraw(&known(&operators).await.unwrap_or_default());
    if !home.is_on() {
        operators.door.forget_places(|name| name != PLACE);
        return;
    }
    let mut changed = operators.credentials.changed();
    home.devices(&known(&operators).await.unwrap_or_default());
    let mut place = births(&operators, &home).await;
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            heard = changed.changed() => {
                if heard.is_err() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
                // what changes after this is looked at again
                changed.mark_unchanged();
                if let Some(devices) = known(&operators).await {
                    home.devices(&devices);
                }
            }
            () = born(&mut place) => {
                tokio::time::sleep(PAUSE).await;
                tracing::info!("home assistant has started: it is told of all devices again");
                home.again();
            }
            _ = every.tick() => {
                home.online(|device| operators.delivery.is_connected(device));
                home.doing(operators.router.sessions().into_iter().map(doing).collect());
            }
        }
    }
}

/// Where Home Assistant's starts are heard.
async fn births(operators: &Operators, home: &Home) -> Option<Place> {
    let room = Room { messages: 16, bytes: 64 << 10, refuse: false };
    match operators.door.place(PLACE, room, &[(home.birth_topic(), 0)]).await {
        Ok(place) => Some(place),
        Err(error) => {
            tracing::warn!(%error, "home assistant's starts are not heard: it finds devices by what is retained");
            None
        }
    }
}

/// Home Assistant says that it has started; never without a place.
async fn born(place: &mut Option<Place>) {
    let Some(place) = place else { return std::future::pending().await };
    loop {
        let parcel = place.next(16).await;
        place.arrived(parcel.id);
        if *parcel.payload == *b"online" {
            return;
        }
    }
}

/// The devices that may come in; none when they cannot be read.
async fn known(operators: &Operators) -> Option<Vec<About>> {
    let all = match devices::list(&*operators.store, MOST_DEVICES).await {
        Ok(all) => all,
        Err(error) => {
            tracing::error!(%error, "devices cannot be read: home assistant is told of no change");
            return None;
        }
    };
    let about = |device: Device| About { device: device.id, name: device.settings.name, area: device.settings.room };
    Some(all.into_iter().filter(|device| device.standing().status == Status::Activated).map(about).collect())
}

fn doing(info: Info) -> Doing {
    let word = serde_json::to_value(info.state).ok().and_then(|word| word.as_str().map(str::to_owned));
    let (session, state) = (info.session.to_string(), word.unwrap_or_default());
    Doing { device: info.device, state, session, turns: info.turns }
}

//! All that the gateway counts, room by room: what `/metrics` serves and `docs/metrics.md` lists.

use std::fmt;

use prometheus_client::registry::Registry;

use super::answers;
use crate::door::http::{control, conversation, devices, talk, vision as photos};
use crate::door::{credentials, enrolment, mqtt, udp};
use crate::engine::supervisor;
use crate::pipeline::{sos, vision, voice};
use crate::{
    audio, bridge, cache, delivery, lifelog, observe, operations, policy, provider, session, store, tasks, telemetry,
};

/// Each room's metrics, registered. The engine supervisor's are apart: it runs only where local engines are wanted.
pub(super) struct Metrics {
    pub store: store::Metrics,
    pub lifelog: lifelog::Metrics,
    pub mqtt: mqtt::Metrics,
    pub credentials: credentials::Metrics,
    pub enrolment: enrolment::Metrics,
    pub devices: devices::Metrics,
    pub control: control::Metrics,
    pub websocket: conversation::Metrics,
    pub photos: photos::Metrics,
    pub talk: talk::Metrics,
    pub udp: udp::Metrics,
    pub bridge: bridge::Metrics,
    pub workers: audio::workers::Metrics,
    pub audio: audio::Metrics,
    pub turn_model: audio::ending::Metrics,
    pub providers: provider::pool::Metrics,
    pub answers: answers::Metrics,
    pub warm: provider::warm::Metrics,
    pub cache: cache::Metrics,
    pub voice: voice::Metrics,
    pub vision: vision::Metrics,
    pub sos: sos::Metrics,
    pub policy: policy::Metrics,
    pub delivery: delivery::Metrics,
    pub operations: operations::Metrics,
    pub tasks: tasks::Metrics,
    pub session: session::Metrics,
    pub telemetry: telemetry::Metrics,
}

impl Metrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            store: store::Metrics::register(registry),
            lifelog: lifelog::Metrics::register(registry),
            mqtt: mqtt::Metrics::register(registry),
            credentials: credentials::Metrics::register(registry),
            enrolment: enrolment::Metrics::register(registry),
            devices: devices::Metrics::register(registry),
            control: control::Metrics::register(registry),
            websocket: conversation::Metrics::register(registry),
            photos: photos::Metrics::register(registry),
            talk: talk::Metrics::register(registry),
            udp: udp::Metrics::register(registry),
            bridge: bridge::Metrics::register(registry),
            workers: audio::workers::Metrics::register(registry),
            audio: audio::Metrics::register(registry),
            turn_model: audio::ending::Metrics::register(registry),
            providers: provider::pool::Metrics::register(registry),
            answers: answers::Metrics::register(registry),
            warm: provider::warm::Metrics::register(registry),
            cache: cache::Metrics::register(registry),
            voice: voice::Metrics::register(registry),
            vision: vision::Metrics::register(registry),
            sos: sos::Metrics::register(registry),
            policy: policy::Metrics::register(registry),
            delivery: delivery::Metrics::register(registry),
            operations: operations::Metrics::register(registry),
            tasks: tasks::Metrics::register(registry),
            session: session::Metrics::register(registry),
            telemetry: telemetry::Metrics::register(registry),
        }
    }
}

/// `docs/metrics.md`: every metric of a gateway with local engines, from the very registry that `/metrics` serves.
pub fn reference() -> Result<String, fmt::Error> {
    let mut registry = observe::registry();
    let metrics = Metrics::register(&mut registry);
    let engine = supervisor::Metrics::register(&mut registry);
    metrics.store.show_labels();
    metrics.turn_model.show_labels();
    metrics.mqtt.show_labels();
    metrics.credentials.show_labels();
    metrics.enrolment.show_labels();
    metrics.devices.show_labels();
    metrics.control.show_labels();
    metrics.websocket.show_labels();
    metrics.photos.show_labels();
    metrics.talk.show_labels();
    metrics.udp.show_labels();
    metrics.bridge.show_labels();
    metrics.providers.show_labels();
    metrics.answers.show_labels();
    metrics.warm.show_labels();
    metrics.cache.show_labels();
    metrics.voice.show_labels();
    metrics.vision.show_labels();
    metrics.sos.show_labels();
    metrics.policy.show_labels();
    metrics.delivery.show_labels();
    metrics.operations.show_labels();
    metrics.tasks.show_labels();
    metrics.session.show_labels();
    metrics.telemetry.show_labels();
    engine.show_labels();
    observe::reference(&registry)
}

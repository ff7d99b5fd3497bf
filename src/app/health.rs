//! How the gateway's parts are, for `/-/ready`, `/-/healthy`, `voxgate status` and the watchdog.

use std::sync::Arc;

use crate::audio::{TurnModel, VadModel};
use crate::bridge::Bridges;
use crate::config::Config;
use crate::domain::Current;
use crate::door::mqtt::Bus;
use crate::engine::supervisor::{State as EngineState, View};
use crate::observe::{Component, Health};
use crate::pipeline::voice::Phrases;
use crate::store::SledStore;

const PULL: &str = "voxgate models pull";
const PULL_TURN: &str = "voxgate models pull smart-turn-v3.2";

pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) store: Arc<SledStore>,
    pub(super) bus: Arc<Bus>,
    pub(super) vad: VadModel,
    pub(super) turn_model: TurnModel,
    /// None: nothing is to come from the local engines.
    pub(super) engine: Option<View>,
    pub(super) phrases: Current<Phrases>,
    pub(super) bridges: Bridges,
}

impl Health for Parts {
    fn report(&self) -> Vec<Component> {
        let mut parts = vec![self.store(), self.bus(), self.vad(), self.turn_model(), self.engine(), self.apology()];
        parts.extend(self.bridges.components());
        parts
    }

    fn alive(&self) -> Result<(), String> {
        if self.store.health().writer { Ok(()) } else { Err("the store's writer has died".to_owned()) }
    }
}

impl Parts {
    fn store(&self) -> Component {
        let health = self.store.health();
        let dir = self.config.gateway.data_dir.display();
        if !health.writer {
            return Component::missing("store", "its writer has died", "restart the gateway");
        }
        if let Some(error) = health.broken {
            return Component::missing("store", error.to_string(), format!("look at the disk of {dir}"));
        }
        if health.low {
            let detail = format!("only {} MB are free: new records are refused", health.free >> 20);
            return Component::missing("store", detail, format!("make room on the disk of {dir}"));
        }
        Component::ready("store", format!("{} MB free", health.free >> 20))
    }

    fn bus(&self) -> Component {
        if self.bus.degraded() {
            Component::degraded("bus", "operators' clients are not served", "restart the gateway").optional()
        } else {
            Component::ready("bus", "serves operators' clients").optional()
        }
    }

    fn vad(&self) -> Component {
        match self.vad.fallback() {
            Some(why) => Component::degraded("vad", format!("{}: {why}", self.vad.name()), PULL).optional(),
            None => Component::ready("vad", self.vad.name()).optional(),
        }
    }

    fn turn_model(&self) -> Component {
        match self.turn_model.missing() {
            None => Component::ready("turn_model", "smart-turn-v3.2").optional(),
            Some(why) if !self.config.voice.endpoint.model => Component::ready("turn_model", why).optional(),
            Some(why) => {
                Component::degraded("turn_model", format!("silence alone ends a turn: {why}"), PULL_TURN).optional()
            }
        }
    }

    /// The engine is required when some capability is to come from it.
    fn engine(&self) -> Component {
        let Some(engine) = &self.engine else {
            return Component::ready("engine", "not needed: every provider is configured").optional();
        };
        match engine.state() {
            EngineState::Ready => Component::ready("engine", "all its models are loaded"),
            EngineState::Starting => Component::missing("engine", "starting", "wait a moment"),
            EngineState::Degraded(why) => Component::degraded("engine", why, PULL),
            EngineState::Down(why) => Component::missing("engine", why, format!("look at the log; {PULL}")),
        }
    }

    fn apology(&self) -> Component {
        if self.phrases.now().made() {
            Component::ready("apology", "spoken by the configured voice").optional()
        } else {
            Component::degraded("apology", "the built-in one is spoken", "it is made when speech works").optional()
        }
    }
}

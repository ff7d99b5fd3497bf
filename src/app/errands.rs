//! What tasks ask of devices, answered by the router and the doors; and the agent that works on tasks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Operators, StartError};
use crate::admin::Admin;
use crate::config::Config;
use crate::domain::{Clock, DeviceId, dialect};
use crate::provider::ChatModel;
use crate::store::records::devices;
use crate::tasks::{Agent, AgentParts, DeviceTool, Devices, Work};

/// A board has so long to tell its tools.
const TOOLS: Duration = Duration::from_secs(5);

/// The devices of a running gateway.
struct Connected(Arc<Operators>);

impl Connected {
    /// As it speaks now, or as its record has it.
    async fn is_a_board(&self, device: &DeviceId) -> bool {
        let live = self.0.router.sessions().into_iter().find(|info| info.device == *device);
        if live.is_some_and(|info| info.dialect == dialect::XIAOZHI) {
            return true;
        }
        let record = devices::get(&*self.0.store, device).await.ok().flatten();
        record.and_then(|record| record.settings.dialect).as_deref() == Some(dialect::XIAOZHI)
    }
}

#[async_trait]
impl Devices for Connected {
    async fn tools(&self, device: &DeviceId) -> Vec<DeviceTool> {
        let operators = &self.0;
        if !operators.delivery.is_connected(device) {
            return Vec::new();
        }
        // others have no tools that tell of themselves, and would be waited for in vain
        if !self.is_a_board(device).await {
            return Vec::new();
        }
        let Ok(Ok(tools)) = tokio::time::timeout(TOOLS, operators.router.tools(device)).await else {
            return Vec::new();
        };
        let offered = tools.iter().filter(|tool| !tool.user_only);
        let tool = |tool: &crate::session::Tool| DeviceTool {
            name: tool.name.clone(),
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
        };
        offered.map(tool).collect()
    }

    async fn call(&self, device: &DeviceId, name: &str, arguments: Value) -> Result<String, String> {
        self.0.router.call_tool(device, name.to_owned(), arguments).await.map_err(|error| error.to_string())
    }

    async fn state(&self, device: &DeviceId) -> Value {
        let Ok(state) = self.0.device_state(device.clone()).await else {
            return json!({"connected": false});
        };
        // what a model may know: neither whose it is nor where it comes from
        json!({"connected": state.online, "conversation": state.state, "turns": state.turns})
    }

    fn outbox_changed(&self, device: &DeviceId) {
        self.0.router.outbox_changed(device);
    }
}

/// Who works on tasks, and the devices. Reads secrets and certificates; starts nothing.
pub(super) async fn open(
    config: &Arc<Config>,
    operators: &Arc<Operators>,
    chat: &Arc<dyn ChatModel>,
    (clock, random): (&Arc<dyn Clock>, &Arc<dyn Fn() -> u128 + Send + Sync>),
) -> Result<(Arc<dyn Work>, Arc<dyn Devices>), StartError> {
    let devices: Arc<dyn Devices> = Arc::new(Connected(Arc::clone(operators)));
    let (config, chat, offered) = (Arc::clone(config), Arc::clone(chat), Arc::clone(&devices));
    let (clock, random) = (Arc::clone(clock), Arc::clone(random));
    let make = move || {
        Agent::new(AgentParts {
            settings: &config.tasks,
            http: &config.http_client,
            chat,
            devices: offered,
            clock,
            zone: config.voice.reply.zone(),
            random,
        })
    };
    let agent =
        tokio::task::spawn_blocking(make).await.map_err(|error| StartError::Interrupted(error.to_string()))??;
    Ok((Arc::new(agent), devices))
}

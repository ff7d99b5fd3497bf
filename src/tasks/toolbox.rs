//! The tools of one task: those of its device, a few of the gateway's, web pages, those of MCP servers; by names that
//! models take, no two alike.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::mcp::Server;
use crate::domain::DeviceId;
use crate::provider::ToolSpec;

/// Longest name of a function, as models take them.
const NAME: usize = 64;
/// Most tools that a model is offered.
const MOST: usize = 128;

/// A tool of a device that a model may know of.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceTool {
    /// As the device calls it.
    pub name: String,
    /// What it does, in the device's words.
    pub description: String,
    /// JSON Schema of its arguments: an object.
    pub parameters: Value,
}

/// What tasks ask of devices.
#[async_trait]
pub trait Devices: Send + Sync {
    /// The tools of a device that a model may know of; none when it is away or has none.
    async fn tools(&self, device: &DeviceId) -> Vec<DeviceTool>;

    /// Calls one; its answer as text, or why there is none, in words for the model.
    async fn call(&self, device: &DeviceId, name: &str, arguments: Value) -> Result<String, String>;

    /// How a device is, for the model: a JSON object without secrets.
    async fn state(&self, device: &DeviceId) -> Value;

    /// Its outbox has something new.
    fn outbox_changed(&self, device: &DeviceId);
}

/// Where a tool is.
#[derive(Clone)]
pub(super) enum Place {
    /// The clock.
    Time,
    /// How the task's device is.
    Status,
    /// The model says that it cannot be done.
    GiveUp,
    /// A web page.
    Web,
    /// The task's device.
    Device(String),
    /// An MCP server.
    Mcp(Arc<Server>, String),
}

impl Place {
    /// The label in metrics.
    pub(super) fn source(&self) -> &'static str {
        match self {
            Place::Time | Place::Status | Place::GiveUp => "gateway",
            Place::Web => "web",
            Place::Device(_) => "device",
            Place::Mcp(..) => "mcp",
        }
    }

    /// A call of it can be what was asked for: to read the clock, or to give up, is not.
    pub(super) fn does_something(&self) -> bool {
        !matches!(self, Place::Time | Place::GiveUp)
    }
}

/// The tools of one task.
#[derive(Default)]
pub(super) struct Toolbox {
    tools: Vec<(ToolSpec, Place)>,
}

impl Toolbox {
    /// Those that every task has.
    pub(super) fn new(device: bool, web: bool) -> Self {
        let mut toolbox = Self::default();
        let nothing = json!({"type": "object", "properties": {}});
        toolbox.add("current_time", "The date, weekday and time where the person is.", nothing.clone(), Place::Time);
        let reason = json!({"type": "object", "required": ["reason"], "properties": {"reason": {"type": "string",
            "description": "What to tell the person, in the language of the task."}}});
        let what = "Call this when the task cannot be done, or not with these tools. It ends the task as failed.";
        toolbox.add("give_up", what, reason, Place::GiveUp);
        if device {
            let what = "Whether the person's device is connected, and what is known of it.";
            toolbox.add("device_status", what, nothing, Place::Status);
        }
        if web {
            let url = json!({"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}});
            toolbox.add("web_fetch", "Reads the text of a public web page, by http or https.", url, Place::Web);
        }
        toolbox
    }

    /// One more, under a name that models take and no other has.
    pub(super) fn add(&mut self, name: &str, description: &str, parameters: Value, place: Place) {
        if self.tools.len() >= MOST {
            return;
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
        let base: String = name.chars().map(plain).take(NAME - 4).collect();
        let taken = |name: &str| self.tools.iter().any(|(spec, _)| spec.name == name);
        let numbered = (2..=MOST).map(|n| format!("{base}_{n}"));
        let Some(name) = std::iter::once(base.clone()).chain(numbered).find(|name| !taken(name)) else { return };
        let spec = ToolSpec { name, description: description.to_owned(), parameters };
        self.tools.push((spec, place));
    }

    /// As the model is told of them.
    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        self.tools.iter().map(|(spec, _)| spec.clone()).collect()
    }

    /// The one of a name.
    pub(super) fn find(&self, name: &str) -> Option<Place> {
        self.tools.iter().find(|(spec, _)| spec.name == name).map(|(_, place)| place.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    #[test]
    fn no_tool_takes_the_name_of_another_and_none_is_a_shell() {
        let mut toolbox = Toolbox::new(true, true);
        for name in ["current.time", "give_up", "self.light.set", "self_light.set"] {
            toolbox.add(name, "", json!({}), Place::Device(name.to_owned()));
        }
        let names: Vec<String> = toolbox.specs().into_iter().map(|spec| spec.name).collect();
        let expected = [
            "current_time",
            "give_up",
            "device_status",
            "web_fetch",
            "current_time_2",
            "give_up_2",
            "self_light_set",
            "self_light_set_2",
        ];
        assert_eq!(names, expected);
        assert!(matches!(toolbox.find("give_up"), Some(Place::GiveUp)), "a device cannot take its place");
        assert!(toolbox.find("exec").is_none() && toolbox.find("shell").is_none());
        for n in 0..500 {
            toolbox.add(&format!("t{n}"), "", json!({}), Place::Web);
        }
        assert_eq!(toolbox.specs().len(), MOST);
    }
}

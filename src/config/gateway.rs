//! The settings of the gateway itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::{DeviceId, Problem};

/// The gateway itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The gateway's name, as in the topics `gateway/{name}/…`: letters, digits and `_ . : -`, at most 64.
    /// Default: `voxgate`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_.:-]+$"))]
    pub name: String,
    /// The folder of everything that must survive: store, images, models, secrets. A relative path starts at the
    /// working directory. Default: `/var/lib/voxgate`.
    pub data_dir: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self { name: "voxgate".to_owned(), data_dir: PathBuf::from("/var/lib/voxgate") }
    }
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        // a gateway's name has the alphabet of an id, because it is a level of a topic
        if let Err(error) = DeviceId::parse(&self.name) {
            let remedy = "write a short plain name, as in \"kitchen\"";
            problems.push(Problem::new(format!("{path}.name"), error.to_string(), remedy));
        }
        if self.data_dir.as_os_str().is_empty() {
            let remedy = "name a folder that the gateway may write to";
            problems.push(Problem::new(format!("{path}.data_dir"), "is empty", remedy));
        }
        problems
    }
}

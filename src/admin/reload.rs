//! What came of reading the configuration anew.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What came of it. Keys are told, never their values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// Keys that are other than before, and count from the next turn on. The files and variables of keys were read in any case.
    pub renewed: Vec<String>,
    /// Keys that are other than before, and count from the next start on.
    pub restart: Vec<String>,
}

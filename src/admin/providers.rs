//! How the services stand that a gateway asks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderState {
    /// It is asked.
    Asked,
    /// It failed too often and is left alone for `left_alone_ms`; at 0 the next request tries it.
    LeftAlone,
    /// One request tries whether it is back.
    Tried,
}

/// Why a weight is what it is: what the configured one is multiplied with; the product stays within 0.25 and 4.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WeightTerms {
    /// 0.5 to 2: how fast the service is beside the others.
    pub latency: f64,
    /// 0 to 1: the square of the share of requests that it answered.
    pub errors: f64,
    /// 0.5 to 1: how much of its time it is at work.
    pub load: f64,
    /// 0.5 to 2: how cheap it is beside the others.
    pub cost: f64,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderRow {
    /// `stt`, `tts`, `chat`, `embed`, `vision`.
    pub capability: String,
    /// 0 is the service itself, 1 the first that stands in.
    pub route: u32,
    /// Its type in the configuration.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it stands.
    pub state: ProviderState,
    /// For how long it is left alone yet.
    pub left_alone_ms: u64,
    /// The configured weight.
    #[serde(default)]
    pub weight: Option<u32>,
    /// What it has become; 1 stands where none is configured.
    pub present_weight: f64,
    /// Why.
    pub why: WeightTerms,
    /// What a request costs.
    pub cost: f64,
    /// Which chat requests it is for: `all`, `simple`, `complex`.
    #[serde(rename = "for")]
    pub suits: String,
    /// Requests that it works on.
    pub in_flight: u64,
    /// Requests that wait for it.
    pub queued: u64,
    /// How many it works on at once; none: no limit.
    #[serde(default)]
    pub at_once: Option<u32>,
    /// Half of the answers began sooner; none: too few were measured in the last ten minutes.
    #[serde(default)]
    pub p50_ms: Option<u64>,
    /// 95 of 100 answers began sooner.
    #[serde(default)]
    pub p95_ms: Option<u64>,
    /// Requests of the last five minutes that have ended.
    pub asked: u64,
    /// Those that failed.
    pub failed: u64,
}

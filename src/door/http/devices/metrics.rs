//! What is counted about the devices' HTTP.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Connections by how they began or why not.
pub const CONNECTS: &str = "voxgate_devices_http_connects";
/// Open connections.
pub const CONNECTIONS: &str = "voxgate_devices_http_connections";
/// Requests for credentials, by result.
pub const OTA_REQUESTS: &str = "voxgate_ota_requests";
/// Requests for credentials that were answered although their body made no sense.
pub const OTA_BODIES: &str = "voxgate_ota_unreadable_bodies";
/// Questions whether a board was claimed, by result.
pub const ACTIVATIONS: &str = "voxgate_ota_activations";
/// Offers of new firmware.
pub const OFFERS: &str = "voxgate_firmware_offers";
/// New firmware that was not offered, since the board has no room for it.
pub const OUTGROWN: &str = "voxgate_firmware_too_large";
/// Requests for firmware, by result.
pub const DOWNLOADS: &str = "voxgate_firmware_downloads";
/// Bytes of firmware that were sent.
pub const BYTES: &str = "voxgate_firmware_sent_bytes";

/// How a connection began.
pub const CONNECT_RESULTS: [&str; 5] = ["ok", "limit", "address_limit", "tls", "accept_error"];
/// What a request for credentials comes to.
pub const OTA_RESULTS: [&str; 16] = [
    "known",
    "expected",
    "allowed",
    "bring_up",
    "pending",
    "full",
    "barred",
    "bad_device",
    "bad_client",
    "bad_host",
    "origin",
    "limited",
    "too_large",
    "slow",
    "no_listener",
    "failed",
];
/// What a question whether a board was claimed comes to.
pub const ACTIVATION_RESULTS: [&str; 11] = [
    "done",
    "waiting",
    "unknown",
    "stale",
    "bad_device",
    "bad_client",
    "origin",
    "limited",
    "too_large",
    "slow",
    "failed",
];
/// What a request for firmware comes to.
pub const DOWNLOAD_RESULTS: [&str; 9] =
    ["whole", "part", "unchanged", "bad_range", "forged", "gone", "busy", "limited", "failed"];

type Labels = [(&'static str, &'static str); 1];

/// Counters; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(super) open: Gauge<i64, AtomicI64>,
    pub(super) unreadable: Counter,
    pub(super) offers: Counter,
    pub(super) outgrown: Counter,
    pub(super) bytes: Counter,
    connects: Family<Labels, Counter>,
    requests: Family<Labels, Counter>,
    activations: Family<Labels, Counter>,
    downloads: Family<Labels, Counter>,
}

impl Metrics {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Connections to the devices' HTTP, by how they began or why not";
        registry.register(CONNECTS, help, metrics.connects.clone());
        registry.register(CONNECTIONS, "Open connections of the devices' HTTP", metrics.open.clone());
        registry.register(OTA_REQUESTS, "Requests of boards for credentials, by result", metrics.requests.clone());
        let help = "Requests for credentials that were answered although their body could not be read";
        registry.register(OTA_BODIES, help, metrics.unreadable.clone());
        let help = "Questions of boards whether they were claimed, by result";
        registry.register(ACTIVATIONS, help, metrics.activations.clone());
        registry.register(OFFERS, "Answers to boards that offered new firmware", metrics.offers.clone());
        let help = "Answers to boards whose partition is smaller than the new firmware for them";
        registry.register(OUTGROWN, help, metrics.outgrown.clone());
        registry.register(DOWNLOADS, "Requests for firmware, by result", metrics.downloads.clone());
        registry.register(BYTES, "Bytes of firmware that were sent", metrics.bytes.clone());
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for (family, results) in [
            (&self.connects, &CONNECT_RESULTS[..]),
            (&self.requests, &OTA_RESULTS),
            (&self.activations, &ACTIVATION_RESULTS),
            (&self.downloads, &DOWNLOAD_RESULTS),
        ] {
            for result in results {
                drop(family.get_or_create(&[("result", *result)]));
            }
        }
    }

    /// A connection began, or not; the result is one of [`CONNECT_RESULTS`].
    pub(super) fn connect(&self, result: &'static str) {
        debug_assert!(CONNECT_RESULTS.contains(&result), "{result} is missing in CONNECT_RESULTS");
        self.connects.get_or_create(&[("result", result)]).inc();
    }

    /// A request for credentials; the result is one of [`OTA_RESULTS`].
    pub(super) fn request(&self, result: &'static str) {
        debug_assert!(OTA_RESULTS.contains(&result), "{result} is missing in OTA_RESULTS");
        self.requests.get_or_create(&[("result", result)]).inc();
    }

    /// A question whether a board was claimed; the result is one of [`ACTIVATION_RESULTS`].
    pub(super) fn activation(&self, result: &'static str) {
        debug_assert!(ACTIVATION_RESULTS.contains(&result), "{result} is missing in ACTIVATION_RESULTS");
        self.activations.get_or_create(&[("result", result)]).inc();
    }

    /// A request for firmware; the result is one of [`DOWNLOAD_RESULTS`].
    pub(super) fn download(&self, result: &'static str) {
        debug_assert!(DOWNLOAD_RESULTS.contains(&result), "{result} is missing in DOWNLOAD_RESULTS");
        self.downloads.get_or_create(&[("result", result)]).inc();
    }

    /// How many requests for credentials had this result.
    #[cfg(test)]
    pub(super) fn requests(&self, result: &'static str) -> u64 {
        self.requests.get_or_create(&[("result", result)]).get()
    }
}

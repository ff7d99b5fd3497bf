//! The registry of metrics and its text form.
//!
//! A room registers its own families with names that begin with `voxgate_`; nothing here knows them.

use std::fmt::Write as _;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::process::Process;

/// The content type of [`encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Which build runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BuildInfo {
    /// The version of the package.
    pub version: String,
    /// `x86_64`, `aarch64`, …
    pub arch: String,
    /// The local engines are compiled in.
    pub engine: String,
}

impl BuildInfo {
    /// This build.
    pub fn current() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            engine: cfg!(feature = "engine").to_string(),
        }
    }
}

/// A registry with what every process has: its build and its cost.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register("voxgate_build", "Which build runs", Info::new(BuildInfo::current()));
    registry.register_collector(Box::new(Process));
    registry
}

/// The registry in OpenMetrics text, as `/metrics` answers.
pub fn encode(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut out = String::with_capacity(16 << 10);
    text::encode(&mut out, registry)?;
    Ok(out)
}

/// The reference of a registry's metrics, as `docs/metrics.md` has it: name and meaning, sorted.
///
/// A family without a sample is no part of the text that [`encode`] gives, so names and help are read
/// from the registry's `Debug` form, which has them all; a collector's are read from the text.
pub fn reference(registry: &Registry) -> Result<String, std::fmt::Error> {
    let (encoded, debug) = (encode(registry)?, format!("{registry:?}"));
    let mut rows = described(&encoded, "# HELP ", " ", "\n");
    rows.extend(described(&debug, "Descriptor { name: \"", "\", help: \"", "\", unit"));
    rows.sort_unstable();
    rows.dedup();
    let mut out = String::from(
        "# Metrics\n\nServed as OpenMetrics text by `GET /metrics` (`[http] listen`). A counter's samples end in `_total`, \
         a histogram's in `_bucket`, `_sum` and `_count`.\nGenerated from the code by `UPDATE_DOCS=1 cargo test`: do not edit.\n\n\
         | metric | meaning |\n|---|---|\n",
    );
    for (name, help) in rows {
        writeln!(out, "| `{name}` | {} |", help.trim_end_matches('.').replace('|', "\\|"))?;
    }
    Ok(out)
}

/// Every name and help that stand between `before`, `between` and `after`.
fn described<'a>(text: &'a str, before: &str, between: &str, after: &str) -> Vec<(&'a str, &'a str)> {
    let row = |rest: &'a str| rest.split_once(after)?.0.split_once(between);
    text.split(before).skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Why {
        reason: &'static str,
    }

    #[test]
    fn every_process_says_its_build_and_its_memory() {
        let text = encode(&registry()).expect("encodes");
        assert!(text.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn the_reference_lists_a_family_that_has_no_sample_yet() {
        let mut registry = super::registry();
        let family = Family::<Why, Counter>::default();
        registry.register("voxgate_drops", "Frames dropped", family);
        let text = reference(&registry).expect("encodes");
        assert_eq!(text.matches("voxgate_drops").count(), 1, "{text}");
        assert!(text.contains("| `voxgate_drops` | Frames dropped |"), "{text}");
        assert!(text.contains("| `process_threads` | Threads of the gateway's process |"), "{text}");
    }
}

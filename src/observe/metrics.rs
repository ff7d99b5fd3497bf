//! The registry of metrics and its text form.
//!
//! A room registers its own families with names that begin with `voxgate_`; nothing here knows them.

use std::collections::{BTreeMap, BTreeSet};
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

/// The reference of a registry's metrics, as `docs/metrics.md` has it: name, type, unit, labels and meaning, sorted.
///
/// It is read from the text that [`encode`] gives, which leaves out a family without a sample: whoever asks
/// has made a sample of each label value before. The values of a label that is open (of an info metric, as
/// they tell the build) are not listed.
pub fn reference(registry: &Registry) -> Result<String, std::fmt::Error> {
    let encoded = encode(registry)?;
    let families = families(&encoded);
    let mut out = String::from(
        "# Metrics\n\nServed as OpenMetrics text by `GET /metrics` (`[http] listen`). A counter's samples end in `_total`, \
         a histogram's in `_bucket`, `_sum` and `_count`;\nall numbers count from the start of the process. A sample with \
         labels appears when it first counts.\nGenerated from the code by `UPDATE_DOCS=1 cargo test --test docs`: do not edit.\n\n\
         | metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n",
    );
    for (name, family) in families {
        let help = family.help.trim_end_matches('.').replace('|', "\\|");
        let (unit, labels) = (family.unit(name), family.labels());
        writeln!(out, "| `{name}` | {} | {unit} | {labels} | {help} |", family.kind)?;
    }
    Ok(out)
}

/// What the text says of one metric.
#[derive(Debug, Default)]
struct Described<'a> {
    kind: &'a str,
    unit: &'a str,
    help: &'a str,
    /// Values by label, sorted: the order in the text is that of a hash map.
    labels: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl Described<'_> {
    /// The unit that was registered, else the one that the name ends in.
    fn unit(&self, name: &str) -> &'static str {
        let of = |word: &str| match word {
            "seconds" => Some("s"),
            "bytes" => Some("bytes"),
            _ => None,
        };
        of(self.unit).or_else(|| of(name.rsplit('_').next()?)).unwrap_or("–")
    }

    fn labels(&self) -> String {
        let one = |(name, values): (&&str, &BTreeSet<&str>)| match self.kind {
            "info" => format!("`{name}`"),
            _ => format!("`{name}`: {}", values.iter().copied().collect::<Vec<_>>().join(", ")),
        };
        self.labels.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// Every metric of an OpenMetrics text.
fn families(text: &str) -> BTreeMap<&str, Described<'_>> {
    let mut families: BTreeMap<&str, Described<'_>> = BTreeMap::new();
    let mut current = "";
    for line in text.lines() {
        if let Some((what, rest)) = line.strip_prefix("# ").and_then(|rest| rest.split_once(' ')) {
            let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
            current = name;
            let family = families.entry(name).or_default();
            match what {
                "HELP" => family.help = value,
                "TYPE" => family.kind = value,
                "UNIT" => family.unit = value,
                _ => {}
            }
        } else if let (Some(family), Some((_, rest))) = (families.get_mut(current), line.split_once('{'))
            && let Some((labels, _)) = rest.split_once('}')
        {
            for (label, value) in labels.split(',').filter_map(|pair| pair.split_once('=')) {
                family.labels.entry(label).or_default().insert(value.trim_matches('"'));
            }
            // the bounds of a histogram's buckets are no label of ours
            family.labels.remove("le");
        }
    }
    families.retain(|_, family| !family.kind.is_empty());
    families
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::histogram::Histogram;

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
    fn the_reference_tells_type_unit_and_labels() {
        let mut registry = super::registry();
        let family = Family::<Why, Counter>::default();
        registry.register("voxgate_drops", "Frames dropped", family.clone());
        for reason in ["late", "full"] {
            drop(family.get_or_create(&Why { reason }));
        }
        let took = Histogram::new([0.1, 1.0]);
        registry.register("voxgate_wait_seconds", "Time waited", took);
        let text = reference(&registry).expect("encodes");
        let drops = text.lines().find(|line| line.contains("voxgate_drops")).expect("a line");
        assert!(drops.contains("| counter | – | `reason`: ") && drops.ends_with(" | Frames dropped |"), "{drops}");
        assert!(drops.contains("late") && drops.contains("full"), "{drops}");
        assert!(text.contains("| `voxgate_wait_seconds` | histogram | s |  | Time waited |"), "{text}");
        assert!(text.contains("| `process_threads` | gauge | – |  | Threads of the gateway's process |"), "{text}");
        assert!(text.contains("| `voxgate_build` | info | – | `arch`; `engine`; `version` |"), "no value: {text}");
    }
}

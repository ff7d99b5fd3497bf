//! `[policy]`: what is watched where, and how strictly.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::interaction;
use crate::domain::{Problem, Profile, dialect};

/// Least limit of a reply, characters: a warning has to fit.
const SHORTEST: usize = 64;

/// What is said is looked at for danger, and on canes put right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Look at what is said at all; `false` is as if every device had the profile `off`. Default true.
    pub enabled: bool,
    /// How closely devices are watched that have no profile of their own (`voxgate device set ID --policy`): `off`;
    /// `audit`: judged, counted and noted in the turn's record, every word said as it is; `cane`: risks are announced,
    /// contradictions and doubtful directions replaced. Default "audit".
    pub profile: Profile,
    /// The same for devices that speak OpenCane's dialect. Default "cane".
    pub opencane_profile: Profile,
    /// A folder of language packs (`*.toml`) of your own: they replace the built-in ones of their language, or add a
    /// language. Checked at start. Default none.
    pub packs: Option<PathBuf>,
    /// With less confidence than this (0 to 1) a fixed message is said instead, where the model told its confidence.
    /// Default 0.55.
    pub low_confidence: f32,
    /// With less confidence than this (0 to 1) no direction is told beside a risk, where the model told its confidence.
    /// Default 0.85.
    pub directional_confidence: f32,
    /// Put a warning before what is P0 or P1 and does not warn by itself. Default true.
    pub caution: bool,
    /// Replace what sends somebody left and right at once, and doubtful directions beside a risk. Default true.
    pub guard: bool,
    /// Longest reply of a device with the profile `cane`, characters; cut at the end of a sentence. Default 320.
    pub max_output_chars: usize,
    /// When to be silent, and what to say unasked.
    pub interaction: interaction::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            profile: Profile::Audit,
            opencane_profile: Profile::Cane,
            packs: None,
            low_confidence: 0.55,
            directional_confidence: 0.85,
            caution: true,
            guard: true,
            max_output_chars: 320,
            interaction: interaction::Settings::default(),
        }
    }
}

impl Settings {
    /// What is wrong with these settings.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let shares = [("low_confidence", self.low_confidence), ("directional_confidence", self.directional_confidence)];
        for (key, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                let what = format!("{value} is out of range");
                problems.push(Problem::new(format!("{path}.{key}"), what, "use 0.0 to 1.0"));
            }
        }
        if !(SHORTEST..=100_000).contains(&self.max_output_chars) {
            problems.push(Problem::new(
                format!("{path}.max_output_chars"),
                format!("{} is out of range", self.max_output_chars),
                format!("use {SHORTEST} to 100000 characters"),
            ));
        }
        if let Some(folder) = self.packs.as_ref().filter(|folder| folder.as_os_str().is_empty()) {
            let what = format!("{:?} is no folder", folder.display().to_string());
            problems.push(Problem::new(format!("{path}.packs"), what, "name a folder, or leave it out"));
        }
        problems.extend(self.interaction.check(&format!("{path}.interaction")));
        problems
    }

    /// How closely a device is watched that has this profile of its own and speaks this dialect.
    pub fn profile_of(&self, own: Option<Profile>, speaks: &str) -> Profile {
        if !self.enabled {
            return Profile::Off;
        }
        own.unwrap_or(if speaks == dialect::OPENCANE { self.opencane_profile } else { self.profile })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cane_is_watched_as_one_and_a_toy_only_looked_at_unless_an_operator_says_otherwise() {
        let settings = Settings::default();
        assert_eq!(settings.profile_of(None, dialect::OPENCANE), Profile::Cane);
        assert_eq!(settings.profile_of(None, dialect::XIAOZHI), Profile::Audit);
        assert_eq!(settings.profile_of(Some(Profile::Cane), dialect::NATIVE), Profile::Cane);
        assert_eq!(settings.profile_of(Some(Profile::Off), dialect::OPENCANE), Profile::Off);
        let off = Settings { enabled: false, ..Settings::default() };
        assert_eq!(off.profile_of(Some(Profile::Cane), dialect::OPENCANE), Profile::Off);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let settings = Settings {
            low_confidence: 1.5,
            directional_confidence: f32::NAN,
            max_output_chars: 10,
            packs: Some(PathBuf::new()),
            ..Settings::default()
        };
        let keys: Vec<String> = settings.check("policy").into_iter().map(|problem| problem.key).collect();
        let expected = ["low_confidence", "directional_confidence", "max_output_chars", "packs"];
        assert_eq!(keys, expected.map(|key| format!("policy.{key}")));
        assert_eq!(Settings::default().check("policy"), []);
    }
}

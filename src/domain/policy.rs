//! What rooms tell each other of safety: how grave something is, how closely a device's words are watched, and what is to
//! be written down of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How grave something is; the first is the worst.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum Level {
    /// Life is at risk now: traffic, fire, gas, a fall.
    P0,
    /// One step from harm: stairs, a crossing, an obstacle.
    P1,
    /// Uncertain.
    P2,
    /// Nothing of the kind.
    #[default]
    P3,
}

impl Level {
    /// All of them, the worst first.
    pub const ALL: [Level; 4] = [Level::P0, Level::P1, Level::P2, Level::P3];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Level::P0 => "P0",
            Level::P1 => "P1",
            Level::P2 => "P2",
            Level::P3 => "P3",
        }
    }

    /// Reads `P0` to `P3`, also in small letters.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(text.trim()))
    }

    /// The worse of two.
    #[must_use]
    pub fn or_worse(self, other: Self) -> Self {
        self.min(other)
    }

    /// Somebody may come to harm: P0 or P1.
    pub fn is_high(self) -> bool {
        self <= Level::P1
    }
}

/// How closely what is said on a device is watched.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Not at all.
    Off,
    /// Looked at, counted and noted in the turn's record; every word is said as it is.
    #[default]
    Audit,
    /// As on a cane: risks are announced, contradictions and doubtful directions are replaced.
    Cane,
}

impl Profile {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Off => "off",
            Profile::Audit => "audit",
            Profile::Cane => "cane",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Option<Self> {
        [Profile::Off, Profile::Audit, Profile::Cane].into_iter().find(|profile| profile.name() == text.trim())
    }
}

/// Which policy stepped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// What is said.
    Safety,
    /// Whether it is said.
    Interaction,
}

/// That a policy stepped in, for the lifelog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Which.
    pub policy: Policy,
    /// What it did and why: a JSON object.
    pub body: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_two_levels_is_the_one_with_the_smaller_number() {
        assert_eq!(Level::P3.or_worse(Level::P1), Level::P1);
        assert_eq!(Level::parse(" p0"), Some(Level::P0));
        assert_eq!(Level::parse("P4"), None);
        assert!(Level::P1.is_high() && !Level::P2.is_high());
    }
}

//! A row's pattern: literal levels and levels with a variable.

use super::TopicsError;

/// One level of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    /// Exactly this.
    Word(String),
    /// A device id behind a fixed prefix.
    Device(String),
    /// Any one level that is not empty.
    Any,
    /// One of these words.
    OneOf(Vec<String>),
}

/// A pattern, with the gateway's name filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Level>);

/// What the variables of a pattern stand for in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Found<'t> {
    /// The device.
    pub device: &'t str,
    /// The `{kind}` or the `{a|b}` word.
    pub word: &'t str,
}

impl Pattern {
    /// Reads a pattern; `row` is for the error.
    pub(super) fn parse(pattern: &str, gateway: &str, row: &str) -> Result<Self, TopicsError> {
        let wrong = || TopicsError::Pattern { row: row.to_owned(), pattern: pattern.to_owned() };
        let levels = pattern.split('/').map(|level| Level::parse(level, gateway).ok_or_else(wrong));
        Ok(Self(levels.collect::<Result<_, _>>()?))
    }

    /// Takes a name apart.
    pub(super) fn find<'t>(&self, topic: &'t str) -> Option<Found<'t>> {
        let mut found = Found::default();
        let mut names = topic.split('/');
        for level in &self.0 {
            level.take(names.next()?, &mut found)?;
        }
        names.next().is_none().then_some(found)
    }

    /// Builds a name.
    pub(super) fn name(&self, device: &str, word: &str) -> String {
        let mut name = String::with_capacity(64);
        for (at, level) in self.0.iter().enumerate() {
            if at > 0 {
                name.push('/');
            }
            match level {
                Level::Word(text) => name.push_str(text),
                Level::Device(prefix) => {
                    name.push_str(prefix);
                    name.push_str(device);
                }
                Level::Any | Level::OneOf(_) => name.push_str(word),
            }
        }
        name
    }

    /// Every name that `filter` matches has this pattern (for `device`) as its beginning.
    pub(super) fn contains(&self, filter: &str, device: &str) -> bool {
        let mut wanted = filter.split('/');
        self.0.iter().all(|level| {
            let Some(text) = wanted.next() else { return false };
            match level {
                Level::Word(word) => word == text,
                Level::Device(prefix) => text.strip_prefix(prefix.as_str()) == Some(device),
                Level::Any | Level::OneOf(_) => false,
            }
        })
    }

    /// Some name fits both patterns.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.overlaps(b))
    }
}

impl Level {
    fn parse(level: &str, gateway: &str) -> Option<Self> {
        let Some((prefix, variable)) = level.split_once('{') else {
            let plain = !level.is_empty() && !level.contains(['+', '#', '}', '$']);
            return plain.then(|| Self::Word(level.to_owned()));
        };
        match (prefix, variable.strip_suffix('}')?) {
            (prefix, "id") => Some(Self::Device(prefix.to_owned())),
            ("", "gateway") => Some(Self::Word(gateway.to_owned())),
            ("", "kind") => Some(Self::Any),
            ("", words) if words.contains('|') => Some(Self::OneOf(words.split('|').map(str::to_owned).collect())),
            _ => None,
        }
    }

    fn take<'t>(&self, name: &'t str, found: &mut Found<'t>) -> Option<()> {
        match self {
            Self::Word(word) if word == name => {}
            Self::Device(prefix) => {
                let device = name.strip_prefix(prefix.as_str()).filter(|d| !d.is_empty())?;
                found.device = device;
            }
            Self::Any if !name.is_empty() => found.word = name,
            Self::OneOf(words) if words.iter().any(|w| w == name) => found.word = name,
            _ => return None,
        }
        Some(())
    }

    fn overlaps(&self, other: &Self) -> bool {
        let fits = |word: &str, level: &Self| level.take(word, &mut Found::default()).is_some();
        match (self, other) {
            (Self::Word(word), level) | (level, Self::Word(word)) => fits(word, level),
            (Self::OneOf(words), level) | (level, Self::OneOf(words)) => words.iter().any(|w| fits(w, level)),
            (Self::Device(a), Self::Device(b)) => a.starts_with(b.as_str()) || b.starts_with(a.as_str()),
            (Self::Any, _) | (_, Self::Any) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, "box", "row").unwrap()
    }

    #[test]
    fn a_pattern_that_is_no_topic_is_refused() {
        for bad in ["device/+/x", "device//x", "#", "device/{nobody}/x", "device/{id/x", "a/{gateway", "$SYS/x"] {
            assert!(Pattern::parse(bad, "box", "row").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_built_and_taken_apart() {
        let command = pattern("gateway/{gateway}/command/{id}/{say|abort}");
        let name = command.name("cane-1", "say");
        assert_eq!(name, "gateway/box/command/cane-1/say");
        assert_eq!(command.find(&name), Some(Found { device: "cane-1", word: "say" }));
        for no in ["gateway/box/command/cane-1/jump", "gateway/other/command/cane-1/say", "gateway/box/command//say"] {
            assert_eq!(command.find(no), None, "{no}");
        }
        let discovery = pattern("homeassistant/device/voxgate_{id}/config");
        assert_eq!(discovery.find("homeassistant/device/voxgate_a/config").unwrap().device, "a");
        assert_eq!(discovery.find("homeassistant/device/voxgate_/config"), None);
    }

    #[test]
    fn patterns_overlap_when_one_name_fits_both() {
        for (a, b, want) in [
            ("device/{id}/audio", "device/{id}/control", false),
            ("device/{id}/audio", "device/{id}/{kind}", true),
            ("device/{id}/audio", "device/fixed/audio", true),
            ("a/x_{id}", "a/y_{id}", false),
            ("a/x_{id}", "a/x_y{id}", true),
            ("a/{on|off}", "a/{off|up}", true),
            ("a/{on|off}", "a/{up|down}", false),
            ("a/b", "a/b/c", false),
        ] {
            assert_eq!(pattern(a).overlaps(&pattern(b)), want, "{a} and {b}");
            assert_eq!(pattern(b).overlaps(&pattern(a)), want, "{b} and {a}");
        }
    }
}

//! MQTT topic names and filters, as MQTT 3.1.1 and 5 (section 4.7, 4.8.2) have them.

/// Longest name or filter: its length is written in two bytes.
const LONGEST: usize = 65_535;

/// `topic` may be published to: not empty, no wildcard, no NUL, at most 65,535 bytes.
pub fn valid_topic(topic: &str) -> bool {
    plausible(topic) && !topic.contains(['+', '#'])
}

/// `filter` may be subscribed to: wildcards fill whole levels, `#` is last, `$share/{group}/{filter}` is whole.
pub fn valid_filter(filter: &str) -> bool {
    if !plausible(filter) {
        return false;
    }
    if filter == "$share" || filter.starts_with("$share/") {
        return shared(filter).is_some_and(|(group, rest)| {
            !group.is_empty() && !group.contains(['+', '#']) && !rest.is_empty() && levels_valid(rest)
        });
    }
    levels_valid(filter)
}

/// The group and the filter of a shared subscription.
pub fn shared(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix("$share/")?.split_once('/')
}

/// `topic` is one that a (valid) `filter` asks for. A shared subscription's filter is what stands behind its
/// group. A wildcard in the first level does not match names that begin with `$`.
pub fn matches(filter: &str, topic: &str) -> bool {
    let filter = shared(filter).map_or(filter, |(_, rest)| rest);
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut wanted, mut names) = (filter.split('/'), topic.split('/'));
    loop {
        match (wanted.next(), names.next()) {
            // `a/#` includes its parent `a`
            (Some("#"), _) | (None, None) => return true,
            (Some(level), Some(name)) if level == "+" || level == name => {}
            _ => return false,
        }
    }
}

fn plausible(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.contains('\0')
}

fn levels_valid(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let wild = level.contains(['+', '#']);
        if wild && level.len() > 1 || level == "#" && levels.peek().is_some() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_filters_that_the_standard_forbids() {
        for bad in ["", "a/+", "#", "a/#", "a\0b"] {
            assert!(!valid_topic(bad), "{bad:?}");
        }
        assert!(!valid_topic(&"x".repeat(65_536)));
        for bad in [
            "",
            "a#",
            "a/#/b",
            "a+",
            "+a/b",
            "a\0",
            "$share",
            "$share/",
            "$share/g",
            "$share/g/",
            "$share//a",
            "$share/g+/a",
        ] {
            assert!(!valid_filter(bad), "{bad:?}");
        }
        for good in ["#", "+", "/", "a//b", "+/+/#", "$share/g/a/#", "$share/g//", "$SYS/#", "设备/+"] {
            assert!(valid_filter(good), "{good:?}");
        }
    }

    #[test]
    fn the_examples_of_the_standard() {
        for (filter, topic, want) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("$share/g/sport/#", "sport/x", true),
            ("$share/g/#", "$SYS/x", false),
        ] {
            assert_eq!(matches(filter, topic), want, "{filter} and {topic}");
        }
    }

    /// The standard's rules, level by level, without regard to speed.
    fn model(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            ([], []) | (["#"], _) => true,
            ([wanted, filter @ ..], [name, topic @ ..]) => (*wanted == "+" || wanted == name) && model(filter, topic),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_plain_model(
            filter in proptest::collection::vec(prop_oneof![Just("+"), Just("#"), Just(""), Just("a"), Just("b"), Just("$s")], 1..6),
            topic in proptest::collection::vec(prop_oneof![Just(""), Just("a"), Just("b"), Just("$s")], 1..6),
        ) {
            let (filter_text, topic_text) = (filter.join("/"), topic.join("/"));
            if !valid_filter(&filter_text) || !valid_topic(&topic_text) {
                return Ok(());
            }
            let dollar = topic_text.starts_with('$') && filter_text.starts_with(['+', '#']);
            prop_assert_eq!(matches(&filter_text, &topic_text), !dollar && model(&filter, &topic));
        }

        #[test]
        fn any_text_is_judged_without_harm(filter in "\\PC{0,40}", topic in "\\PC{0,40}") {
            let _ = (valid_filter(&filter), valid_topic(&topic), matches(&filter, &topic));
        }

        #[test]
        fn a_name_matches_itself(topic in "[a-c/$]{1,20}") {
            prop_assert!(matches(&topic, &topic) || topic.starts_with("$share/"));
        }
    }
}

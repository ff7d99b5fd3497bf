//! mosquitto's `acl_file`: `user NAME`, `topic [ACCESS] FILTER`, `pattern [ACCESS] FILTER`.
//!
//! `topic` lines before any `user` are about anonymous clients, `pattern` lines about everyone.

use super::Trouble;
use crate::admin::NewRule;

/// A rule of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Where, from 1.
    pub line: usize,
    pub rule: NewRule,
}

/// Reads the text: what can be taken, and what is wrong with the rest.
pub(super) fn read(text: &str) -> (Vec<Line>, Vec<Trouble>) {
    let (mut rules, mut troubles) = (Vec::new(), Vec::new());
    // what follows a `user` line that cannot be read is nobody's
    let mut subject = Some("anonymous".to_owned());
    for (at, raw) in text.lines().enumerate() {
        let (line, raw) = (at + 1, raw.trim());
        if raw.is_empty() || raw.starts_with('#') {
            continue;
        }
        let (word, rest) = raw.split_once([' ', '\t']).map_or((raw, ""), |(word, rest)| (word, rest.trim()));
        let mut trouble = |what: &str, remedy: &str| {
            troubles.push(Trouble { line, what: what.to_owned(), remedy: remedy.to_owned() });
        };
        match (word, rest) {
            ("user", "") => {
                subject = None;
                trouble("user has no name", "name the user");
            }
            ("user", name) => subject = Some(format!("user:{name}")),
            ("topic" | "pattern", "") => trouble("has no topic", "write one, or remove the line"),
            ("topic", rest) => {
                let (access, filter) = access(rest);
                if filter.split('/').any(|level| level == "%u" || level == "%c") {
                    trouble("a topic line takes %u and %c as they stand", "make it a pattern line");
                } else if let Some(subject) = subject.clone() {
                    rules.push(Line { line, rule: NewRule { subject, access, filter } });
                } else {
                    trouble("belongs to a user line that cannot be read", "mend that line");
                }
            }
            ("pattern", rest) => {
                let (access, filter) = access(rest);
                rules.push(Line { line, rule: NewRule { subject: "everyone".to_owned(), access, filter } });
            }
            _ => trouble("begins with neither user nor topic nor pattern", "remove it, or comment it out with #"),
        }
    }
    (rules, troubles)
}

/// The access, readwrite when none is named, and the filter, in which there may be spaces.
fn access(rest: &str) -> (String, String) {
    match rest.split_once([' ', '\t']) {
        Some((access @ ("read" | "write" | "readwrite" | "deny"), filter)) => {
            (access.to_owned(), filter.trim_start().to_owned())
        }
        _ => ("readwrite".to_owned(), rest.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_mosquitto_is_understood() {
        let text = "# anonymous\ntopic read $SYS/#\n\nuser roger\ntopic foo/bar\ntopic write a b/c\r\n\
                    topic deny secret/#\n\npattern write $SYS/broker/connection/%c/state\npattern readwrite home/%u/#\n";
        let (rules, troubles) = read(text);
        assert_eq!(troubles, []);
        let rules: Vec<_> = rules
            .iter()
            .map(|l| (l.line, l.rule.subject.as_str(), l.rule.access.as_str(), l.rule.filter.as_str()))
            .collect();
        assert_eq!(
            rules,
            [
                (2, "anonymous", "read", "$SYS/#"),
                (5, "user:roger", "readwrite", "foo/bar"),
                (6, "user:roger", "write", "a b/c"),
                (7, "user:roger", "deny", "secret/#"),
                (9, "everyone", "write", "$SYS/broker/connection/%c/state"),
                (10, "everyone", "readwrite", "home/%u/#"),
            ]
        );
    }

    #[test]
    fn what_cannot_be_taken_is_said_with_its_line() {
        let (rules, troubles) = read("topic\nuser\ntopic a\nuser x\ntopic home/%u\nallow all\npattern\ntopic b\n");
        assert_eq!(rules.iter().map(|rule| rule.line).collect::<Vec<_>>(), [8]);
        assert_eq!(troubles.iter().map(|trouble| trouble.line).collect::<Vec<_>>(), [1, 2, 3, 5, 6, 7]);
        assert!(troubles.iter().all(|trouble| !trouble.remedy.is_empty()));
    }
}

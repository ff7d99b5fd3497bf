//! Operators' rules: who else may read or write what, and who may not.
//!
//! A rule names a subject, an access and a filter, in which the level `%u` stands for the client's user name and
//! `%c` for its client id. A rule judges names only; what no rule may ever give is [`super::Table`]'s to know.

use std::collections::HashMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Role, Who, valid_filter};

/// Whom a rule is about: `everyone`, `anonymous`, `user:NAME`, or `role:device`, `role:viewer`, `role:operator`,
/// `role:admin`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Subject {
    /// Whoever is let in, anonymous clients included.
    Everyone,
    /// Clients that were let in without a login.
    Anonymous,
    /// The device or operator of this name.
    User(String),
    /// All devices.
    Devices,
    /// The operators of exactly this role.
    Role(Role),
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Lets it subscribe.
    Read,
    /// Lets it publish.
    Write,
    /// Lets it do both.
    Readwrite,
    /// Forbids both, whatever else allows it.
    Deny,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Whom it is about: "everyone", "anonymous", "user:NAME", "role:device", "role:viewer", "role:operator" or
    /// "role:admin".
    pub subject: Subject,
    /// "read", "write", "readwrite" or "deny"; a denial wins over all that allows.
    pub access: Access,
    /// An MQTT topic filter; a level `%u` is the client's user name, a level `%c` its client id.
    pub filter: String,
}

/// What is wrong with a rule, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {remedy}")]
pub struct RuleError {
    /// What is wrong, lowercase.
    pub what: String,
    /// What mends it.
    pub remedy: String,
}

/// Who asks, and what `%u` and `%c` stand for.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The proven identity.
    pub who: &'a Who,
    /// The proven user name; empty for an anonymous client.
    pub user: &'a str,
    /// The client id, which the client chose.
    pub client: &'a str,
}

/// What the rules say to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// A rule forbids it.
    Denied,
    /// A rule allows it, and none forbids it.
    Granted,
    /// No rule speaks of it.
    Silent,
}

impl Subject {
    /// Reads `everyone`, `anonymous`, `user:NAME` or `role:NAME`.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let wrong = |what: String| RuleError {
            what,
            remedy: "write everyone, anonymous, user:NAME, role:device, role:viewer, role:operator or role:admin"
                .to_owned(),
        };
        match text.split_once(':') {
            None if text == "everyone" => Ok(Self::Everyone),
            None if text == "anonymous" => Ok(Self::Anonymous),
            Some(("user", "")) => Err(wrong("the user has no name".to_owned())),
            Some(("user", name)) => Ok(Self::User(name.to_owned())),
            Some(("role", "device")) => Ok(Self::Devices),
            Some(("role", "viewer")) => Ok(Self::Role(Role::Viewer)),
            Some(("role", "operator")) => Ok(Self::Role(Role::Operator)),
            Some(("role", "admin")) => Ok(Self::Role(Role::Admin)),
            _ => Err(wrong(format!("{text:?} is no subject"))),
        }
    }

    fn is(&self, asker: &Asker<'_>) -> bool {
        match self {
            Self::Everyone => true,
            Self::Anonymous => *asker.who == Who::Anonymous,
            Self::User(name) => !asker.user.is_empty() && name == asker.user,
            Self::Devices => matches!(asker.who, Who::Device(_)),
            Self::Role(role) => matches!(asker.who, Who::Operator(r) if r == role),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        Self::parse(&text)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("everyone"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Devices => f.write_str("role:device"),
            Self::Role(Role::Viewer) => f.write_str("role:viewer"),
            Self::Role(Role::Operator) => f.write_str("role:operator"),
            Self::Role(Role::Admin) => f.write_str("role:admin"),
        }
    }
}

impl Access {
    /// The word in settings and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Readwrite => "readwrite",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.subject, self.access.name(), self.filter)
    }
}

impl Rule {
    /// Is it a rule that can ever say something.
    pub fn check(&self) -> Result<(), RuleError> {
        let wrong = |what: &str, remedy: &str| Err(RuleError { what: what.to_owned(), remedy: remedy.to_owned() });
        if !valid_filter(&self.filter) || self.filter.starts_with("$share") {
            return wrong("is no topic filter", "write one, as in \"sensors/+/state\" or \"home/%u/#\"");
        }
        let mixed = |level: &str| level.len() > 2 && (level.contains("%u") || level.contains("%c"));
        if self.filter.split('/').any(mixed) {
            return wrong("has a %u or %c beside other text", "%u and %c must each be a whole level");
        }
        if self.filter.starts_with('$') && matches!(self.access, Access::Write | Access::Readwrite) {
            return wrong("gives write to a $ topic, where nobody may publish", "give read, or name another topic");
        }
        Ok(())
    }

    fn reads(&self) -> bool {
        matches!(self.access, Access::Read | Access::Readwrite)
    }

    fn writes(&self) -> bool {
        matches!(self.access, Access::Write | Access::Readwrite)
    }

    /// Its filter matches `topic`.
    fn fits(&self, asker: &Asker<'_>, topic: &str) -> bool {
        if topic.starts_with('$') && !self.filter.starts_with('$') {
            return false;
        }
        let (mut wanted, mut names) = (self.filter.split('/'), topic.split('/'));
        loop {
            match (wanted.next(), names.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(level), Some(name)) => match asker.level(level) {
                    Some(level) if level == name => {}
                    Some(_) => return false,
                    None => return self.access == Access::Deny,
                },
                _ => return false,
            }
        }
    }

    /// Its filter matches all that `filter` (without `$share/…/`) matches.
    fn covers(&self, asker: &Asker<'_>, filter: &str) -> bool {
        if filter.starts_with('$') && !self.filter.starts_with('$') {
            return false;
        }
        let (mut wanted, mut given) = (self.filter.split('/'), filter.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(level)) if level != "#" => {}
                (Some("+"), _) => return false,
                (Some(level), Some(name)) => match asker.level(level) {
                    Some(level) if level == name => {}
                    Some(_) => return false,
                    None => return self.access == Access::Deny,
                },
                _ => return false,
            }
        }
    }
}

impl<'a> Asker<'a> {
    /// What a level of a rule's filter stands for. None for a name that would say more than one level: such a rule
    /// allows nothing, and forbids all from that level on.
    fn level(&self, level: &'a str) -> Option<&'a str> {
        let value = match level {
            "%u" => self.user,
            "%c" => self.client,
            _ => return Some(level),
        };
        let plain = !value.is_empty() && !value.starts_with('$') && !value.contains(['+', '#', '/', '\0']);
        plain.then_some(value)
    }
}

/// Rules, found quickly.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    general: Vec<Rule>,
    users: HashMap<String, Vec<Rule>>,
    allowing: bool,
    denying: bool,
}

impl Rules {
    /// Some rule allows something.
    pub fn allow(&self) -> bool {
        self.allowing
    }

    /// Some rule forbids something.
    pub fn deny(&self) -> bool {
        self.denying
    }

    /// May `asker` subscribe to `filter` (without `$share/…/`)? Denied only when all of it is forbidden.
    pub fn subscribe(&self, asker: &Asker<'_>, filter: &str) -> Ruling {
        self.rule(asker, |rule| rule.covers(asker, filter), Rule::reads)
    }

    /// May `asker` publish to `topic`?
    pub fn publish(&self, asker: &Asker<'_>, topic: &str) -> Ruling {
        self.rule(asker, |rule| rule.fits(asker, topic), Rule::writes)
    }

    /// Is what arrives on `topic` kept from `asker`, whatever it subscribed to?
    pub fn withholds(&self, asker: &Asker<'_>, topic: &str) -> bool {
        self.denying && self.of(asker).any(|rule| rule.access == Access::Deny && rule.fits(asker, topic))
    }

    fn of(&self, asker: &Asker<'_>) -> impl Iterator<Item = &Rule> {
        let own = if asker.user.is_empty() { None } else { self.users.get(asker.user) };
        self.general.iter().filter(move |rule| rule.subject.is(asker)).chain(own.into_iter().flatten())
    }

    fn rule(&self, asker: &Asker<'_>, fits: impl Fn(&Rule) -> bool, allows: impl Fn(&Rule) -> bool) -> Ruling {
        let mut ruling = Ruling::Silent;
        for rule in self.of(asker) {
            if rule.access == Access::Deny {
                if fits(rule) {
                    return Ruling::Denied;
                }
            } else if ruling == Ruling::Silent && allows(rule) && fits(rule) {
                ruling = Ruling::Granted;
            }
        }
        ruling
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        let mut all = Self::default();
        for rule in rules {
            let denies = rule.access == Access::Deny;
            all.denying |= denies;
            all.allowing |= !denies;
            match &rule.subject {
                Subject::User(name) => all.users.entry(name.clone()).or_default().push(rule),
                _ => all.general.push(rule),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

    use proptest::prelude::*;

    use super::*;
    use crate::domain::DeviceId;
    use crate::topics::{matches, valid_topic};

    fn rule(subject: &str, access: Access, filter: &str) -> Rule {
        Rule { subject: Subject::parse(subject).unwrap(), access, filter: filter.to_owned() }
    }

    fn cane() -> Who {
        Who::Device(DeviceId::parse("cane").unwrap())
    }

    #[test]
    fn what_is_no_rule_is_said_with_its_remedy() {
        for bad in ["", "user:", "user", "role:king", "nobody", "Everyone"] {
            assert!(Subject::parse(bad).unwrap_err().remedy.contains("user:NAME"), "{bad}");
        }
        for bad in ["", "a#", "#/a", "$share/g/a", "a/%u-x", "x%c/b"] {
            assert!(rule("everyone", Access::Read, bad).check().is_err(), "{bad}");
        }
        assert!(rule("everyone", Access::Readwrite, "$SYS/#").check().is_err());
        for good in ["#", "a/%u/#", "%c", "100%/x", "$SYS/broker/+"] {
            assert_eq!(rule("user:a", Access::Read, good).check(), Ok(()), "{good}");
        }
    }

    #[test]
    fn subjects_are_whom_they_name() {
        let (viewer, device) = (Who::Operator(Role::Viewer), cane());
        for (subject, who, user, is) in [
            ("everyone", &Who::Anonymous, "", true),
            ("anonymous", &Who::Anonymous, "", true),
            ("anonymous", &device, "cane", false),
            ("user:cane", &device, "cane", true),
            ("user:cane", &Who::Anonymous, "", false),
            ("role:device", &device, "cane", true),
            ("role:viewer", &viewer, "anna", true),
            ("role:operator", &viewer, "anna", false),
            ("role:viewer", &Who::Operator(Role::Admin), "anna", false),
        ] {
            let asker = Asker { who, user, client: "c" };
            let rules = Rules::from_iter([rule(subject, Access::Read, "a")]);
            assert_eq!(rules.subscribe(&asker, "a") == Ruling::Granted, is, "{subject} {who:?}");
            assert_eq!(Subject::parse(&Subject::parse(subject).unwrap().to_string()), Subject::parse(subject));
        }
    }

    #[test]
    fn a_name_that_would_say_more_than_one_level_gets_nothing_and_evades_nothing() {
        let rules = Rules::from_iter([
            rule("everyone", Access::Readwrite, "home/%c/x"),
            rule("everyone", Access::Readwrite, "%c/#"),
            rule("everyone", Access::Deny, "home/%c/secret"),
        ]);
        for client in ["+", "#", "a/b", "", "$SYS"] {
            let asker = Asker { who: &cane(), user: "cane", client };
            for topic in ["home/a/x", "home/+/x", "home/a/b/x", "$SYS/x", "home//x", "a/b/c"] {
                assert_ne!(rules.publish(&asker, topic), Ruling::Granted, "{client} {topic}");
                assert_ne!(rules.subscribe(&asker, topic), Ruling::Granted, "{client} {topic}");
            }
            assert!(rules.withholds(&asker, "home/a/secret"), "{client}");
        }
        let asker = Asker { who: &cane(), user: "cane", client: "box" };
        assert_eq!(rules.publish(&asker, "home/box/x"), Ruling::Granted);
        assert_eq!(rules.publish(&asker, "home/bax/x"), Ruling::Silent);
        assert!(rules.withholds(&asker, "home/box/secret") && !rules.withholds(&asker, "home/bax/secret"));
    }

    #[test]
    fn a_denial_wins_and_a_wider_subscription_stays() {
        let rules = Rules::from_iter([
            rule("anonymous", Access::Readwrite, "#"),
            rule("everyone", Access::Deny, "test/nosubscribe"),
        ]);
        let asker = Asker { who: &Who::Anonymous, user: "", client: "c" };
        assert_eq!(rules.subscribe(&asker, "test/nosubscribe"), Ruling::Denied);
        assert_eq!(rules.subscribe(&asker, "test/+"), Ruling::Granted);
        assert!(rules.withholds(&asker, "test/nosubscribe") && !rules.withholds(&asker, "test/other"));
        assert_eq!(rules.publish(&asker, "test/nosubscribe"), Ruling::Denied);
        assert_eq!(rules.subscribe(&asker, "$SYS/#"), Ruling::Silent, "a wildcard does not reach $ topics");
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just("+"), Just("a"), Just("b"), Just("%u"), Just("%c"), Just(""), Just("$s")];
        (proptest::collection::vec(level, 1..5), any::<bool>())
            .prop_map(|(levels, all)| levels.join("/") + if all { "/#" } else { "" })
    }

    proptest! {
        #[test]
        fn what_is_granted_to_a_filter_is_granted_to_all_that_it_matches(
            granted in filter(),
            asked in filter(),
            topic in "[ab$s]{0,2}(/[ab]{0,1}){0,4}",
            client in prop_oneof![Just("a"), Just("+"), Just("a/b"), Just("b")],
        ) {
            let asked = asked.replace("%u", "a").replace("%c", "b");
            let rule = rule("everyone", Access::Readwrite, &granted);
            if rule.check().is_err() || !valid_filter(&asked) || !valid_topic(&topic) {
                return Ok(());
            }
            let (rules, who) = (Rules::from_iter([rule]), cane());
            let asker = Asker { who: &who, user: "a", client };
            if rules.subscribe(&asker, &asked) == Ruling::Granted && matches(&asked, &topic) {
                prop_assert_eq!(rules.publish(&asker, &topic), Ruling::Granted, "{} {} {}", granted, asked, topic);
            }
        }
    }
}

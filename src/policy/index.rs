//! All phrases of all packs in one automaton: one pass over a text finds what it says, and what takes that back.

use std::collections::{BTreeMap, HashSet};

use aho_corasick::AhoCorasick;

use super::pack::Pack;
use super::text::{distance, in_word, is_stop, is_wide, plain, stands_alone};
use crate::domain::Level;

/// A way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Left.
    Left,
    /// Right.
    Right,
}

/// What a phrase is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Rule(usize),
    Unless(usize),
    Negation,
    Fiction,
    Opener,
    Turn(Side),
    NotTurn,
    Direction,
    Then,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    pack: usize,
    role: Role,
    from: usize,
    to: usize,
}

/// A rule that holds in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Which rule, over all packs.
    pub rule: usize,
    /// Where its phrase ends, bytes.
    pub to: usize,
}

/// A step on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Turn.
    Turn(Side),
    /// What follows comes after what stands before.
    Then,
}

/// What a text says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The rules that hold.
    pub hits: Vec<Hit>,
    /// Ways to go and what is between them, in order, each with its end.
    pub steps: Vec<(Step, usize)>,
    /// A direction is named; where the last ends.
    pub direction: Option<usize>,
    /// It warns by itself.
    pub warns: bool,
    /// It is a story.
    pub fiction: bool,
}

/// A rule, of whichever pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedRule {
    /// Its id.
    pub id: String,
    /// How grave.
    pub level: Level,
    /// Of which pack.
    pub pack: usize,
}

/// The phrases.
#[derive(Debug)]
pub struct Index {
    automaton: AhoCorasick,
    /// What each pattern is there for.
    roles: Vec<Vec<(usize, Role)>>,
    rules: Vec<IndexedRule>,
    gaps: Vec<usize>,
    /// Beginnings of phrases that a text may end with: more may follow.
    openings: HashSet<String>,
    /// Words of the longest phrase, and characters of the longest one without spaces.
    longest: usize,
}

impl Index {
    /// The index of these packs; the number of a pack is its place.
    pub fn new(packs: &[&Pack]) -> Result<Self, String> {
        let mut phrases: BTreeMap<String, Vec<(usize, Role)>> = BTreeMap::new();
        let mut rules = Vec::new();
        for (at, pack) in packs.iter().enumerate() {
            let mut add = |list: &[String], role: Role| {
                for phrase in list {
                    phrases.entry(plain(phrase)).or_default().push((at, role));
                }
            };
            add(&pack.negations, Role::Negation);
            add(&pack.fiction, Role::Fiction);
            add(&pack.say.openers, Role::Opener);
            let directions = &pack.directions;
            add(&directions.left, Role::Turn(Side::Left));
            add(&directions.right, Role::Turn(Side::Right));
            add(&directions.not, Role::NotTurn);
            add(&directions.words, Role::Direction);
            add(&directions.then, Role::Then);
            for rule in &pack.rules {
                add(&rule.phrases, Role::Rule(rules.len()));
                add(&rule.unless, Role::Unless(rules.len()));
                rules.push(IndexedRule { id: rule.id.clone(), level: rule.level, pack: at });
            }
        }
        let (mut openings, mut longest) = (HashSet::new(), 0);
        for phrase in phrases.iter().filter(|(_, roles)| roles.iter().any(|(_, role)| role.matters(&rules))) {
            longest = longest.max(distance(phrase.0).unwrap_or(0));
            openings.extend(beginnings(phrase.0));
        }
        let automaton = AhoCorasick::new(phrases.keys()).map_err(|error| error.to_string())?;
        let gaps = packs.iter().map(|pack| pack.negation_gap).collect();
        Ok(Self { automaton, roles: phrases.into_values().collect(), rules, gaps, openings, longest })
    }

    /// A rule.
    pub fn rule(&self, at: usize) -> Option<&IndexedRule> {
        self.rules.get(at)
    }

    /// Reads a plain text.
    pub fn read(&self, text: &str) -> Reading {
        let found = self.find(text);
        let mut reading = Reading::default();
        for one in &found {
            match one.role {
                Role::Rule(rule) if !self.taken_back(text, one, rule, &found) => {
                    reading.hits.push(Hit { rule, to: one.to });
                }
                Role::Turn(side) => {
                    reading.direction = reading.direction.max(Some(one.to));
                    if !self.negated(text, one, Role::NotTurn, &found) {
                        reading.steps.push((Step::Turn(side), one.to));
                    }
                }
                Role::Then => reading.steps.push((Step::Then, one.to)),
                Role::Direction => reading.direction = reading.direction.max(Some(one.to)),
                Role::Opener => reading.warns |= begins(text, one.from),
                Role::Fiction => reading.fiction = true,
                Role::Rule(_) | Role::Unless(_) | Role::Negation | Role::NotTurn => {}
            }
        }
        reading.steps.sort_by_key(|(_, to)| *to);
        reading
    }

    fn find(&self, text: &str) -> Vec<Found> {
        let mut found = Vec::new();
        for hit in self.automaton.find_overlapping_iter(text) {
            let (from, to) = (hit.start(), hit.end());
            if stands_alone(text, from, to) {
                let roles = self.roles.get(hit.pattern().as_usize()).into_iter().flatten();
                found.extend(roles.map(|(pack, role)| Found { pack: *pack, role: *role, from, to }));
            }
        }
        found
    }

    fn taken_back(&self, text: &str, hit: &Found, rule: usize, found: &[Found]) -> bool {
        let exception = |other: &&Found| other.role == Role::Unless(rule) && other.from < hit.to && hit.from < other.to;
        let grave = self.rule(rule).is_some_and(|rule| rule.level.is_high());
        found.iter().any(|other| exception(&other)) || grave && self.negated(text, hit, Role::Negation, found)
    }

    fn negated(&self, text: &str, hit: &Found, by: Role, found: &[Found]) -> bool {
        let gap = self.gaps.get(hit.pack).copied().unwrap_or(0);
        // without spaces a negation may share characters with what it takes back: 没有 and 有车
        let reaches = |other: &Found| {
            other.to > hit.from || text.get(other.to..hit.from).and_then(distance).is_some_and(|far| far <= gap)
        };
        found.iter().any(|other| {
            other.role == by && other.pack == hit.pack && other.from < hit.from && other.to < hit.to && reaches(other)
        })
    }

    /// The text may go on to a phrase that it has only the beginning of.
    pub fn is_open(&self, text: &str) -> bool {
        if text.chars().next_back().is_none_or(is_stop) {
            return false;
        }
        let starts = starts(text).take(self.longest);
        starts.into_iter().any(|at| text.get(at..).is_some_and(|end| self.openings.contains(end)))
    }
}

impl Role {
    /// Half of it must not be spoken before the other half is known.
    fn matters(self, rules: &[IndexedRule]) -> bool {
        match self {
            Role::Rule(rule) | Role::Unless(rule) => rules.get(rule).is_some_and(|rule| rule.level.is_high()),
            Role::Turn(_) | Role::NotTurn | Role::Negation => true,
            Role::Fiction | Role::Opener | Role::Direction | Role::Then => false,
        }
    }
}

/// It stands at the beginning, or after a stop: a bus stop warns of nothing.
fn begins(text: &str, from: usize) -> bool {
    text.get(..from).is_some_and(|before| before.trim_end().chars().next_back().is_none_or(is_stop))
}

/// Where words begin, from the end on; without spaces, each character.
fn starts(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.char_indices().rev().filter_map(|(at, c)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let begins = c != ' ' && (is_wide(c) || !before.is_some_and(|before| in_word(before) || before == '\''));
        begins.then_some(at)
    })
}

/// What a phrase begins with, up to each of its words, or characters where it has no spaces; not all of it.
fn beginnings(phrase: &str) -> Vec<String> {
    let ends = phrase.char_indices().filter(|(at, c)| {
        let before = phrase.get(..*at).and_then(|before| before.chars().next_back());
        *at > 0 && (*c == ' ' || before.is_some_and(is_wide))
    });
    ends.filter_map(|(at, _)| phrase.get(..at).map(|begin| begin.trim_end().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;
    use crate::policy::pack;

    fn built_in() -> Index {
        let packs = pack::load(None).unwrap();
        Index::new(&packs.iter().map(|(_, pack)| pack).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn half_a_phrase_at_the_end_is_seen_and_a_stop_ends_it() {
        let index = built_in();
        assert!(index.is_open("at the corner turn"));
        assert!(index.is_open("there may be a gas"));
        assert!(index.is_open("请向左"));
        assert!(!index.is_open("at the corner turn,") && !index.is_open("the sky is blue") && !index.is_open(""));
        assert!(!index.is_open("it is his return"), "the end of another word is no beginning");
    }

    #[test]
    fn a_negation_reaches_what_stands_close_behind_it_and_not_beyond_a_comma() {
        let index = built_in();
        let hits = |text: &str| index.read(&plain(text)).hits.len();
        assert_eq!(hits("There is no traffic."), 0);
        assert_eq!(hits("There is no oncoming traffic."), 0);
        assert!(hits("No, traffic is heavy.") > 0);
        assert!(hits("There is no pavement beside the heavy traffic.") > 0);
        assert_eq!(hits("前面没有车。"), 0);
        assert!(hits("没有，有车过来。") > 0);
    }
}

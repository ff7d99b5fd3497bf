//! The tree of subscriptions: which of them match a topic.
//!
//! It must not know queues, sockets or what is retained.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::session::{Options, Session};
use crate::topics;

/// One subscription of one session.
#[derive(Debug, Clone)]
pub(in crate::door::mqtt) struct Subscription {
    pub session: Arc<Session>,
    pub options: Options,
}

/// The members of one shared subscription; each message goes to one of them.
#[derive(Debug)]
pub(super) struct Group {
    /// The whole filter, with its `$share/`.
    pub filter: Arc<str>,
    members: Vec<Subscription>,
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, Node>,
    here: Vec<Subscription>,
    groups: Vec<Group>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: Node,
    len: usize,
}

/// What a topic finds.
pub(super) trait Visit<'t> {
    fn subscription(&mut self, subscription: &'t Subscription);
    fn group(&mut self, group: &'t Group);
}

impl Tree {
    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds or replaces; true when it is new.
    pub fn insert(&mut self, filter: &str, subscription: Subscription) -> bool {
        let (share, plain) = split(filter);
        let mut node = &mut self.root;
        for level in plain.split('/') {
            node = node.children.entry(level.into()).or_default();
        }
        let list = match share {
            None => &mut node.here,
            Some(share) => {
                let at = node.groups.iter().position(|g| *g.filter == *share).unwrap_or_else(|| {
                    let (members, next) = (Vec::new(), AtomicUsize::new(0));
                    node.groups.push(Group { filter: share.into(), members, next });
                    node.groups.len() - 1
                });
                match node.groups.get_mut(at) {
                    Some(group) => &mut group.members,
                    None => return false, // it was pushed just now
                }
            }
        };
        if let Some(slot) = list.iter_mut().find(|s| s.session.number == subscription.session.number) {
            *slot = subscription;
            return false;
        }
        list.push(subscription);
        self.len += 1;
        true
    }

    /// Removes; false when there was none.
    pub fn remove(&mut self, filter: &str, session: u64) -> bool {
        let (share, plain) = split(filter);
        let levels: Vec<&str> = plain.split('/').collect();
        let removed = remove(&mut self.root, &levels, share, session);
        self.len -= usize::from(removed);
        removed
    }

    /// Visits everything that matches. `$` topics match no leading wildcard.
    pub fn visit<'t>(&'t self, topic: &str, visit: &mut impl Visit<'t>) {
        // depth is bounded by the levels of subscribed filters, and those by the door's limit
        step(&self.root, Some(topic), !topic.starts_with('$'), visit);
    }
}

impl Group {
    /// The members in the order in which they are to be asked: round robin, those who are connected first.
    pub fn in_turn(&self) -> Vec<&Subscription> {
        let n = self.members.len().max(1);
        let start = self.next.fetch_add(1, Ordering::Relaxed) % n;
        let turn: Vec<&Subscription> = self.members.iter().cycle().skip(start).take(self.members.len()).collect();
        let (mut here, away): (Vec<_>, Vec<_>) = turn.into_iter().partition(|s| s.session.is_online());
        here.extend(away);
        here
    }

    /// Somebody else than `except` would get a message.
    pub fn has_another(&self, except: Option<u64>) -> bool {
        self.members.iter().any(|s| Some(s.session.number) != except && s.session.is_online())
    }
}

/// The whole filter when it is shared, and the filter that topics are matched with.
fn split(filter: &str) -> (Option<&str>, &str) {
    topics::shared(filter).map_or((None, filter), |(_, plain)| (Some(filter), plain))
}

fn remove(node: &mut Node, levels: &[&str], share: Option<&str>, session: u64) -> bool {
    let Some((first, rest)) = levels.split_first() else {
        let other = |s: &Subscription| s.session.number != session;
        let Some(share) = share else {
            let before = node.here.len();
            node.here.retain(other);
            return node.here.len() < before;
        };
        let mut removed = false;
        for group in node.groups.iter_mut().filter(|g| *g.filter == *share) {
            let before = group.members.len();
            group.members.retain(other);
            removed |= group.members.len() < before;
        }
        node.groups.retain(|g| !g.members.is_empty());
        return removed;
    };
    let Some(child) = node.children.get_mut(*first) else { return false };
    let removed = remove(child, rest, share, session);
    if child.here.is_empty() && child.groups.is_empty() && child.children.is_empty() {
        node.children.remove(*first);
    }
    removed
}

fn step<'t>(node: &'t Node, topic: Option<&str>, wild: bool, visit: &mut impl Visit<'t>) {
    if wild && let Some(all) = node.children.get("#") {
        here(all, visit);
    }
    let Some(topic) = topic else {
        return here(node, visit);
    };
    let (level, rest) = topic.split_once('/').map_or((topic, None), |(level, rest)| (level, Some(rest)));
    if let Some(child) = node.children.get(level).filter(|_| level != "+" && level != "#") {
        step(child, rest, true, visit);
    }
    if wild && let Some(child) = node.children.get("+") {
        step(child, rest, true, visit);
    }
}

fn here<'t>(node: &'t Node, visit: &mut impl Visit<'t>) {
    node.here.iter().for_each(|s| visit.subscription(s));
    node.groups.iter().for_each(|g| visit.group(g));
}

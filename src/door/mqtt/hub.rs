//! Who subscribes to what: the tree of subscriptions, and what is retained.
//!
//! It matches and hands copies to bounded queues; it must not know sockets or the bus's threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::client::{Client, Copy};
use super::message::Message;
use super::retained::Retained;
use crate::domain::LinkId;

/// One subscription of one client.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub client: Arc<Client>,
    pub qos: u8,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub id: Option<u32>,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, Node>,
    here: Vec<Subscription>,
}

#[derive(Debug)]
struct Inner {
    root: Node,
    retained: Box<dyn Retained>,
}

/// The tree and the retained messages, under one lock: a new subscription sees each message once.
#[derive(Debug)]
pub(super) struct Hub {
    inner: RwLock<Inner>,
    subscriptions: AtomicUsize,
}

impl Hub {
    pub fn new(retained: Box<dyn Retained>) -> Self {
        Self { inner: RwLock::new(Inner { root: Node::default(), retained }), subscriptions: AtomicUsize::new(0) }
    }

    /// Adds or replaces; queues what is retained unless `retain_handling` says no. True when it is new.
    pub fn subscribe(&self, filter: &str, subscription: &Subscription, retain_handling: u8) -> bool {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let mut node = &mut inner.root;
        for level in filter.split('/') {
            node = node.children.entry(level.into()).or_default();
        }
        let old = node.here.iter().position(|s| s.client.link == subscription.client.link);
        let new = old.is_none();
        if let Some(slot) = old.and_then(|at| node.here.get_mut(at)) {
            *slot = subscription.clone();
        } else {
            node.here.push(subscription.clone());
            self.subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        if retain_handling == 0 || (retain_handling == 1 && new) {
            for message in inner.retained.matching(filter) {
                let qos = message.qos.min(subscription.qos);
                let subscriptions = subscription.id.into_iter().collect();
                subscription.client.offer(Copy { message, qos, retain: true, subscriptions, from_store: true });
            }
        }
        new
    }

    /// Removes; false when there was none.
    pub fn unsubscribe(&self, filter: &str, link: LinkId) -> bool {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let levels: Vec<&str> = filter.split('/').collect();
        let removed = remove(&mut inner.root, &levels, link);
        if removed {
            self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        }
        removed
    }

    /// Would anybody but `except` get a message on this topic.
    pub fn watched(&self, topic: &str, except: Option<LinkId>) -> bool {
        if self.subscriptions.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = false;
        walk(&inner.root, topic, &mut |s| found |= Some(s.client.link) != except);
        found
    }

    /// Keeps it when it asks for that, and queues a copy for everybody who subscribes to its topic.
    pub fn dispatch(&self, message: &Arc<Message>) -> bool {
        let mut kept = true;
        let copies = if message.retain {
            let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            kept = inner.retained.keep(message);
            copies(&inner.root, message)
        } else {
            copies(&self.inner.read().unwrap_or_else(PoisonError::into_inner).root, message)
        };
        for (client, copy) in copies {
            client.offer(copy);
        }
        kept
    }

    /// Keeps a message without telling anybody: what a lost bus must not lose.
    pub fn keep(&self, message: &Arc<Message>) -> bool {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).retained.keep(message)
    }
}

fn remove(node: &mut Node, levels: &[&str], link: LinkId) -> bool {
    let Some((first, rest)) = levels.split_first() else {
        let before = node.here.len();
        node.here.retain(|s| s.client.link != link);
        return node.here.len() < before;
    };
    let Some(child) = node.children.get_mut(*first) else { return false };
    let removed = remove(child, rest, link);
    if child.here.is_empty() && child.children.is_empty() {
        node.children.remove(*first);
    }
    removed
}

/// Calls `visit` for every subscription whose filter matches. `$` topics match no leading wildcard.
fn walk<'t>(root: &'t Node, topic: &str, visit: &mut dyn FnMut(&'t Subscription)) {
    // depth is bounded by the levels of subscribed filters, and a filter by the packet size and `MAX_LEVELS`
    fn step<'t>(node: &'t Node, topic: Option<&str>, wild: bool, visit: &mut dyn FnMut(&'t Subscription)) {
        if wild && let Some(all) = node.children.get("#") {
            all.here.iter().for_each(&mut *visit);
        }
        let Some(topic) = topic else {
            node.here.iter().for_each(visit);
            return;
        };
        let (level, rest) = topic.split_once('/').map_or((topic, None), |(level, rest)| (level, Some(rest)));
        if let Some(child) = node.children.get(level).filter(|_| level != "+" && level != "#") {
            step(child, rest, true, visit);
        }
        if wild && let Some(child) = node.children.get("+") {
            step(child, rest, true, visit);
        }
    }
    step(root, Some(topic), !topic.starts_with('$'), visit);
}

/// One copy a client, whatever the number of its matching filters: the highest QoS and all identifiers.
fn copies(root: &Node, message: &Arc<Message>) -> Vec<(Arc<Client>, Copy)> {
    let mut found: Vec<(Arc<Client>, Copy)> = Vec::new();
    walk(root, &message.topic, &mut |s| {
        let link = Some(s.client.link);
        if message.direct == link || (s.no_local && message.from == link) {
            return;
        }
        let (qos, retain) = (message.qos.min(s.qos), s.retain_as_published && message.retain);
        if let Some((_, copy)) = found.iter_mut().find(|(c, _)| c.link == s.client.link) {
            copy.qos = copy.qos.max(qos);
            copy.retain |= retain;
            copy.subscriptions.extend(s.id);
        } else {
            let subscriptions = s.id.into_iter().collect();
            found.push((
                s.client.clone(),
                Copy { message: message.clone(), qos, retain, subscriptions, from_store: false },
            ));
        }
    });
    found
}

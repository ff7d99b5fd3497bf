//! Who may do what: the topic table, widened and narrowed by operators' rules.
//!
//! The identity is the connection's, never the payload's. No rule lets anybody publish what a device says, what the
//! gateway says, or a `$` topic: rules give only what no row of the table claims. A rule that changes counts from
//! the next question on, and [`Rights::changed`] says so to whoever has to ask again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::domain::{DeviceId, Stream};
use crate::store::{Batch, Store, StoreError};
use crate::topics::{self, Asker, Rule, Rules, Ruling, Table, Who};

mod stored;

pub use stored::RuleId;

/// Who asks: an admitted connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The proven identity.
    pub who: Who,
    /// The proven user name; empty for an anonymous client.
    pub user: Arc<str>,
    /// The client id.
    pub client: Arc<str>,
}

impl Caller {
    fn asker(&self) -> Asker<'_> {
        Asker { who: &self.who, user: &self.user, client: &self.client }
    }
}

/// Where a publish belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination<'t> {
    /// An uplink of this device.
    Uplink {
        /// The dialect of the topic.
        dialect: &'static str,
        /// The stream of the topic.
        stream: Stream,
        /// The device, proven.
        device: DeviceId,
    },
    /// A command to a device.
    Command {
        /// To whom.
        device: DeviceId,
        /// What.
        name: &'t str,
    },
    /// To whoever subscribes.
    Bus,
}

/// A rule and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The id by which it is removed; none for a rule of the configuration.
    pub id: Option<RuleId>,
    /// The rule.
    pub rule: Rule,
}

/// Topic table and rules. Share it as an `Arc`.
pub struct Rights {
    table: Arc<Table>,
    store: Arc<dyn Store>,
    configured: Vec<Rule>,
    rules: RwLock<Arc<Rules>>,
    /// So that a gateway without rules pays nothing for them.
    allowing: AtomicBool,
    denying: AtomicBool,
    generation: watch::Sender<u64>,
    changing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Rights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rights").finish_non_exhaustive()
    }
}

impl Rights {
    /// The rights by `table`, the rules of the configuration, and those of the store.
    pub async fn open(
        table: Arc<Table>,
        configured: Vec<Rule>,
        store: Arc<dyn Store>,
    ) -> Result<Arc<Self>, StoreError> {
        let (rules, generation, changing) = (RwLock::default(), watch::Sender::new(0), tokio::sync::Mutex::default());
        let (allowing, denying) = (AtomicBool::new(false), AtomicBool::new(false));
        let rights = Self { table, store, configured, rules, allowing, denying, generation, changing };
        rights.reload().await?;
        Ok(Arc::new(rights))
    }

    /// Reads the store's rules again.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let stored = stored::list(&*self.store).await?.into_iter().map(|(_, rule)| rule);
        let rules: Rules = self.configured.iter().cloned().chain(stored).collect();
        let (allow, deny) = (rules.allow(), rules.deny());
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.allowing.store(allow, Ordering::Release);
        self.denying.store(deny, Ordering::Release);
        self.generation.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// A number that grows with every change of the rules: whoever holds subscriptions asks again then.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Adds rules that are not there yet; says how many were new.
    pub async fn add_rules(&self, rules: &[Rule]) -> Result<usize, StoreError> {
        let _changing = self.changing.lock().await;
        let (mut batch, mut added) = (Batch::new(), 0);
        for rule in rules {
            added += usize::from(stored::put(&*self.store, &mut batch, rule).await?);
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
            self.reload().await?;
        }
        Ok(added)
    }

    /// Removes a rule of the store; false when there is none of this id.
    pub async fn remove_rule(&self, id: &RuleId) -> Result<bool, StoreError> {
        let _changing = self.changing.lock().await;
        let removed = stored::remove(&*self.store, id).await?;
        if removed {
            self.reload().await?;
        }
        Ok(removed)
    }

    /// All rules, those of the configuration first.
    pub async fn list_rules(&self) -> Result<Vec<Listed>, StoreError> {
        let stored = stored::list(&*self.store).await?;
        let configured = self.configured.iter().map(|rule| Listed { id: None, rule: rule.clone() });
        Ok(configured.chain(stored.into_iter().map(|(id, rule)| Listed { id: Some(id), rule })).collect())
    }

    /// May `caller` publish to `topic`.
    pub fn may_publish(&self, caller: &Caller, topic: &str) -> bool {
        if !topics::valid_topic(topic) || topic.starts_with('$') {
            return false;
        }
        let granted = self.table.may_publish(&caller.who, topic);
        self.judge(granted, || self.table.is_free(topic), |rules| rules.publish(&caller.asker(), topic))
    }

    /// May `caller` subscribe to `filter`: all that it matches is its to read, but for what is forbidden, which
    /// [`Rights::may_receive`] keeps from it.
    pub fn may_subscribe(&self, caller: &Caller, filter: &str) -> bool {
        if !topics::valid_filter(filter) {
            return false;
        }
        let granted = self.table.may_subscribe(&caller.who, filter);
        let filter = topics::shared(filter).map_or(filter, |(_, rest)| rest);
        self.judge(granted, || true, |rules| rules.subscribe(&caller.asker(), filter))
    }

    /// May what was published on `topic` reach `caller`, who subscribed to it. A load and a branch while no rule
    /// denies anything.
    pub fn may_receive(&self, caller: &Caller, topic: &str) -> bool {
        !self.denying.load(Ordering::Acquire) || !self.rules().withholds(&caller.asker(), topic)
    }

    /// May `caller` leave a will on `topic`: what it may publish, and its own status, which the door writes anyway.
    pub fn may_will(&self, caller: &Caller, topic: &str) -> bool {
        self.is_own_status(caller, topic) || self.destination(caller, topic).is_some()
    }

    /// The status topic of the device itself.
    pub fn is_own_status(&self, caller: &Caller, topic: &str) -> bool {
        matches!(&caller.who, Who::Device(device) if *self.table.status_topic(device) == *topic)
    }

    /// Where what `caller` publishes on `topic` goes; none when it may not.
    pub(super) fn destination<'t>(&self, caller: &Caller, topic: &'t str) -> Option<Destination<'t>> {
        if !self.may_publish(caller, topic) {
            return None;
        }
        if let Some(uplink) = self.table.uplink(topic) {
            let device = match &caller.who {
                Who::Device(device) if device.as_str() == uplink.device => device.clone(),
                _ => return None,
            };
            return Some(Destination::Uplink { dialect: uplink.dialect, stream: uplink.stream, device });
        }
        if let Some((device, name)) = self.table.command(topic) {
            return Some(Destination::Command { device: DeviceId::parse(device).ok()?, name });
        }
        Some(Destination::Bus)
    }

    /// What the table gives, unless a rule forbids it; else what a rule gives, where rules may.
    fn judge(&self, granted: bool, may_grant: impl Fn() -> bool, ask: impl Fn(&Rules) -> Ruling) -> bool {
        let wanted = if granted { &self.denying } else { &self.allowing };
        if !wanted.load(Ordering::Acquire) {
            return granted;
        }
        match ask(&self.rules()) {
            Ruling::Denied => false,
            Ruling::Granted => granted || may_grant(),
            Ruling::Silent => granted,
        }
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;

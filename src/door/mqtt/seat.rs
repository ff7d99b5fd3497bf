//! An admitted connection's place in the registers: whatever ends the connection, a panic too, gives it back.

use std::sync::Arc;

use super::client::Client;
use super::codec::Will;
use super::gate::Gate;
use super::hub::Session;
use crate::domain::Link;
use crate::topics::Who;

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

/// The entry in the registry, from the moment of admission.
#[derive(Debug)]
pub(super) struct Entry {
    gate: Arc<Gate>,
    client: Arc<Client>,
    up: bool,
}

impl Entry {
    pub fn new(gate: Arc<Gate>, client: Arc<Client>) -> Self {
        Self { gate, client, up: false }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.client.close_queue();
        if let (true, Who::Device(device)) = (self.up, &self.client.who) {
            self.gate.ingress.link_down(device, self.client.link);
        }
        self.gate.registry.leave(&self.client, |device| self.gate.status(device, false));
    }
}

/// Held by the connection's task.
#[derive(Debug)]
pub(super) struct Seat {
    entry: Entry,
    session: Arc<Session>,
    /// The will, when it waits for its delay.
    will: Option<Box<Will>>,
}

impl Seat {
    pub fn new(entry: Entry, session: Arc<Session>) -> Self {
        Self { entry, session, will: None }
    }

    pub fn client(&self) -> &Arc<Client> {
        &self.entry.client
    }

    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub fn gate(&self) -> &Arc<Gate> {
        &self.entry.gate
    }

    /// The will waits for its delay, or for the end of the session.
    pub fn delay_will(&mut self, will: Box<Will>) {
        self.will = Some(will);
    }

    /// Offers the connection for downlinks.
    pub fn link_up(&mut self) {
        if let Who::Device(device) = &self.entry.client.who {
            self.entry.up = true;
            let link: Arc<dyn Link> = self.entry.client.clone();
            self.entry.gate.ingress.link_up(device, link);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (broker, link) = (&self.entry.gate.broker, self.entry.client.link);
        broker.leave(&self.session, link, self.will.take().map(|will| *will));
    }
}

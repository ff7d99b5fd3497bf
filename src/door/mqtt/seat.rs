//! An admitted connection's place in the registers: whatever ends the connection, a panic too, gives it back.

use std::sync::Arc;

use super::client::Client;
use super::gate::Gate;
use crate::domain::Link;
use crate::topics::Who;

/// Held by the connection's task.
#[derive(Debug)]
pub(super) struct Seat {
    gate: Arc<Gate>,
    client: Arc<Client>,
    up: bool,
    /// What it subscribes to.
    pub filters: Vec<Box<str>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl Seat {
    pub fn new(gate: Arc<Gate>, client: Arc<Client>) -> Self {
        gate.metrics.connections.inc();
        Self { gate, client, up: false, filters: Vec::new() }
    }

    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Offers the connection for downlinks.
    pub fn link_up(&mut self) {
        if let Who::Device(device) = &self.client.who {
            self.up = true;
            let link: Arc<dyn Link> = self.client.clone();
            self.gate.ingress.link_up(device, link);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        for filter in &self.filters {
            self.gate.bus.hub().unsubscribe(filter, self.client.link);
        }
        self.client.close_queue();
        if let (true, Who::Device(device)) = (self.up, &self.client.who) {
            self.gate.ingress.link_down(device, self.client.link);
        }
        self.gate.registry.leave(&self.client, |device| self.gate.status(device, false));
        self.gate.metrics.connections.dec();
    }
}

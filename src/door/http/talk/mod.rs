//! `/talk`: a page that makes a browser a device, with the browser's own microphone and codec.
//!
//! `page` are its files; `tickets` let a browser in once, `upgrade` asks for one and gives the conversation over to
//! `door/http/conversation`, which it is one of from then on. It is mounted at the devices' HTTP door. It knows tickets,
//! passes and web pages, and nothing of what is said.

mod metrics;
mod page;
mod settings;
mod tickets;
mod upgrade;

use std::fmt;
use std::sync::Arc;

use axum::routing::get;
use tokio_util::task::TaskTracker;

use super::Routes;
use super::conversation::Conversations;
use crate::domain::{Clock, DeviceId, Span, Wall};
use crate::door::credentials::Credentials;
use crate::door::quiet::Quiet;
use tickets::{Ticket, Tickets};

pub use metrics::Metrics;
pub use page::PATH;
pub use settings::Settings;
pub use tickets::TicketError;

/// What the page is made of besides its settings.
#[derive(Clone)]
pub struct Parts {
    /// Where browsers talk.
    pub conversations: Conversations,
    /// Whose passes are whose.
    pub credentials: Arc<Credentials>,
    /// Other origins whose pages may open a conversation, as `devices.origins` has them.
    pub origins: Vec<String>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Metrics,
    /// Connections that are refused.
    pub tasks: TaskTracker,
}

/// The page and its tickets.
pub struct Talk {
    settings: Settings,
    parts: Parts,
    tickets: Tickets,
    quiet: Quiet,
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk").finish_non_exhaustive()
    }
}

/// What lets a browser in, once.
#[derive(Debug)]
pub struct Invitation {
    /// To be told to nobody but who asked for it.
    pub ticket: Ticket,
    /// How long it is good.
    pub until: Wall,
}

impl Talk {
    /// A page without tickets.
    pub fn new(settings: Settings, parts: Parts) -> Arc<Self> {
        let tickets = Tickets::new(settings.tickets, Arc::clone(&parts.clock));
        Arc::new(Self { settings, parts, tickets, quiet: Quiet::default() })
    }

    /// The page is served.
    pub fn is_on(&self) -> bool {
        self.settings.enabled
    }

    /// A ticket for a device, good for so long, or as the settings say.
    pub fn invite(&self, device: &DeviceId, time: Option<Span>) -> Result<Invitation, TicketError> {
        let time = time.unwrap_or(self.settings.ticket);
        let issued = self.tickets.issue(device, time);
        self.parts.metrics.ticket(if issued.is_ok() { "made" } else { "refused" });
        let milliseconds = u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX);
        let until = Wall(self.parts.clock.wall().0.saturating_add(milliseconds));
        issued.map(|ticket| Invitation { ticket, until })
    }

    /// The routes, none when it is switched off.
    pub fn routes(self: &Arc<Self>) -> Routes {
        if !self.settings.enabled {
            return Routes::new();
        }
        page::routes().route("/talk/socket", get(upgrade::upgrade).with_state(Arc::clone(self)))
    }
}

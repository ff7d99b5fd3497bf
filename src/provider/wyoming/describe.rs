//! Looks whether a Wyoming service is there: every one of them says what it is.

use async_trait::async_trait;

use super::connection::{Address, Peer};
use crate::provider::http::Patience;
use crate::provider::pool::Probe;
use crate::provider::{ErrorKind, ProviderError};
use crate::wire::wyoming::Event;

/// Asks a service what it is.
#[derive(Debug)]
pub struct Described {
    peer: Peer,
}

impl Described {
    /// The service at an address.
    pub fn new(name: impl Into<String>, address: Address) -> Self {
        Self { peer: Peer::new(name, address, Patience::default()) }
    }
}

#[async_trait]
impl Probe for Described {
    async fn probe(&self) -> Result<(), ProviderError> {
        let (_, event) = self.peer.ask(&[Event::new("describe")]).await?;
        if event.kind == "info" {
            return Ok(());
        }
        Err(self.peer.error(ErrorKind::BadAnswer, format!("it says {:?} when it is asked what it is", event.kind)))
    }
}

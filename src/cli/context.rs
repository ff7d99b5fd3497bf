//! All that a subcommand may touch: where the configuration is, where to write, the clock and its zone.

use std::env;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::admin::{Admin, Client};
use crate::app::Offline;
use crate::config::{self, Config};
use crate::domain::{Clock, SystemClock};

/// What a subcommand gets.
pub(super) struct Context<'a> {
    /// `--config`.
    asked: Option<PathBuf>,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// For `--since 2h`.
    pub clock: Arc<dyn Clock>,
    /// For times that people read and write.
    pub zone: TimeZone,
    /// In the place of the gateway's, in tests.
    admin: Option<Arc<dyn Admin>>,
}

impl<'a> Context<'a> {
    /// The context of this process.
    pub fn of_process(asked: Option<PathBuf>, out: &'a mut dyn Write) -> Self {
        Self { asked, out, clock: Arc::new(SystemClock), zone: TimeZone::system(), admin: None }
    }

    /// Where the configuration is.
    pub fn config_path(&self) -> PathBuf {
        config::path(self.asked.as_deref(), env::var_os(config::ENV_PATH))
    }

    /// The configuration that a command needs. A file that was named must be there; without any, and with
    /// none at the usual place, every key has its default.
    pub fn config(&self) -> anyhow::Result<Config> {
        let path = self.config_path();
        let named = self.asked.is_some() || env::var_os(config::ENV_PATH).is_some_and(|value| !value.is_empty());
        if !named && !path.exists() {
            return Ok(Config::default());
        }
        Ok(config::load(&path)?)
    }

    /// Who answers operators: the gateway that runs.
    pub fn gateway(&self) -> anyhow::Result<Arc<dyn Admin>> {
        match &self.admin {
            Some(admin) => Ok(Arc::clone(admin)),
            None => Ok(Arc::new(Client::new(self.config()?.control.socket))),
        }
    }

    /// Who answers operators: the gateway that runs, else the store itself, locked meanwhile.
    pub async fn gateway_or_store(&self) -> anyhow::Result<Arc<dyn Admin>> {
        if let Some(admin) = &self.admin {
            return Ok(Arc::clone(admin));
        }
        let config = Box::new(self.config()?);
        let client = Client::new(&config.control.socket);
        if client.answers().await? {
            return Ok(Arc::new(client));
        }
        Box::pin(open_store(*config, Arc::clone(&self.clock))).await
    }

    /// The store itself, for what no gateway may run meanwhile.
    pub async fn store(&self) -> anyhow::Result<Offline> {
        let config = self.config()?;
        let client = Client::new(&config.control.socket);
        anyhow::ensure!(
            !client.answers().await?,
            "a gateway runs on this store: stop it first (systemctl stop voxgate), then do it again"
        );
        Ok(Box::pin(Offline::open(config, Arc::clone(&self.clock))).await?)
    }

    /// Prints a value as JSON, on one line.
    pub fn json<T: Serialize>(&mut self, value: &T) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        writeln!(self.out)?;
        Ok(())
    }
}

/// The operators' operations on a store that no gateway holds.
async fn open_store(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Admin>> {
    Ok(Arc::new(Box::pin(Offline::open(config, clock)).await?))
}

/// Runs a future to its end on a runtime of one thread: enough for a command that asks and prints.
pub(super) fn block_on<F, T>(future: F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime cannot start")?.block_on(future)
}

#[cfg(test)]
impl<'a> Context<'a> {
    /// A context that asks `admin`, with a clock and a zone that do not move.
    pub fn of_test(admin: Arc<dyn Admin>, out: &'a mut Vec<u8>) -> Self {
        let clock = crate::domain::ManualClock::new(crate::domain::Wall(1_700_000_000_000));
        Self { asked: None, out, clock: Arc::new(clock), zone: TimeZone::UTC, admin: Some(admin) }
    }
}

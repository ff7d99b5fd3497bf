//! Boards with stock firmware: enrolment, firmware, and the HTTP door at which they begin.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use crate::config::Config;
use crate::domain::{Bulletins, Clock};
use crate::door::credentials::Credentials;
use crate::door::enrolment::{self, Enrolment};
use crate::door::firmware::Catalogue;
use crate::door::http::{Routes, devices, vision};
use crate::door::mqtt::{Door, Listener};
use crate::store::Store;

/// All that is about boards, before it runs.
pub(super) struct Boards {
    enrolment: Arc<Enrolment>,
    firmware: Arc<Catalogue>,
    credentials: Arc<Credentials>,
    clock: Arc<dyn Clock>,
    metrics: devices::Metrics,
    server: Option<devices::Server>,
    passes: Option<Arc<vision::Passes>>,
    tls: bool,
}

impl Boards {
    /// Reads the records, and binds the listener when it is on.
    pub async fn open(
        config: &Config,
        (store, credentials): (&Arc<dyn Store>, &Arc<Credentials>),
        clock: &Arc<dyn Clock>,
        bulletins: Arc<dyn Bulletins>,
        random: Arc<dyn Fn() -> u128 + Send + Sync>,
        (enrolled, metrics, photos): (enrolment::Metrics, devices::Metrics, vision::Metrics),
    ) -> Result<Self, StartError> {
        let (settings, data) = (&config.devices, &config.gateway.data_dir);
        let firmware = Catalogue::open(Arc::clone(store), data, Arc::clone(clock), &settings.firmware).await?;
        let (credentials, clock) = (Arc::clone(credentials), Arc::clone(clock));
        let parts = enrolment::Parts {
            credentials: Arc::clone(&credentials),
            bulletins,
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            metrics: enrolled,
        };
        let enrolment = Arc::new(Enrolment::new(settings.activation.clone(), settings.welcome(), parts));
        let server = if settings.enabled { Some(devices::Server::bind(settings).await?) } else { None };
        let passes = server
            .as_ref()
            .filter(|_| settings.vision.enabled)
            .map(|server| vision::Passes::new(Arc::clone(&credentials), server.whereabouts(), random, photos));
        Ok(Self { enrolment, firmware, credentials, clock, metrics, server, passes, tls: settings.tls })
    }

    /// Who may send photos, where they are taken.
    pub fn passes(&self) -> Option<Arc<vision::Passes>> {
        self.passes.clone()
    }

    /// Where the door listens, when it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(devices::Server::address)
    }

    /// Where it listens too.
    pub fn also(&self) -> Vec<SocketAddr> {
        self.server.as_ref().map(|server| server.also().to_vec()).unwrap_or_default()
    }

    /// Who is one.
    pub fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    /// Who becomes a device.
    pub fn enrolment(&self) -> Arc<Enrolment> {
        Arc::clone(&self.enrolment)
    }

    /// What boards are offered.
    pub fn firmware(&self) -> Arc<Catalogue> {
        Arc::clone(&self.firmware)
    }

    /// Opens the door, beside the MQTT door that it sends boards to; `more` are the routes of conversations, that of
    /// boards among them when `websocket`, and those of other things.
    pub fn run(self, mqtt: &Door, websocket: bool, more: Routes, (tasks, stop): (&TaskTracker, &CancellationToken)) {
        let Some(server) = self.server else { return };
        let port = |listener| mqtt.addr_of(listener).map(|addr| addr.port());
        let doors = devices::Doors { mqtt: port(Listener::Tcp), mqtts: port(Listener::Tls), websocket };
        let parts = devices::Parts {
            enrolment: self.enrolment,
            credentials: self.credentials,
            firmware: self.firmware,
            clock: self.clock,
            metrics: self.metrics,
            doors,
            certificate: mqtt.control().certificate().filter(|_| self.tls),
        };
        tasks.spawn(server.run(parts, more, stop.clone()));
    }
}

//! The case f: what a connection costs that says nothing.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use super::Bench;
use super::brokers::Broker;
use super::gateway::Kind;
use super::results::{Found, OURS, Sample};
use crate::sim::flood::{Crowd, Login, Trust, crowd};

/// Connections that come before: what the first ones cost besides themselves does not count.
const WARM: usize = 200;
/// How long memory settles before it is read.
const SETTLE: Duration = Duration::from_secs(3);
/// The bar's, in thousands of bytes.
const MOST: f64 = 6.0;

const DEVICE: &str = "an idle connection, device, TCP";
const SECURED: &str = "an idle connection, device, TLS";
/// A device that said hello: its session is in memory, too.
const GREETED: &str = "an idle connection, device with an open session, TCP";
const ANONYMOUS: &str = "an idle connection, anonymous, TCP";
const HELLO: &str = r#"{"type":"hello","seq":1,"payload":{"boot_id":1,"capabilities":{}}}"#;

/// The first word of a device.
pub(super) fn hello(login: &Login) -> (String, String) {
    (format!("device/{}/control", login.id), HELLO.to_owned())
}

impl Bench<'_> {
    /// Case f. Each measurement has a broker of its own: memory that another gave back would not count.
    pub async fn idle(&self, found: &mut Found) -> anyhow::Result<()> {
        for round in 0..self.size.rounds {
            for (n, what) in [DEVICE, SECURED, GREETED, ANONYMOUS].into_iter().enumerate() {
                let kind = Kind { tls: what == SECURED, ..Kind::default() };
                let gateway = self.gateway(&format!("f{round}-{n}"), kind).await?;
                let logins = if what == ANONYMOUS { self.anonymous() } else { gateway.devices(self.names()).await? };
                let secured = gateway.tls().cloned();
                let addr = secured.as_ref().map_or(gateway.addr, |(addr, _)| *addr);
                let mut broker = Broker::Gateway(Box::new(gateway));
                let trust = secured.as_ref().map(|(_, trust)| trust);
                let each = self.each(&broker, addr, &logins, trust, what == GREETED).await?;
                found.add(what, OURS, "KB", Sample::of(each));
                broker.stop().await?;
            }
            if let Some(mut other) = self.other(&format!("f{round}")).await? {
                let each = self.each(&other, other.addr(), &self.anonymous(), None, false).await?;
                found.add(ANONYMOUS, other.name(), "KB", Sample::of(each));
                other.stop().await?;
            }
        }
        found.at_most(DEVICE, "KB", MOST);
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = String> + use<> {
        (0..WARM + self.size.connections).map(|n| format!("bench-{n}"))
    }

    fn anonymous(&self) -> Vec<Login> {
        self.names().map(Login::anonymous).collect()
    }

    /// Thousands of bytes that each of the connections adds to the broker's resident memory.
    async fn each(
        &self,
        broker: &Broker,
        addr: std::net::SocketAddr,
        logins: &[Login],
        trust: Option<&Trust>,
        greet: bool,
    ) -> anyhow::Result<f64> {
        let (warm, rest) = logins.split_at_checked(WARM).context("too few connections")?;
        let mut first = crowd(addr, warm, trust).await?;
        if greet {
            first.publish(hello).await?;
        }
        sleep(SETTLE).await;
        let before = broker.resident()?;
        let mut crowd: Crowd = crowd(addr, rest, trust).await?;
        if greet {
            crowd.publish(hello).await?;
        }
        sleep(SETTLE).await;
        let after = broker.resident()?;
        let count = crowd.len();
        drop((first, crowd));
        Ok(after.saturating_sub(before) as f64 / 1e3 / count.max(1) as f64)
    }
}

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
const SETTLE: Duration = Duration::from_secs(2);
/// The bar's, in thousands of bytes.
const MOST: f64 = 6.0;

const DEVICE: &str = "an idle connection, device, TCP";

impl Bench<'_> {
    /// Case f. Each measurement has a broker of its own: memory that another gave back would not count.
    pub async fn idle(&self, found: &mut Found) -> anyhow::Result<()> {
        for round in 0..self.size.rounds {
            for (what, device, tls) in [
                (DEVICE, true, false),
                ("an idle connection, device, TLS", true, true),
                ("an idle connection, anonymous, TCP", false, false),
            ] {
                let kind = Kind { tls, ..Kind::default() };
                let gateway = self.gateway(&format!("f{round}-{device}-{tls}"), kind).await?;
                let logins = if device { gateway.devices(self.names()).await? } else { self.anonymous() };
                let secured = gateway.tls().cloned();
                let addr = secured.as_ref().map_or(gateway.addr, |(addr, _)| *addr);
                let mut broker = Broker::Gateway(Box::new(gateway));
                let trust = secured.as_ref().map(|(_, trust)| trust);
                let each = self.each(&broker, addr, &logins, trust).await?;
                found.add(what, OURS, "KB", Sample::of(each));
                broker.stop().await?;
            }
            if let Some(mut other) = self.other(&format!("f{round}")).await? {
                let each = self.each(&other, other.addr(), &self.anonymous(), None).await?;
                found.add("an idle connection, anonymous, TCP", other.name(), "KB", Sample::of(each));
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
    ) -> anyhow::Result<f64> {
        let (warm, rest) = logins.split_at_checked(WARM).context("too few connections")?;
        let first = crowd(addr, warm, trust).await?;
        sleep(SETTLE).await;
        let before = broker.resident()?;
        let crowd: Crowd = crowd(addr, rest, trust).await?;
        sleep(SETTLE).await;
        let after = broker.resident()?;
        let count = crowd.len();
        drop((first, crowd));
        Ok(after.saturating_sub(before) as f64 / 1e3 / count.max(1) as f64)
    }
}

//! The devices of a run: made for it over the control socket, claimed as an operator claims boards, or given.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::{Args, Dialect, Transport};
use crate::admin::{Admin, Claim, NewDevice};
use crate::config::Config;
use crate::domain::{DeviceId, ListenMode};
use crate::provider::http::HttpError;
use crate::sim::device::Login;
use crate::sim::talker::Kind;
use crate::sim::xiaozhi::{Bootstrap, BootstrapError, Path, Told, Version};

/// Longest wait for a door that lets in so many a minute.
const PATIENCE: Duration = Duration::from_mins(5);

/// The devices of a run.
pub(super) struct Made {
    pub devices: Vec<(Login, Kind)>,
    /// Who removes them again.
    admin: Option<Arc<dyn Admin>>,
    /// What would trouble firmware in what boards were told.
    pub complaints: Vec<String>,
}

impl Made {
    /// Named in a file: lines of user:password.
    pub fn given(file: &FilePath, args: &Args, config: &Config) -> anyhow::Result<Self> {
        let (host, port) = address(args, config)?;
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let one = |(n, line): (usize, &str)| {
            let (user, password) = line.split_once(':').context("a line is not user:password")?;
            // the user of a board is its mac, with colons; a secret of the gateway's has none
            let (user, password) = line.rsplit_once(':').filter(|_| user.len() == 2).unwrap_or((user, password));
            let login = Login { host: host.clone(), port, id: DeviceId::parse(user)?, secret: password.to_owned() };
            Ok((login, kind(args, config, n)?))
        };
        let all = lines.take(args.devices as usize).enumerate().map(one).collect::<anyhow::Result<Vec<_>>>();
        let devices = all.with_context(|| file.display().to_string())?;
        if devices.len() < args.devices as usize {
            anyhow::bail!("{} names {} devices, {} are wanted", file.display(), devices.len(), args.devices);
        }
        Ok(Self { devices, admin: None, complaints: Vec::new() })
    }

    /// Made for the run.
    pub async fn make(admin: Arc<dyn Admin>, args: &Args, config: &Config) -> anyhow::Result<Self> {
        let mut made = Self { devices: Vec::new(), admin: Some(Arc::clone(&admin)), complaints: Vec::new() };
        let result = match args.dialect {
            Dialect::Native => made.natives(&*admin, args, config).await,
            Dialect::Xiaozhi => made.boards(&*admin, args, config).await,
        };
        if let Err(error) = result {
            made.remove().await?;
            return Err(error);
        }
        Ok(made)
    }

    async fn natives(&mut self, admin: &dyn Admin, args: &Args, config: &Config) -> anyhow::Result<()> {
        let (host, port) = address(args, config)?;
        for n in 1..=args.devices {
            let id = DeviceId::parse(&format!("sim-{n}"))?;
            let new = NewDevice::anew(id.clone(), ListenMode::Manual);
            let secret = admin.device_add(new).await?.secret.map(|secret| secret.0).unwrap_or_default();
            self.devices.push((Login { host: host.clone(), port, id, secret }, Kind::Native));
        }
        Ok(())
    }

    /// Each boots as a board does: it asks, shows its code, is claimed, and asks again.
    async fn boards(&mut self, admin: &dyn Admin, args: &Args, config: &Config) -> anyhow::Result<()> {
        let mut bootstrap = Bootstrap::new(&bootstrap_url(args, config)?)?;
        for n in 0..args.devices {
            let id = DeviceId::parse(&format!("02:00:00:00:{:02x}:{:02x}", n >> 8 & 0xFF, n & 0xFF))?;
            let number = format!("{:08x}-0000-4000-8000-{:012x}", rand::random::<u32>(), rand::random::<u32>());
            let mut told = ask(&mut bootstrap, &id, &number).await?;
            if let Told::Wait(code) = told {
                let transport = args.transport.map(|transport| transport.of(n as usize).into());
                admin.device_claim(Claim { code, name: Some("simulated".into()), transport }).await?;
                told = ask(&mut bootstrap, &id, &number).await?;
            }
            let Told::Go(login, path) = told else { anyhow::bail!("{id} was claimed and still waits") };
            // a WebSocket has all that it needs in its URL
            let login = Login { id, ..login };
            self.devices.push((login, Kind::Xiaozhi(path)));
        }
        self.complaints = bootstrap.complaints;
        Ok(())
    }

    /// Removes what was made.
    pub async fn remove(self) -> anyhow::Result<()> {
        let Some(admin) = self.admin else { return Ok(()) };
        for (login, _) in self.devices {
            admin.device_remove(login.id).await?;
        }
        Ok(())
    }
}

/// Asks, and waits where the gateway lets in so many boards a minute.
async fn ask(bootstrap: &mut Bootstrap, id: &DeviceId, number: &str) -> anyhow::Result<Told> {
    let begun = tokio::time::Instant::now();
    loop {
        match bootstrap.ask(id, number).await {
            Err(BootstrapError::Http(HttpError::Status { status: 429, retry_after, .. }))
                if begun.elapsed() < PATIENCE =>
            {
                tokio::time::sleep(retry_after.unwrap_or(Duration::from_secs(1)).max(Duration::from_millis(200))).await;
            }
            told => return Ok(told?),
        }
    }
}

/// What device `n` of those in a file is.
fn kind(args: &Args, config: &Config, n: usize) -> anyhow::Result<Kind> {
    if args.dialect == Dialect::Native {
        return Ok(Kind::Native);
    }
    Ok(Kind::Xiaozhi(match args.transport.unwrap_or(Transport::Mqtt).of(n) {
        Transport::Websocket => {
            let url = bootstrap_url(args, config)?;
            let door = url.strip_prefix("http").and_then(|rest| Some(rest.split_once("/xiaozhi")?.0));
            let door = door.context("--bootstrap is not as in http://gateway:8003/xiaozhi/ota/")?;
            Path::WebSocket(format!("ws{door}/xiaozhi/v1/"), Version::One)
        }
        _ => Path::Mqtt,
    }))
}

fn bootstrap_url(args: &Args, config: &Config) -> anyhow::Result<String> {
    if let Some(url) = &args.bootstrap {
        return Ok(url.clone());
    }
    anyhow::ensure!(
        config.devices.enabled,
        "the devices' HTTP is off (devices.enabled): name another with --bootstrap"
    );
    let scheme = if config.devices.tls { "https" } else { "http" };
    Ok(format!("{scheme}://{}/xiaozhi/ota/", super::reachable(config.devices.listen)))
}

fn address(args: &Args, config: &Config) -> anyhow::Result<(String, u16)> {
    let Some(asked) = &args.address else {
        let at = super::reachable(config.mqtt.listen);
        return Ok((at.ip().to_string(), at.port()));
    };
    let parts = asked.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parts.with_context(|| format!("--address {asked:?} is not HOST:PORT"))
}

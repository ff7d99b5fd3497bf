//! `[udp]`: where datagrams arrive, and what devices are told of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{ByteSize, Problem, Span};

/// A silent microphone sends each 400 ms: an address that sends must stay known as such in between.
const SHORTEST_HOLD: Duration = Duration::from_millis(500);

/// Audio of devices with stock xiaozhi firmware that speak MQTT: it goes beside it, as datagrams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Take and send datagrams (default true). Without it such devices are refused a conversation over MQTT; WebSocket
    /// needs none.
    pub enabled: bool,
    /// Address and port for datagrams of all devices (default "0.0.0.0:8884"; port 0 takes a free one; "[::]:8884" takes
    /// IPv4 and IPv6).
    pub listen: SocketAddr,
    /// What devices are told to send to, where it is not the address that their MQTT connection came to: behind NAT, or
    /// where networks see the gateway by several names. The first that fits the device's address counts. None by
    /// default; each is a table `[[udp.public]]`.
    pub public: Vec<Public>,
    /// Open channels, one a device in conversation (default 4000).
    #[schemars(range(min = 1, max = 1_000_000))]
    pub channels: usize,
    /// A channel ends when nothing went either way for so long (default "3m").
    pub idle: Span,
    /// For so long after its last datagram a device's address keeps others out: it can move only when the old address is
    /// silent (default "2s", at least "500ms": a device that listens sends each 400 ms).
    pub hold: Span,
    /// Datagrams that may wait for the socket, all devices together; beyond it the oldest go (default 512).
    #[schemars(range(min = 0, max = 65_536))]
    pub queue: usize,
    /// What the system may keep of arrived datagrams before they are read (default "1MB"; the system may allow less:
    /// `net.core.rmem_max`).
    pub receive_buffer: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([0, 0, 0, 0], 8_884)),
            public: Vec::new(),
            channels: 4_000,
            idle: Span::secs(180),
            hold: Span::secs(2),
            queue: 512,
            receive_buffer: ByteSize::mb(1),
        }
    }
}

/// What devices of one network are told to send to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Public {
    /// Network of the devices, as the gateway sees their MQTT connections: "192.168.1.0/24", one address, or "0.0.0.0/0"
    /// for all of IPv4 and devices whose address is not known.
    pub from: Network,
    /// IPv4 address or name of the gateway as these devices see it. An IPv6 address is no use to the firmware; a name
    /// that leads to one is.
    pub host: String,
    /// Port as these devices see it (default: the one of `listen`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
}

/// A network, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// An IPv4 address in the clothes of IPv6 counts as what it is. Who has no known address is of the network of all.
    fn has(&self, device: Option<IpAddr>) -> bool {
        device.map_or(self.0.prefix_len() == 0, |device| self.0.contains(&device.to_canonical()))
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self)
            .map_err(|_| format!("{text:?} is no network: write it as \"192.168.1.0/24\", or one address without /"))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$",
            "description": "a network, as \"192.168.1.0/24\", or one address"
        })
    }
}

/// Why a device cannot be told where to send to; each is mended by an entry of `[[udp.public]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoHost {
    /// Its connection says nothing of addresses.
    #[error("the address that its connection came to is not known")]
    Unknown,
    /// It sees the gateway by IPv6, and firmware takes no such address.
    #[error("its connection came to an ipv6 address, which firmware cannot use for datagrams")]
    Ipv6,
}

impl Settings {
    /// What a device is told: `addresses` are ours that its connection came to, and its own; `bound` is the socket's.
    pub(super) fn host(
        &self,
        addresses: Option<(IpAddr, IpAddr)>,
        bound: SocketAddr,
    ) -> Result<(Arc<str>, u16), NoHost> {
        let device = addresses.map(|(_, device)| device);
        if let Some(public) = self.public.iter().find(|public| public.from.has(device)) {
            return Ok((public.host.as_str().into(), public.port.unwrap_or(bound.port())));
        }
        // a socket that is bound to one address hears nothing of others
        let one = Some(bound.ip()).filter(|ip| !ip.is_unspecified());
        let ours = one.or(addresses.map(|(ours, _)| ours)).filter(|ip| !ip.is_unspecified());
        match ours.ok_or(NoHost::Unknown)?.to_canonical() {
            IpAddr::V4(ip) if ip.is_unspecified() => Err(NoHost::Unknown),
            IpAddr::V4(ip) => Ok((ip.to_string().into(), bound.port())),
            IpAddr::V6(_) => Err(NoHost::Ipv6),
        }
    }

    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: &str, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if self.channels == 0 {
            wrong("channels", "leaves room for no device", "write 1 or more, or udp.enabled = false");
        }
        if self.idle.0.is_zero() {
            wrong("idle", "is no time at all", "write a time, as in \"3m\"");
        }
        if self.hold.0 < SHORTEST_HOLD {
            wrong("hold", "lets any address in while the device sends, each 400 ms", "write 500ms or more");
        }
        let one = !self.listen.ip().is_unspecified();
        if self.enabled && one && self.listen.ip().to_canonical().is_ipv6() && self.public.is_empty() {
            let remedy = "listen on \"[::]:8884\", which takes IPv4 too, or add [[udp.public]] with a name for it";
            wrong("listen", "is an ipv6 address, which firmware cannot be told", remedy);
        }
        for (at, public) in self.public.iter().enumerate() {
            if let Err((what, remedy)) = usable(&public.host) {
                wrong(&format!("public.{at}.host"), what, remedy);
            }
            if public.port == Some(0) {
                wrong(&format!("public.{at}.port"), "is no port", "leave it out for the port of udp.listen");
            }
        }
        problems
    }
}

/// Whether firmware can send to `host`: an IPv4 address or a name. What is wrong, and the remedy.
fn usable(host: &str) -> Result<(), (&'static str, &'static str)> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return match ip {
            ip if ip.is_unspecified() => {
                Err(("is every address and none", "write the address or name by which these devices reach the gateway"))
            }
            IpAddr::V6(_) => Err((
                "is an ipv6 address, which firmware cannot use",
                "write an IPv4 address, or a name: one that leads to an IPv6 address is fine",
            )),
            IpAddr::V4(_) => Ok(()),
        };
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if host.len() <= 253 && name.split('.').all(label) {
        return Ok(());
    }
    Err(("is no address and no host name", "write it without scheme, port or path, as in \"voice.example.org\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn public(from: &str, host: &str, port: Option<u16>) -> Public {
        Public { from: from.parse().unwrap(), host: host.to_owned(), port }
    }

    fn told(settings: &Settings, addresses: Option<(&str, &str)>, bound: &str) -> Result<String, NoHost> {
        let addresses = addresses.map(|(ours, device)| (ip(ours), ip(device)));
        settings.host(addresses, bound.parse().unwrap()).map(|(host, port)| format!("{host}:{port}"))
    }

    #[test]
    fn a_device_is_told_the_address_that_its_connection_came_to() {
        let settings = Settings::default();
        let told = |ours, bound| told(&settings, Some((ours, "10.0.0.9")), bound);
        assert_eq!(told("10.0.0.1", "0.0.0.0:8884").unwrap(), "10.0.0.1:8884");
        assert_eq!(told("::ffff:10.0.0.1", "[::]:9000").unwrap(), "10.0.0.1:9000");
        // a socket of one address hears only what comes there
        assert_eq!(told("10.0.0.1", "192.168.1.5:8884").unwrap(), "192.168.1.5:8884");
    }

    #[test]
    fn nobody_is_told_every_address_or_one_that_firmware_cannot_use() {
        let settings = Settings::default();
        assert_eq!(told(&settings, None, "0.0.0.0:8884"), Err(NoHost::Unknown));
        assert_eq!(told(&settings, None, "[::]:8884"), Err(NoHost::Unknown));
        for ours in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert_eq!(told(&settings, Some((ours, "10.0.0.9")), "[::]:8884"), Err(NoHost::Unknown), "{ours}");
        }
        assert_eq!(told(&settings, Some(("2001:db8::1", "2001:db8::9")), "[::]:8884"), Err(NoHost::Ipv6));
        assert_eq!(told(&settings, Some(("2001:db8::1", "2001:db8::9")), "[2001:db8::1]:8884"), Err(NoHost::Ipv6));
    }

    #[test]
    fn the_first_network_that_fits_says_what_a_device_is_told() {
        let public = vec![
            public("192.168.1.0/24", "192.168.1.5", None),
            public("203.0.113.7", "voice.example.org", Some(18_884)),
            public("2001:db8::/32", "v6.example.org", None),
            public("0.0.0.0/0", "voice.example.org", None),
        ];
        let settings = Settings { public, ..Settings::default() };
        for (device, host) in [
            ("192.168.1.77", "192.168.1.5:8884"),
            ("::ffff:192.168.1.77", "192.168.1.5:8884"),
            ("203.0.113.7", "voice.example.org:18884"),
            ("203.0.113.8", "voice.example.org:8884"),
            ("2001:db8::9", "v6.example.org:8884"),
        ] {
            assert_eq!(told(&settings, Some(("10.0.0.1", device)), "0.0.0.0:8884").unwrap(), host, "{device}");
        }
        assert_eq!(told(&settings, None, "0.0.0.0:8884").unwrap(), "voice.example.org:8884");
        assert_eq!(told(&settings, Some(("fe80::1", "fe80::2")), "[::]:8884"), Err(NoHost::Ipv6));
    }

    #[test]
    fn hosts_that_firmware_cannot_use_are_refused_with_the_remedy() {
        for good in ["10.0.0.1", "voice.example.org", "voice.example.org.", "gateway", "my_box.local", "8-8.example"] {
            assert_eq!(usable(good), Ok(()), "{good}");
        }
        for bad in ["", "0.0.0.0", "::", "2001:db8::1", "[2001:db8::1]", "http://x", "x:8884", "x/y", "a..b", "ä.de"] {
            let settings = Settings { public: vec![public("0.0.0.0/0", bad, None)], ..Settings::default() };
            let problems = settings.check("udp");
            assert!(matches!(&problems[..], [one] if one.key == "udp.public.0.host"), "{bad}: {problems:?}");
        }
        let problems = Settings { public: vec![public("::/0", "2001:db8::1", Some(0))], ..Settings::default() };
        let keys: Vec<_> = problems.check("udp").into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["udp.public.0.host", "udp.public.0.port"]);
    }

    #[test]
    fn settings_that_serve_nobody_are_refused() {
        let settings = Settings {
            listen: "[2001:db8::1]:8884".parse().unwrap(),
            channels: 0,
            idle: Span::secs(0),
            hold: Span::ms(400),
            ..Settings::default()
        };
        let keys: Vec<_> = settings.check("udp").into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["udp.channels", "udp.idle", "udp.hold", "udp.listen"]);
        assert_eq!(Settings::default().check("udp"), []);
        let both = Settings { listen: "[::]:8884".parse().unwrap(), ..Settings::default() };
        assert_eq!(both.check("udp"), []);
    }

    #[test]
    fn a_network_is_read_from_text_and_what_is_none_is_named() {
        let settings: Settings = toml::from_str("[[public]]\nfrom = \"10.1.2.3/8\"\nhost = \"a.example\"\n").unwrap();
        assert!(settings.public[0].from.has(Some(ip("10.200.0.1"))));
        for bad in ["10.0.0.0/33", "x", "10.0.0", ""] {
            assert!(bad.parse::<Network>().unwrap_err().contains("192.168.1.0/24"), "{bad}");
        }
    }
}

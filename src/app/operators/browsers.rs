//! The operation that lets a browser in as a device.

use std::net::SocketAddr;

use super::Operators;
use crate::admin::{Admin, AdminError, AdminErrorKind, NewDevice, NewTalk, Secret, TalkLink};
use crate::config::Config;
use crate::domain::ListenMode;
use crate::door::http::talk::{PATH, TicketError};

/// A link for a browser; the device is made when there is none, with a password that nobody is told.
pub(super) async fn invite(operators: &Operators, new: NewTalk) -> Result<TalkLink, AdminError> {
    let NewTalk { device, time } = new;
    let invalid = |text: String| AdminError::new(AdminErrorKind::Invalid, text);
    let Some(address) = operators.addrs.devices.filter(|_| operators.talk.is_on()) else {
        return Err(invalid("no page is served for browsers: set talk.enabled and devices.enabled".to_owned()));
    };
    let made = match operators.credentials.who(device.as_str()) {
        Some(crate::topics::Who::Device(_)) => false,
        Some(_) => return Err(AdminError::new(AdminErrorKind::Exists, format!("{device} is an operator"))),
        None => {
            let anew = NewDevice { replace: false, ..NewDevice::anew(device.clone(), ListenMode::Auto) };
            operators.device_add(anew).await?;
            true
        }
    };
    let invitation = operators.talk.invite(&device, time).map_err(|error| match error {
        TicketError::Random => AdminError::new(AdminErrorKind::Internal, error.to_string()),
        TicketError::Full(_) | TicketError::Time => invalid(error.to_string()),
    })?;
    let url = format!("{}{PATH}#{}", base(&operators.config, address), invitation.ticket.reveal());
    Ok(TalkLink { device, url: Secret(url), until: invitation.until, made })
}

/// Where a browser finds the devices' HTTP. Without TLS that is this machine: no browser gives its microphone to a page
/// that came in the clear from another.
fn base(config: &Config, address: SocketAddr) -> String {
    let (ip, port, devices) = (address.ip(), address.port(), &config.devices);
    let own = if ip.is_unspecified() || ip.is_loopback() { "localhost".to_owned() } else { address.ip().to_string() };
    let own = if own.contains(':') { format!("[{own}]") } else { own };
    if devices.tls {
        let host = devices.host.clone().unwrap_or(own);
        format!("https://{host}:{port}")
    } else {
        format!("http://{own}:{port}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_link_leads_to_where_a_browser_may_use_its_microphone() {
        let mut config = Config::default();
        config.devices.host = Some("gateway.example".into());
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(base(&config, at("0.0.0.0:8003")), "http://localhost:8003");
        assert_eq!(base(&config, at("127.0.0.1:8003")), "http://localhost:8003");
        assert_eq!(base(&config, at("192.168.7.2:8003")), "http://192.168.7.2:8003");
        assert_eq!(base(&config, at("[fd00::1]:8003")), "http://[fd00::1]:8003");
        config.devices.tls = true;
        assert_eq!(base(&config, at("0.0.0.0:8003")), "https://gateway.example:8003");
    }
}

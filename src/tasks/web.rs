//! Web pages for tasks: which addresses are public, and the text of a page.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::settings::Web;
use crate::provider::guarded::{Allows, Guarded, Limits, Page};
use crate::provider::http::{HttpError, Settings as HttpSettings};

/// Reads a network, or one address.
pub(super) fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Fetches pages.
pub(super) struct Pages {
    client: Guarded,
    limits: Limits,
}

impl Pages {
    /// As `settings` say.
    pub(super) fn new(settings: &Web, http: &HttpSettings) -> Result<Self, HttpError> {
        let networks: Vec<IpNet> = settings.networks.iter().filter_map(|text| network(text)).collect();
        let allows: Allows = Arc::new(move |ip| {
            let ip = ip.to_canonical();
            is_public(ip) || networks.iter().any(|network| network.contains(&ip))
        });
        let (whole, size) = (settings.timeout.0, settings.size.len());
        let limits = Limits { whole, size, redirects: settings.redirects };
        Ok(Self { client: Guarded::new(http, allows)?, limits })
    }

    /// The text of a page, or why there is none, in words for the model.
    pub(super) async fn text(&self, url: &str) -> Result<String, String> {
        let page = self.client.get(url.trim(), self.limits).await.map_err(|error| error.to_string())?;
        let Page { url, mime, body, cut } = page;
        let text = String::from_utf8_lossy(&body);
        let text = match mime.as_str() {
            "text/html" | "application/xhtml+xml" => readable(&text),
            "application/json" | "application/xml" => text.into_owned(),
            mime if mime.starts_with("text/") => text.into_owned(),
            _ => return Err(format!("the page is no text but {}", super::cut(&mime, 64))),
        };
        let more = if cut { "\n[the page goes on]" } else { "" };
        Ok(format!("{url}\n{}{more}", text.trim()))
    }
}

/// It is an address of the public internet: not of this machine, its networks, or anybody's inner network.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        // carriers' NAT, protocol assignments, 6to4 relays, benchmarks
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let v4 = |high: u16, low: u16| is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match ip.segments() {
        // NAT64 and 6to4 lead to the IPv4 address inside
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => v4(high, low),
        // Teredo, ORCHID, documentation and the like
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        // global unicast is all that is public: not ::1, ULA, link-local, site-local, multicast, IPv4-compatible
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

/// What a person would read of a page: no scripts, no styles, no marks; a line a block.
fn readable(html: &str) -> String {
    let mut text = String::with_capacity(html.len() / 4);
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("<!--") {
            rest = rest.find("-->").map_or("", |end| &rest[end + 3..]);
            continue;
        }
        let Some(end) = rest.find('>') else { break };
        let tag = rest[1..end].trim_start_matches('/');
        let name: String =
            tag.chars().take_while(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        let opens = !rest.starts_with("</");
        rest = &rest[end + 1..];
        if opens && matches!(name.as_str(), "script" | "style" | "noscript" | "template" | "svg") {
            rest = after_end(rest, &name);
        }
        let inline = ["a", "b", "i", "em", "strong", "span", "code", "small", "sup", "sub", "u", "mark", "abbr"];
        text.push(if inline.contains(&name.as_str()) { ' ' } else { '\n' });
    }
    if !rest.starts_with('<') {
        text.push_str(rest);
    }
    lines(&entities(&text))
}

/// What follows the end of an element whose content is no text.
fn after_end<'a>(text: &'a str, name: &str) -> &'a str {
    let mut from = 0;
    while let Some(at) = text[from..].find("</").map(|at| at + from) {
        let after = &text[at + 2..];
        if after.get(..name.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(name)) {
            return after.find('>').map_or("", |end| &after[end + 1..]);
        }
        from = at + 2;
    }
    ""
}

fn entities(text: &str) -> String {
    let known = [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    known.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Single spaces, no empty lines.
fn lines(text: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(line).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    #[test]
    fn no_address_of_an_inner_network_is_public_however_it_is_written() {
        for ip in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "192.88.99.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn a_page_is_read_without_its_scripts_and_never_past_its_end() {
        let html = "<html><head><title>Caf&eacute; &amp; Bar</title><style>p{}</style></head><body><!-- no --><p>Open \
                    <b>daily</b>.</p><SCRIPT>alert('<p>no</p>')</SCRIPT><ul><li>Tea<li>Rice</ul></body>";
        assert_eq!(readable(html), "Caf&eacute; & Bar\nOpen daily .\nTea\nRice");
        for broken in
            ["<", "<p", "<!--", "<script>", "<script></", "</", "a<b", "<script></scrip", "é<é>é</é", "<svg></s€g>"]
        {
            let _ = readable(broken);
        }
        assert_eq!(readable("<script>no</scr"), "");
    }
}

//! What a board says about itself, read strictly: its MAC, and the number that it made up.

use crate::domain::DeviceId;

/// A board's MAC as stock firmware writes it (`f4:12:fa:00:00:01`), which is its device id.
///
/// Upper case, dashes, and the two addresses that are nobody's are refused: one board must not have two names.
pub fn mac(text: &str) -> Option<DeviceId> {
    let octets: Vec<&str> = text.split(':').collect();
    if octets.len() != 6 || !octets.iter().all(|octet| is_octet(octet)) {
        return None;
    }
    let nobody = |octet: &str| octets.iter().all(|one| *one == octet);
    if nobody("00") || nobody("ff") {
        return None;
    }
    DeviceId::parse(text).ok()
}

fn is_octet(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The number (a UUID) that a board made up when it was first started, in lower case. The one that is all zeros is
/// nobody's own.
pub fn number(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let hex = groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()));
    let some = text.bytes().any(|b| !matches!(b, b'0' | b'-'));
    (lengths == [8, 4, 4, 4, 12] && hex && some).then(|| text.to_ascii_lowercase())
}

/// Which boards may enrol at their first contact: one MAC, or all that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed(String);

impl Allowed {
    /// Reads `aa:bb:cc:dd:ee:ff` or `aa:bb:cc:*`; none when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        match text.strip_suffix(":*") {
            None => mac(&text).map(|mac| Self(mac.to_string())),
            Some(start) => {
                let octets: Vec<&str> = start.split(':').collect();
                let fits = octets.len() < 6 && octets.iter().all(|octet| is_octet(octet));
                fits.then(|| Self(format!("{start}:")))
            }
        }
    }

    /// Is it this one, or one of these.
    pub fn fits(&self, device: &DeviceId) -> bool {
        device.as_str().starts_with(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_mac_has_one_form_only() {
        assert_eq!(mac("f4:12:fa:00:00:01").unwrap().as_str(), "f4:12:fa:00:00:01");
        for bad in [
            "",
            "F4:12:FA:00:00:01",
            "f4-12-fa-00-00-01",
            "f412fa000001",
            "f4:12:fa:00:00",
            "f4:12:fa:00:00:01:02",
            "f4:12:fa:00:00:0g",
            "f4:12:fa:00:00:01 ",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "../../../../../../x",
        ] {
            assert_eq!(mac(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_number_is_a_uuid_that_is_somebodys() {
        assert_eq!(
            number("6F9619FF-8B86-4011-B42D-00CF4FC964FF").as_deref(),
            Some("6f9619ff-8b86-4011-b42d-00cf4fc964ff")
        );
        for bad in [
            "",
            "web_test_client",
            "6f9619ff8b864011b42d00cf4fc964ff",
            "{6f9619ff-8b86-4011-b42d-00cf4fc964ff}",
            "6f9619ff-8b86-4011-b42d-00cf4fc964f",
            "00000000-0000-0000-0000-000000000000",
        ] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_colon_and_fits_nothing_else() {
        let (one, some) = (Allowed::parse("F4:12:FA:00:00:01").unwrap(), Allowed::parse("f4:12:*").unwrap());
        let board = |text| mac(text).unwrap();
        assert!(one.fits(&board("f4:12:fa:00:00:01")) && !one.fits(&board("f4:12:fa:00:00:02")));
        assert!(some.fits(&board("f4:12:fa:00:00:02")) && !some.fits(&board("f4:13:fa:00:00:02")));
        for bad in ["*", ":*", "f4:*:*", "f4:1*", "f4:12:fa:00:00:01:*", "f4:12:fa:00:00", "f4:12:*:00"] {
            assert_eq!(Allowed::parse(bad), None, "{bad}");
        }
    }
}

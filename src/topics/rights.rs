//! Who may publish and subscribe to what.
//!
//! - A device publishes its own uplinks, and reads what lies below its own root (`device/{id}`) and its own
//!   rows. Nothing else.
//! - A viewer reads `device/#`, `gateway/#`, `homeassistant/#` and `$SYS/#`, and publishes nothing.
//! - An operator reads everything, and publishes commands and application topics: any name outside `device/`,
//!   `gateway/` and `$…` that no row of the table claims (so not Home Assistant's discovery, which is ours).
//! - An admin reads everything and publishes everything, but no `$…` and no device's uplink:
//!   what a device says, the device says.
//! - Anonymous: nothing but what rules give. A bring-up mode that admits unknown devices gives them an identity
//!   first.
//!
//! [`super::Rules`] widen and narrow this.

use super::table::{Table, Way};
use super::{matches, shared, valid_filter, valid_topic};
use crate::domain::DeviceId;

/// What an operator's credentials allow; each role includes the one before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Looks and commands.
    Operator,
    /// May do all that anybody may.
    Admin,
}

/// A proven identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// A device.
    Device(DeviceId),
    /// A person or program that runs the gateway.
    Operator(Role),
    /// Nobody knows.
    Anonymous,
}

/// What a viewer may read.
const VIEWED: [&str; 4] = ["device", "gateway", "homeassistant", "$SYS"];

impl Table {
    /// `who` may publish to `topic`. A topic that is no valid name is nobody's.
    pub fn may_publish(&self, who: &Who, topic: &str) -> bool {
        if !valid_topic(topic) || topic.starts_with('$') {
            return false;
        }
        let uplink = self.uplink(topic);
        match who {
            Who::Device(id) => uplink.is_some_and(|u| u.device == id.as_str()),
            Who::Operator(Role::Admin) => uplink.is_none(),
            Who::Operator(Role::Operator) => self.command(topic).is_some() || self.is_free(topic),
            Who::Operator(Role::Viewer) | Who::Anonymous => false,
        }
    }

    /// `who` may subscribe to `filter`: all that it matches is theirs to read.
    pub fn may_subscribe(&self, who: &Who, filter: &str) -> bool {
        if !valid_filter(filter) {
            return false;
        }
        let filter = shared(filter).map_or(filter, |(_, rest)| rest);
        match who {
            Who::Device(id) => self.is_within(filter, id),
            Who::Operator(Role::Viewer) => VIEWED.contains(&first(filter)),
            Who::Operator(Role::Operator | Role::Admin) => true,
            Who::Anonymous => false,
        }
    }

    /// No row and no part of the tree that belongs to the gateway or to a device: what rules may give.
    pub fn is_free(&self, topic: &str) -> bool {
        !topic.starts_with('$')
            && !matches!(first(topic), "device" | "gateway")
            && self.entries().iter().all(|e| e.pattern.find(topic).is_none())
    }

    /// All that `filter` matches is the device's own.
    fn is_within(&self, filter: &str, device: &DeviceId) -> bool {
        let below_root = self.roots().iter().any(|root| root.contains(filter, device.as_str()));
        below_root || self.is_own_row(filter, device)
    }

    /// `filter` is a plain name, and one of the device's rows; a wildcard could reach beyond them.
    fn is_own_row(&self, filter: &str, device: &DeviceId) -> bool {
        let own = |way| matches!(way, Way::Up | Way::Down | Way::Gateway);
        valid_topic(filter)
            && self.entries().iter().any(|e| own(e.row.way) && matches(filter, &e.pattern.name(device.as_str(), "")))
    }
}

fn first(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

    use proptest::prelude::*;

    use super::*;

    fn table() -> Table {
        Table::builtin("box").unwrap()
    }

    fn cane() -> Who {
        Who::Device(DeviceId::parse("cane").unwrap())
    }

    #[test]
    fn nobody_publishes_in_a_devices_name_but_the_device() {
        let table = table();
        let other = Who::Device(DeviceId::parse("other").unwrap());
        let all = [Role::Viewer, Role::Operator, Role::Admin].map(Who::Operator);
        for stream in ["control", "audio", "telemetry", "image"] {
            let topic = format!("device/cane/{stream}");
            assert!(table.may_publish(&cane(), &topic));
            for who in all.iter().chain([&other, &Who::Anonymous]) {
                assert!(!table.may_publish(who, &topic), "{who:?} to {topic}");
            }
        }
    }

    #[test]
    fn a_device_publishes_nothing_but_its_uplinks() {
        let table = table();
        for no in [
            "device/cane/status",
            "device/cane/down/audio",
            "device/cane/other",
            "gateway/box/command/cane/say",
            "weather",
            "homeassistant/device/voxgate_cane/config",
            "$SYS/x",
            "device/+/audio",
            "",
        ] {
            assert!(!table.may_publish(&cane(), no), "{no}");
        }
    }

    #[test]
    fn a_device_reads_its_own_and_a_filter_must_lie_within() {
        let table = table();
        for yes in [
            "device/cane/down/control",
            "device/cane/down/#",
            "device/cane/#",
            "device/cane/+",
            "device/cane/status",
            "$share/g/device/cane/down/audio",
        ] {
            assert!(table.may_subscribe(&cane(), yes), "{yes}");
        }
        for no in [
            "#",
            "+/cane/#",
            "device/#",
            "device/+/down/control",
            "device/cane2/down/control",
            "device/can",
            "device",
            "gateway/#",
            "gateway/box/event/cane/turn",
            "$SYS/#",
            "$share/g/#",
            "$share/device/cane/#",
            "weather",
        ] {
            assert!(!table.may_subscribe(&cane(), no), "{no}");
        }
    }

    #[test]
    fn operators_by_role() {
        let table = table();
        let [viewer, operator, admin] = [Role::Viewer, Role::Operator, Role::Admin].map(Who::Operator);
        let publishes = |who, topic| table.may_publish(who, topic);
        let reads = |who, filter| table.may_subscribe(who, filter);
        for filter in
            ["device/#", "gateway/+/status", "homeassistant/#", "$SYS/#", "$share/g/device/#", "device/+/audio"]
        {
            assert!([&viewer, &operator, &admin].iter().all(|w| reads(w, filter)), "{filter}");
        }
        for filter in ["#", "+/x", "weather", "$share/g/#"] {
            assert!(!reads(&viewer, filter) && reads(&operator, filter) && reads(&admin, filter), "{filter}");
        }
        for topic in ["gateway/box/command/cane/say", "weather/today", "homeassistant/status", "设备/1", "devices/x"]
        {
            assert!(!publishes(&viewer, topic) && publishes(&operator, topic) && publishes(&admin, topic), "{topic}");
        }
        for topic in [
            "device/cane/down/control",
            "device/x",
            "device",
            "gateway/box/status",
            "gateway/box/command/cane/explode",
            "homeassistant/device/voxgate_cane/config",
        ] {
            assert!(!publishes(&operator, topic) && publishes(&admin, topic), "{topic}");
        }
        assert!(!publishes(&admin, "$SYS/x") && !publishes(&admin, "a/#") && !reads(&admin, "a#"));
    }

    #[test]
    fn nobody_known_may_nothing() {
        let table = table();
        for name in ["weather", "device/cane/audio", "gateway/box/status"] {
            assert!(!table.may_publish(&Who::Anonymous, name) && !table.may_subscribe(&Who::Anonymous, name));
        }
    }

    proptest! {
        #[test]
        fn what_a_device_may_subscribe_never_reaches_another_devices_topics(
            start in prop_oneof![Just(""), Just("device/"), Just("device/cane/"), Just("$share/g/device/cane/"), Just("$share/")],
            rest in proptest::collection::vec(prop_oneof![
                Just("+"), Just("#"), Just("device"), Just("cane"), Just("other"), Just("down"), Just("control"),
                Just("status"),
            ], 1..5),
        ) {
            let (table, filter) = (table(), format!("{start}{}", rest.join("/")));
            if table.may_subscribe(&cane(), &filter) {
                for topic in [
                    "device/other/control", "device/other/down/control", "device/other/status", "gateway/box/status",
                    "gateway/box/event/cane/turn", "weather", "$SYS/x", "device/other",
                ] {
                    prop_assert!(!matches(&filter, topic), "{} reaches {}", filter, topic);
                }
            }
        }
    }
}

//! What rules give, take, and may never give.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::door::credentials::tests::MapStore;
use crate::topics::{Access, Role, Subject};

fn rule(subject: &str, access: Access, filter: &str) -> Rule {
    Rule { subject: Subject::parse(subject).unwrap(), access, filter: filter.to_owned() }
}

fn device(id: &str) -> Caller {
    let who = Who::Device(DeviceId::parse(id).unwrap());
    Caller { who, user: id.into(), client: format!("{id}-client").into() }
}

fn operator(name: &str, role: Role) -> Caller {
    Caller { who: Who::Operator(role), user: name.into(), client: "c".into() }
}

fn anonymous() -> Caller {
    Caller { who: Who::Anonymous, user: "".into(), client: "c".into() }
}

fn rights(rules: Vec<Rule>) -> Arc<Rights> {
    rights_on(rules, Arc::new(MapStore::default()))
}

fn rights_on(rules: Vec<Rule>, store: Arc<MapStore>) -> Arc<Rights> {
    let table = Arc::new(Table::builtin("box").unwrap());
    Rights::open(table, rules, store).now_or_never().unwrap().unwrap()
}

/// What only one device, or only the gateway, says.
const OWNED: [&str; 12] = [
    "device/other/control",
    "device/other/audio",
    "device/other/down/control",
    "device/other/status",
    "device",
    "device/new/x",
    "gateway/box/status",
    "gateway/box/event/cane/turn",
    "gateway/box/command/other/say",
    "gateway",
    "homeassistant/device/voxgate_cane/config",
    "$SYS/broker/clients",
];

#[test]
fn without_rules_the_table_decides() {
    let rights = rights(Vec::new());
    assert!(rights.may_publish(&device("cane"), "device/cane/control"));
    assert!(!rights.may_publish(&device("cane"), "weather") && !rights.may_publish(&anonymous(), "weather"));
    assert!(rights.may_subscribe(&operator("anna", Role::Viewer), "device/#"));
    assert!(!rights.may_subscribe(&anonymous(), "weather") && rights.may_receive(&anonymous(), "weather"));
}

#[test]
fn the_widest_rule_gives_nobody_what_a_device_or_the_gateway_says() {
    let wide = ["#", "+/#", "device/#", "device/+/control", "device/other/+", "gateway/#", "homeassistant/#"];
    for filter in wide {
        let rights = rights(vec![rule("everyone", Access::Readwrite, filter)]);
        for topic in OWNED {
            for caller in [device("cane"), operator("anna", Role::Viewer), anonymous()] {
                assert_eq!(rights.destination(&caller, topic), None, "{filter} {caller:?} {topic}");
                assert!(!rights.may_will(&caller, topic), "{filter} {caller:?} {topic}");
            }
        }
        assert_eq!(rights.destination(&operator("root", Role::Admin), "device/other/audio"), None, "{filter}");
    }
    assert!(rights(vec![rule("everyone", Access::Write, "#")]).may_publish(&anonymous(), "weather"));
}

#[test]
fn rules_widen_what_one_may_read_and_publish() {
    let rights = rights(vec![
        rule("role:device", Access::Readwrite, "home/%u/#"),
        rule("user:anna", Access::Read, "weather/+"),
        rule("user:anna", Access::Write, "lights/hall"),
        rule("anonymous", Access::Read, "$SYS/#"),
    ]);
    let (cane, anna) = (device("cane"), operator("anna", Role::Viewer));
    assert_eq!(rights.destination(&cane, "home/cane/door"), Some(Destination::Bus));
    assert!(rights.may_subscribe(&cane, "home/cane/#") && rights.may_subscribe(&cane, "$share/g/home/cane/x"));
    assert!(!rights.may_publish(&cane, "home/other/door") && !rights.may_subscribe(&cane, "home/#"));
    assert!(rights.may_subscribe(&anna, "weather/today") && !rights.may_publish(&anna, "weather/today"));
    assert!(rights.may_publish(&anna, "lights/hall") && !rights.may_subscribe(&anna, "lights/hall"));
    assert!(!rights.may_publish(&operator("bert", Role::Viewer), "lights/hall"));
    assert!(rights.may_subscribe(&anonymous(), "$SYS/broker/+") && !rights.may_subscribe(&anonymous(), "#"));
}

#[test]
fn a_denial_narrows_even_the_table() {
    let rights = rights(vec![
        rule("role:device", Access::Deny, "device/%u/audio"),
        rule("role:operator", Access::Deny, "device/+/down/#"),
        rule("everyone", Access::Readwrite, "device/+/down/#"),
    ]);
    let (cane, anna) = (device("cane"), operator("anna", Role::Operator));
    assert!(!rights.may_publish(&cane, "device/cane/audio") && rights.may_publish(&cane, "device/cane/control"));
    assert!(!rights.may_subscribe(&anna, "device/cane/down/audio"), "all of it is denied");
    assert!(rights.may_subscribe(&anna, "device/#"), "part of it is denied");
    assert!(!rights.may_receive(&anna, "device/cane/down/audio") && rights.may_receive(&anna, "device/cane/status"));
    assert!(rights.may_receive(&operator("root", Role::Admin), "device/cane/down/audio"));
}

#[tokio::test]
async fn stored_rules_count_at_once_and_are_told_and_outlive_a_restart() {
    let store = Arc::new(MapStore::default());
    let table = Arc::new(Table::builtin("box").unwrap());
    let configured = vec![rule("everyone", Access::Deny, "secret/#")];
    let rights = Rights::open(table.clone(), configured.clone(), store.clone()).await.unwrap();
    let mut changed = rights.changed();
    changed.mark_unchanged();
    let new = [rule("user:anna", Access::Read, "weather/#"), rule("user:anna", Access::Read, "weather/#")];
    assert_eq!(rights.add_rules(&new).await.unwrap(), 1, "the same rule twice is one rule");
    assert_eq!(rights.add_rules(&new).await.unwrap(), 0);
    assert!(changed.has_changed().unwrap());
    let anna = operator("anna", Role::Viewer);
    assert!(rights.may_subscribe(&anna, "weather/x"));
    let again = Rights::open(table, configured, store).await.unwrap();
    let listed = again.list_rules().await.unwrap();
    assert_eq!(listed.iter().map(|l| l.id.is_some()).collect::<Vec<_>>(), [false, true]);
    assert!(again.may_subscribe(&anna, "weather/x"));
    let id = listed[1].id.clone().unwrap();
    assert_eq!(RuleId::parse(id.as_str()), Some(id.clone()));
    assert!(again.remove_rule(&id).await.unwrap() && !again.remove_rule(&id).await.unwrap());
    assert!(!again.may_subscribe(&anna, "weather/x"));
}

#[tokio::test]
async fn a_rule_that_cannot_be_read_is_no_open_door() {
    let store = Arc::new(MapStore::default());
    let mut batch = Batch::new();
    batch.put(crate::store::Key::new(crate::store::Space::Rule).text("x"), b"{".to_vec());
    store.commit(batch).await.unwrap();
    let table = Arc::new(Table::builtin("box").unwrap());
    assert!(matches!(Rights::open(table, Vec::new(), store).await, Err(StoreError::Damaged(_))));
}

fn filters() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        Just("+"),
        Just("device"),
        Just("cane"),
        Just("other"),
        Just("audio"),
        Just("control"),
        Just("down"),
        Just("gateway"),
        Just("box"),
        Just("command"),
        Just("%u"),
        Just("%c"),
        Just("$SYS"),
        Just("weather"),
    ];
    (proptest::collection::vec(level, 0..5), any::<bool>()).prop_map(|(mut levels, all)| {
        if all || levels.is_empty() {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::Readwrite), Just(Access::Deny)]
}

fn subjects() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("everyone"),
        Just("anonymous"),
        Just("user:cane"),
        Just("user:other"),
        Just("role:device"),
        Just("role:viewer"),
        Just("role:operator"),
        Just("role:admin"),
    ]
}

fn callers() -> impl Strategy<Value = Caller> {
    let who = prop_oneof![
        Just(device("cane")),
        Just(anonymous()),
        Just(operator("anna", Role::Viewer)),
        Just(operator("other", Role::Operator)),
        Just(operator("cane", Role::Admin)),
    ];
    let client = prop_oneof![Just("other"), Just("+"), Just("#"), Just("device/other"), Just("$SYS"), Just("x")];
    (who, client).prop_map(|(caller, client)| Caller { client: client.into(), ..caller })
}

proptest! {
    #[test]
    fn no_set_of_rules_lets_anybody_speak_for_another(
        rules in proptest::collection::vec((subjects(), access(), filters()), 0..6),
        caller in callers(),
    ) {
        let rules: Vec<_> = rules.into_iter().map(|(s, a, f)| rule(s, a, &f)).collect();
        let (ruled, plain) = (rights(rules.clone()), rights(Vec::new()));
        for topic in OWNED {
            let (with, without) = (ruled.destination(&caller, topic), plain.destination(&caller, topic));
            prop_assert!(with.is_none() || with == without, "{rules:?} {caller:?} {topic}");
        }
        for topic in ["device/other/audio", "device/other/control", "$SYS/broker/x"] {
            prop_assert_eq!(ruled.destination(&caller, topic), None);
        }
    }

    #[test]
    fn a_denial_of_a_topic_holds_against_every_other_rule(
        rules in proptest::collection::vec((subjects(), access(), filters()), 0..6),
        caller in callers(),
        topic in prop_oneof![Just("weather"), Just("device/cane/control"), Just("gateway/box/status")],
    ) {
        let mut rules: Vec<_> = rules.into_iter().map(|(s, a, f)| rule(s, a, &f)).collect();
        rules.insert(rules.len() / 2, rule("everyone", Access::Deny, topic));
        let rights = rights(rules);
        prop_assert!(!rights.may_publish(&caller, topic));
        prop_assert!(!rights.may_subscribe(&caller, topic));
        prop_assert!(!rights.may_receive(&caller, topic));
    }
}

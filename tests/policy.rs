//! What is said on a cane and on a toy, by whole gateways: warnings, contradictions, quiet hours, and what is written down.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use gateway::answer::ask;
use gateway::{PATIENCE, Running, chat, until};
use serde_json::Value;
use tokio::time::timeout;
use voxgate::admin::{Admin, DeviceChange, LifelogQuery};
use voxgate::domain::{ControlKind, DeviceId, Downlink, Message};
use voxgate::sim::device::Device;

const CANE: &str = "cane-1";

/// A device that is watched over as an operator says.
async fn device(gateway: &Running, change: impl FnOnce(&mut DeviceChange)) -> Device {
    let id = DeviceId::parse(CANE).unwrap();
    gateway.add(CANE, false).await;
    let mut set = DeviceChange::of(id);
    change(&mut set);
    gateway.operators().device_set(set).await.unwrap();
    gateway.connect(CANE).await
}

fn cane(change: &mut DeviceChange) {
    change.policy = Some("cane".into());
}

/// The entries of a kind, oldest first; waits until there are `least`.
async fn entries(gateway: &Running, kind: &str, least: usize) -> Vec<Value> {
    let query = LifelogQuery { kind: Some(kind.into()), limit: 100, ..LifelogQuery::default() };
    timeout(PATIENCE, async {
        loop {
            let rows = gateway.operators().lifelog_list(query.clone()).await.unwrap();
            if rows.len() >= least {
                return rows.into_iter().map(|row| row.detail).collect();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cane_a_contradiction_is_not_spoken_by_half_and_is_written_down() {
    let reply = ["Well, ", "turn left at the door. ", "It is open. ", "Turn right at the door. ", "Then go on."];
    let gateway = Running::start(chat(&reply)).await;
    let mut device = device(&gateway, cane).await;
    let heard = ask(&mut device, "which way is it").await;
    assert!(!heard.reply.contains("left") && !heard.reply.contains("right"), "{heard:?}");
    assert!(heard.reply.contains("stop and check"), "{heard:?}");
    let audit = entries(&gateway, "safety_policy", 1).await.remove(0);
    assert_eq!((&audit["downgraded"], &audit["risk_level"]), (&true.into(), &"P1".into()));
    assert_eq!(audit["rule_ids"][0], "guard.direction_conflict");
    let turn = gateway.last_turn(CANE).await;
    assert_eq!((&turn["safety"]["level"], &audit["turn_id"]), (&"P1".into(), &turn["turn_id"]));
    assert_eq!(turn["reply"], heard.reply.as_str(), "what is remembered is what was heard");
    let labels = [("source", "voice_reply"), ("action", "semantic_guard_conflict")];
    gateway.counted("voxgate_policy_actions_total", &labels, 1).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_risk_is_announced_on_a_cane_and_told_as_it_is_by_a_toy() {
    let reply = ["Yes, ", "a car is coming from your left."];
    for (profile, expected) in [
        ("cane", "Yes, Careful: a car is coming from your left."),
        ("audit", "Yes, a car is coming from your left."),
        ("", "Yes, a car is coming from your left."),
        ("off", "Yes, a car is coming from your left."),
    ] {
        let gateway = Running::start(chat(&reply)).await;
        let mut device = device(&gateway, |change| {
            (change.policy, change.timezone) = (Some(profile.into()), Some("UTC".into()));
        })
        .await;
        ask(&mut device, "is it safe").await.must_be(expected);
        let turn = gateway.last_turn(CANE).await;
        let level = if profile == "off" { Value::Null } else { "P0".into() };
        assert_eq!(turn["safety"]["level"], level, "{profile}");
        let audits = entries(&gateway, "safety_policy", 0).await.len();
        assert_eq!(audits, usize::from(profile == "cane"), "{profile}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_says_at_night_is_shown_and_what_is_grave_is_spoken() {
    let gateway = Running::start(chat(&["It is late."])).await;
    // all day but a minute that is hours away: quiet now, whenever that is
    let quiet = |change: &mut DeviceChange| {
        change.timezone = Some("UTC".into());
        change.quiet_hours = Some(all_day());
    };
    let mut device = device(&gateway, quiet).await;
    device.control(None, ControlKind::Heartbeat).await.unwrap();
    let id = DeviceId::parse(CANE).unwrap();
    gateway.operators().say(id.clone(), "Dinner is ready.".into()).await.unwrap();
    let shown = until(&mut device, |downlink| {
        matches!(downlink, Downlink::Control { message: Message::Reply { .. } | Message::TtsStart { .. }, .. })
    })
    .await;
    assert!(matches!(shown, Downlink::Control { message: Message::Reply { .. }, .. }), "{shown:?}");
    let audit = entries(&gateway, "interaction_policy", 1).await.remove(0);
    assert_eq!((&audit["reason"], &audit["text"]), (&"silent_quiet_hours".into(), &"Dinner is ready.".into()));
    assert_eq!(gateway.last_turn(CANE).await["outcome"], "silenced");
    // the first thing that is spoken is what matters
    gateway.operators().say(id, "The house is on fire.".into()).await.unwrap();
    let spoken =
        until(&mut device, |d| matches!(d, Downlink::Control { message: Message::TtsSentence { .. }, .. })).await;
    let Downlink::Control { message: Message::TtsSentence { text, .. }, .. } = spoken else { unreachable!() };
    assert_eq!(text, "The house is on fire.");
    until(&mut device, |d| matches!(d, Downlink::Control { message: Message::TtsStop { .. }, .. })).await;
    ask(&mut device, "say something to me").await.must_be("It is late.");
    gateway.stop().await;
}

/// Quiet hours that hold now and for hours: they end six hours from now, and begin a minute after that.
fn all_day() -> String {
    use voxgate::domain::{Clock, SystemClock};
    let minute = SystemClock.wall().0 / 60_000 % 1_440;
    let at = |minute: u64| format!("{:02}:{:02}", minute % 1_440 / 60, minute % 60);
    format!("{}-{}", at(minute + 361), at(minute + 360))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_of_ones_own_counts_and_a_wrong_one_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let english = std::fs::read_to_string("policy/en.toml").unwrap();
    let own = english.replace("caution = \"Careful: \"", "caution = \"Achtung: \"");
    std::fs::write(folder.path().join("en.toml"), own).unwrap();
    let packs = folder.path().to_owned();
    let gateway = Running::start_with(chat(&["The stairs are steep."]), |config| {
        config.policy.packs = Some(packs);
        config.policy.profile = voxgate::domain::Profile::Cane;
    })
    .await;
    let mut device = gateway.device(CANE).await;
    ask(&mut device, "what is there").await.must_be("Achtung: The stairs are steep.");
    let (dir, config) = gateway.put_away().await;
    // an example that does not hold any more
    let wrong = english.replacen("\"stairs\", \"stairway\"", "\"stairway\"", 1);
    std::fs::write(folder.path().join("en.toml"), wrong).unwrap();
    let outside = gateway::outside(&chat(&[]));
    let error = voxgate::app::Gateway::start(config, outside).await.err().unwrap().to_string();
    assert!(error.contains("en.toml") && error.contains("Stairs go down"), "{error}");
    drop(dir);
}

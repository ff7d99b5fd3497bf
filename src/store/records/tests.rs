//! Records and their old forms.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::domain::{DeviceId, SessionId, Wall};
use crate::store::testing::open_small;

fn cane() -> DeviceId {
    DeviceId::parse("cane-1").unwrap()
}

fn sos() -> Inbox {
    Inbox::new(7, cane(), InboxKind::Sos, json!({"kind": "fall"}), Wall(1_000))
}

/// Reads an old record as the type that its file is named after, and writes it again.
fn read_again(name: &str, text: &str) -> Value {
    fn again<T: Serialize + DeserializeOwned>(text: &str) -> Value {
        serde_json::to_value(serde_json::from_str::<T>(text).unwrap()).unwrap()
    }
    match name.split('.').next().unwrap() {
        "device" => again::<Device>(text),
        "inbox" => again::<Inbox>(text),
        "outbox" => again::<Outbox>(text),
        "quarantined" => again::<Quarantined>(text),
        "operation" => again::<Operation>(text),
        "measurement" => again::<Measurement>(text),
        "session" => again::<Session>(text),
        "task" => again::<Task>(text),
        "lifelog" => again::<crate::lifelog::Entry>(text),
        other => panic!("{other} is no record"),
    }
}

#[test]
fn every_old_record_is_still_read_and_nothing_of_it_is_lost() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/records");
    let mut played = 0;
    for version in std::fs::read_dir(root).unwrap() {
        for file in std::fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let (old, new) = (serde_json::from_str::<Value>(&text).unwrap(), read_again(name, &text));
            for (field, value) in old.as_object().unwrap() {
                assert_eq!(new.get(field), Some(value), "{name}: {field}");
            }
            played += 1;
        }
    }
    assert!(played >= 11, "{played} records");
}

#[test]
fn a_message_that_ends_the_gateway_twice_is_put_aside_at_the_third_start() {
    let first = sos();
    let Next::Try(second, batch) = inboxes::next(first, Wall(2_000)).unwrap() else { panic!("not tried") };
    assert_eq!(second.attempts, 2);
    assert_eq!(batch.changes.len(), 1, "the try is counted before it is begun");
    let Next::Quarantine(aside, batch) = inboxes::next(second, Wall(3_000)).unwrap() else { panic!("tried again") };
    assert_eq!((aside.message.n, batch.changes.len()), (7, 2));
}

#[test]
fn a_clean_stop_in_the_middle_does_not_count_as_a_try() {
    let mut batch = Batch::new();
    inboxes::release(&mut batch, &sos()).unwrap();
    let stored: Inbox = serde_json::from_slice(batch.changes[0].1.as_deref().unwrap()).unwrap();
    assert_eq!(stored.attempts, 0);
}

#[test]
fn a_typed_turn_of_an_hour_ago_is_not_answered_unless_the_clock_is_unset() {
    let typed = Inbox::new(1, cane(), InboxKind::Text, json!("hello"), Wall(1_000));
    assert!(matches!(inboxes::next(typed.clone(), Wall(61_000)).unwrap(), Next::Try(..)));
    assert!(matches!(inboxes::next(typed.clone(), Wall(61_001)).unwrap(), Next::Interrupted(..)));
    assert!(matches!(inboxes::next(typed, Wall(0)).unwrap(), Next::Try(..)));
}

#[tokio::test]
async fn an_outbox_is_listed_in_order_by_device_and_emptied_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open_small(dir.path()).unwrap();
    let (store, numbers) = (&*opened.store, Numbers::new(opened.report.boot));
    let mut batch = Batch::new();
    for i in 0..1_300_u64 {
        let device = if i % 2 == 0 { cane() } else { DeviceId::parse("cane-10").unwrap() };
        let entry = Outbox {
            n: numbers.next(),
            device,
            msg_id: format!("m{i}"),
            kind: "alert".into(),
            body: json!({}),
            created: Wall(1),
            expires: Some(Wall(5)),
            at_most_once: false,
        };
        outbox::put(&mut batch, &entry).unwrap();
        if batch.changes.len() == 50 {
            store.commit(std::mem::take(&mut batch)).await.unwrap();
        }
    }
    let all = outbox::list(store, &cane(), 10_000).await.unwrap();
    assert_eq!(all.len(), 650);
    assert!(all.iter().all(|e| e.device == cane()) && all.is_sorted_by_key(|e| e.n));
    assert!(all[0].expired(Wall(6)) && !all[0].expired(Wall(0)));
    outbox::delete(&mut batch, &cane(), all[0].n);
    store.commit(batch).await.unwrap();
    assert_eq!(outbox::list(store, &cane(), 1).await.unwrap(), all[1..2]);
}

#[tokio::test]
async fn windows_of_a_former_session_are_not_this_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_small(dir.path()).unwrap().store;
    let (old, new) = (SessionId::parse("s1").unwrap(), SessionId::parse("s2").unwrap());
    let mut batch = Batch::new();
    marks::put(&mut batch, &cane(), &old, &[1, 2, 0, 3]);
    store.commit(batch).await.unwrap();
    assert_eq!(marks::get(&*store, &cane(), &old).await.unwrap(), Some(vec![1, 2, 0, 3]));
    assert_eq!(marks::get(&*store, &cane(), &new).await.unwrap(), None);
}

#[tokio::test]
async fn a_quarantined_message_can_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_small(dir.path()).unwrap().store;
    let Next::Quarantine(_, batch) = inboxes::next(Inbox { attempts: 2, ..sos() }, Wall(0)).unwrap() else {
        panic!("tried")
    };
    store.commit(batch).await.unwrap();
    assert_eq!(inboxes::list_quarantined(&*store, None, 9).await.unwrap().len(), 1);
    assert_eq!(inboxes::list_quarantined(&*store, Some(&cane()), 9).await.unwrap().len(), 1);
    let mut batch = Batch::new();
    let now = Wall(1_000_000_000);
    assert!(inboxes::retry_quarantined(&*store, &mut batch, &cane(), 7, now).await.unwrap());
    assert!(!inboxes::retry_quarantined(&*store, &mut Batch::new(), &cane(), 8, now).await.unwrap(), "another number");
    store.commit(batch).await.unwrap();
    let not_after = Some(Wall(1_086_400_000));
    assert_eq!(
        inboxes::list(&*store, &cane(), 9).await.unwrap(),
        vec![Inbox { attempts: 0, not_after, ..sos() }],
        "worth it for a day from now on"
    );
    let other = DeviceId::parse("can").unwrap();
    assert!(inboxes::list(&*store, &other, 9).await.unwrap().is_empty(), "each device has its own");
    assert!(inboxes::list_quarantined(&*store, None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_quarantined_message_can_be_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_small(dir.path()).unwrap().store;
    let Next::Quarantine(_, batch) = inboxes::next(Inbox { attempts: 2, ..sos() }, Wall(0)).unwrap() else {
        panic!("tried")
    };
    store.commit(batch).await.unwrap();
    let mut batch = Batch::new();
    assert!(inboxes::drop_quarantined(&*store, &mut batch, &cane(), 7).await.unwrap());
    store.commit(batch).await.unwrap();
    assert!(inboxes::list_quarantined(&*store, None, 9).await.unwrap().is_empty());
    assert!(inboxes::list_all(&*store, 9).await.unwrap().is_empty());
    assert!(!inboxes::drop_quarantined(&*store, &mut Batch::new(), &cane(), 7).await.unwrap(), "it is gone");
}

#[test]
fn a_credential_is_not_shown() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/records/v1/device.json"));
    let device: Device = serde_json::from_str(&text.unwrap()).unwrap();
    assert!(!format!("{device:?}").contains(&device.verifier));
}

//! Who is let in, who waits, and what guessing gets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::domain::{ManualClock, QoS, Span, Wall};
use crate::door::credentials::tests::MapStore;
use crate::store::records::DeviceSettings;

const NUMBER: &str = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";
const OTHER: &str = "11111111-8b86-4011-b42d-00cf4fc964ff";

/// Keeps what operators are told.
#[derive(Default)]
pub(in crate::door) struct Noticeboard(pub Mutex<Vec<Value>>);

impl Bulletins for Noticeboard {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event.detail);
    }

    fn publish(&self, _: &str, _: Bytes, _: QoS, _: bool) {}

    fn watched(&self, _: &str) -> bool {
        false
    }
}

struct Bench {
    enrolment: Enrolment,
    clock: Arc<ManualClock>,
    told: Arc<Noticeboard>,
    _dir: tempfile::TempDir,
}

async fn bench(settings: Settings, welcome: Welcome) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let (clock, told) = (Arc::new(ManualClock::new(Wall(1_700_000_000_000))), Arc::new(Noticeboard::default()));
    let store = Arc::new(MapStore::default());
    let credentials = Credentials::open(store, dir.path(), clock.clone()).await.unwrap();
    let next = AtomicU64::new(0);
    // many numbers were there already: codes must differ all the same
    let random = move || u128::from(next.fetch_add(1, Ordering::SeqCst) / 3);
    let parts = Parts {
        credentials,
        bulletins: told.clone(),
        clock: clock.clone(),
        random: Arc::new(random),
        metrics: Metrics::default(),
    };
    Bench { enrolment: Enrolment::new(settings, welcome, parts), clock, told, _dir: dir }
}

fn board(last: u8, number: &str, address: &str) -> Board {
    Board {
        device: mac(&format!("f4:12:fa:00:00:{last:02x}")).unwrap(),
        number: Number::parse(number).unwrap(),
        address: address.parse().unwrap(),
        kind: "bread-compact-wifi".to_owned(),
    }
}

impl Bench {
    async fn waits(&self, board: &Board) -> Waiting {
        match self.enrolment.ask(board).await.unwrap() {
            Told::Wait(waiting) => *waiting,
            other => panic!("{other:?}"),
        }
    }

    async fn claim(&self, code: &str) -> Result<DeviceId, ClaimError> {
        self.enrolment.claim(code, None, None).await
    }
}

#[tokio::test]
async fn a_stranger_waits_with_a_code_that_stays_is_claimed_once_and_known_from_then_on() {
    let bench = bench(Settings::default(), Welcome::default()).await;
    let one = board(1, NUMBER, "10.0.0.1");
    let waiting = bench.waits(&one).await;
    assert_eq!(bench.waits(&one).await.code, waiting.code, "asking again changes nothing on the screen");
    assert_eq!(bench.enrolment.activation(&one, Some(&waiting.challenge)).await.unwrap(), Activation::Waiting);
    assert_eq!(bench.enrolment.activation(&one, Some("another")).await.unwrap(), Activation::Stale);
    assert_eq!(bench.claim(&waiting.code).await.unwrap(), one.device);
    assert!(matches!(bench.claim(&waiting.code).await, Err(ClaimError::Wrong)), "a code counts once");
    assert_eq!(bench.enrolment.activation(&one, None).await.unwrap(), Activation::Done);
    assert!(matches!(bench.enrolment.ask(&one).await.unwrap(), Told::Enrolled(_, Way::Known)));
    let told = bench.told.0.lock().unwrap();
    assert_eq!(told.len(), 1);
    assert!(!told[0].to_string().contains(&waiting.code), "{}", told[0]);
}

#[tokio::test]
async fn two_boards_never_have_one_code_and_one_that_asks_for_anothers_name_gets_its_own() {
    let bench = bench(Settings::default(), Welcome::default()).await;
    let mut codes = Vec::new();
    for last in 0..8 {
        codes.push(bench.waits(&board(last + 1, NUMBER, "10.0.0.1")).await.code);
    }
    codes.push(bench.waits(&board(1, OTHER, "10.0.0.2")).await.code);
    let mut unique = codes.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), codes.len(), "{codes:?}");
    assert!(codes.iter().all(|code| code.len() == 6), "{codes:?}");
    // claimed is who shows the code, not who says the name
    bench.claim(&codes[8]).await.unwrap();
    assert!(matches!(bench.enrolment.ask(&board(1, OTHER, "10.0.0.2")).await.unwrap(), Told::Enrolled(..)));
    let loser = bench.waits(&board(1, NUMBER, "10.0.0.1")).await;
    assert_eq!(loser.reason, Reason::OtherBoard);
    assert_ne!(loser.code, codes[0]);
}

#[tokio::test]
async fn guessing_codes_ends_after_ten_in_a_minute_and_goes_on_in_the_next() {
    let bench = bench(Settings::default(), Welcome::default()).await;
    let code = bench.waits(&board(1, NUMBER, "10.0.0.1")).await.code;
    for guess in 0..10 {
        assert!(matches!(bench.claim(&format!("{guess:06}")).await, Err(ClaimError::Wrong)));
    }
    assert!(matches!(bench.claim(&code).await, Err(ClaimError::Later(_))), "the right one waits too");
    bench.clock.advance(Duration::from_secs(61));
    bench.claim(&code).await.unwrap();
}

#[tokio::test]
async fn a_code_expires_and_the_next_is_another() {
    let settings = Settings { code_life: Span::secs(60), ..Settings::default() };
    let bench = bench(settings, Welcome::default()).await;
    let one = board(1, NUMBER, "10.0.0.1");
    let old = bench.waits(&one).await;
    bench.clock.advance(Duration::from_mins(1));
    assert_eq!(bench.enrolment.activation(&one, Some(&old.challenge)).await.unwrap(), Activation::Unknown);
    assert!(matches!(bench.claim(&old.code).await, Err(ClaimError::Wrong)));
    let new = bench.waits(&one).await;
    assert_ne!(new.challenge, old.challenge);
    assert_eq!(bench.enrolment.pending().len(), 1);
}

#[tokio::test]
async fn who_waits_takes_no_more_room_than_there_is_and_one_address_not_all_of_it() {
    let settings = Settings { pending: 4, pending_per_address: 2, ..Settings::default() };
    let bench = bench(settings, Welcome::default()).await;
    for (last, address, waits) in [
        (1, "10.0.0.1", true),
        (2, "10.0.0.1", true),
        (3, "::ffff:10.0.0.1", false),
        (4, "2001:db8::1", true),
        (5, "2001:db8::2", true),
        (6, "2001:db8::3", false),
        (7, "10.0.0.3", false),
    ] {
        let told = bench.enrolment.ask(&board(last, NUMBER, address)).await.unwrap();
        assert_eq!(matches!(told, Told::Wait(_)), waits, "{last}: {told:?}");
        assert_eq!(matches!(told, Told::Full), !waits, "{last}: {told:?}");
    }
}

#[tokio::test]
async fn the_list_lets_a_board_in_once_and_nobody_after_it_under_its_name() {
    let welcome = Welcome { allowed: vec![Allowed::parse("f4:12:fa:*").unwrap()], bring_up: BringUp::Off };
    let bench = bench(Settings::default(), welcome).await;
    let one = board(1, NUMBER, "10.0.0.1");
    assert!(matches!(bench.enrolment.ask(&one).await.unwrap(), Told::Enrolled(_, Way::Allowed)));
    assert!(matches!(bench.enrolment.ask(&one).await.unwrap(), Told::Enrolled(_, Way::Known)));
    assert_eq!(bench.waits(&board(1, OTHER, "10.0.0.2")).await.reason, Reason::OtherBoard);
    assert_eq!(bench.told.0.lock().unwrap()[0]["reason"], "other_board");
}

#[tokio::test]
async fn bring_up_is_for_loopback_and_does_not_hand_out_what_is_anothers() {
    let bench = bench(Settings::default(), Welcome { allowed: Vec::new(), bring_up: BringUp::Loopback }).await;
    assert_eq!(bench.waits(&board(1, NUMBER, "10.0.0.1")).await.reason, Reason::New);
    assert!(matches!(bench.enrolment.ask(&board(2, NUMBER, "::1")).await.unwrap(), Told::Enrolled(_, Way::BringUp)));
    assert_eq!(bench.waits(&board(2, OTHER, "127.0.0.1")).await.reason, Reason::OtherBoard);
}

#[tokio::test]
async fn two_that_ask_at_once_for_one_free_name_are_not_both_let_in() {
    let bench = bench(Settings::default(), Welcome { allowed: Vec::new(), bring_up: BringUp::Anywhere }).await;
    let (one, two) = (board(1, NUMBER, "10.0.0.1"), board(1, OTHER, "10.0.0.2"));
    let (first, second) = tokio::join!(bench.enrolment.ask(&one), bench.enrolment.ask(&two));
    let enrolled = |told: &Told| matches!(told, Told::Enrolled(..));
    assert!(enrolled(&first.unwrap()) != enrolled(&second.unwrap()));
}

#[tokio::test]
async fn a_board_that_was_named_beforehand_comes_in_once_while_nobody_else_does_and_its_code_is_void() {
    let bench = bench(Settings::default(), Welcome::default()).await;
    let (one, two, stranger) = (board(1, NUMBER, "10.0.0.1"), board(1, OTHER, "10.0.0.2"), board(2, OTHER, "10.0.0.2"));
    bench.waits(&one).await;
    let (settings, week) = (DeviceSettings::default(), Duration::from_hours(7 * 24));
    bench.enrolment.parts.credentials.expect(&one.device, settings, week, false).await.unwrap();
    assert_eq!(bench.enrolment.activation(&one, None).await.unwrap(), Activation::Done);
    let (first, second) = tokio::join!(bench.enrolment.ask(&one), bench.enrolment.ask(&two));
    assert!(matches!(first.unwrap(), Told::Enrolled(_, Way::Expected)));
    assert!(matches!(second.unwrap(), Told::Wait(waiting) if waiting.reason == Reason::OtherBoard));
    assert!(matches!(bench.enrolment.ask(&one).await.unwrap(), Told::Enrolled(_, Way::Known)));
    assert_eq!(bench.waits(&stranger).await.reason, Reason::New, "no other name was opened");
    assert!(
        bench.enrolment.pending().iter().all(|waiting| waiting.reason != Reason::New || waiting.device != one.device)
    );
}

//! Sequence numbers that jump, repeat and go back.

use voxgate::domain::{ControlKind, Downlink, ListenMode, Message};

use crate::gateway::answer::ask;
use crate::gateway::peer::{Peer, Version};
use crate::gateway::{Running, chat, speech};

const NUMBERS: &str = "voxgate_sequence_numbers_total";

fn text(what: &str) -> ControlKind {
    ControlKind::Text(what.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn control_numbers_that_jump_and_repeat_leave_every_question_answered_once() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let mut other = gateway.device("other").await;
    let mut peer = gateway.peer(Version::V4, "cane-1").await;
    // in order, far ahead, back below it, far ahead again, the next after that
    for (n, seq) in [1, 2_000_000_000, 2, 2_000_000_050, 2_000_000_051].into_iter().enumerate() {
        peer.ask(seq, &format!("question {n}")).await.must_be("Fine.");
    }
    let repeats = [2_000_000_051, 2_000_000_050, 2_000_000_000, 1, 2, u32::MAX];
    for seq in repeats {
        let id = peer.control(seq, text("again")).await;
        assert_eq!(peer.ack().await, (id, 0), "a repeat is acknowledged");
    }
    let of = |verdict| [("stream", "control"), ("verdict", verdict)];
    let old = gateway.metric(NUMBERS, &of("duplicate")).await + gateway.metric(NUMBERS, &of("late")).await;
    assert_eq!(old, repeats.len() as u64);
    peer.control(2_000_000_052, text("the last")).await;
    peer.answer().await.must_be("Fine.");
    ask(&mut other, "how are you").await.must_be("Fine.");
    let turns = gateway.turns("cane-1", 6).await;
    let asked: Vec<&str> = turns.iter().map(|turn| turn["transcript"].as_str().unwrap()).collect();
    assert_eq!(asked, ["question 0", "question 1", "question 2", "question 3", "question 4", "the last"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_begins_to_count_anew_without_a_hello_is_heard_after_it_has_reconnected() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let mut other = gateway.device("other").await;
    let mut peer = gateway.peer(Version::V4, "cane-1").await;
    for seq in 1..=3 {
        peer.control(seq, text("before")).await;
        peer.answer().await.must_be("Fine.");
    }
    drop(peer);
    ask(&mut other, "how are you").await.must_be("Fine.");
    gateway.counted("voxgate_mqtt_endings_total", &[], 1).await;
    let mut peer = Peer::connect(gateway.addrs().mqtt, Version::V4, "cane-1", &gateway.secret("cane-1")).await;
    for seq in 1..=3 {
        peer.control(seq, text("after")).await;
        peer.answer().await.must_be("Fine.");
    }
    gateway.stop().await;
}

/// Asks one spoken question whose packets carry these numbers.
async fn speak(peer: &mut Peer, control: &mut u32, numbers: impl Iterator<Item = u32>) {
    let speech = speech();
    *control += 1;
    peer.control(*control, ControlKind::ListenStart { mode: Some(ListenMode::Manual), n: None }).await;
    for (n, seq) in numbers.enumerate() {
        peer.audio(seq, speech.frame(n.min(speech.frames.len() - 1))).await;
    }
    *control += 1;
    peer.control(*control, ControlKind::ListenStop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_numbers_that_jump_repeat_and_go_back_leave_the_question_answered() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let mut other = gateway.device("other").await;
    let mut peer = gateway.peer(Version::V4, "cane-1").await;
    let count = u32::try_from(speech().frames.len()).unwrap();
    let half = count / 2;
    let mut control = 0;
    let stories: [(&str, Vec<u32>); 6] = [
        ("in order", (1..=count).collect()),
        ("back to 1", (1..=count).collect()),
        ("far ahead in mid-utterance", (count..count + half).chain(1_000_000..1_000_000 + half).collect()),
        ("each twice", (1_000_000 + half..1_000_000 + half + count).flat_map(|n| [n, n]).collect()),
        (
            "one wild number",
            (1_000_100..1_000_100 + half).chain([3_000_000_000]).chain(1_000_100 + half..1_000_100 + count).collect(),
        ),
        ("over the end of the numbers", (0..count).map(|n| (u32::MAX - half).wrapping_add(n)).collect()),
    ];
    for (story, numbers) in stories {
        speak(&mut peer, &mut control, numbers.into_iter()).await;
        let answer = peer.answer().await;
        assert!(answer.errors.is_empty() && answer.reply == "Fine." && answer.frames > 0, "{story}: {answer:?}");
        ask(&mut other, "how are you").await.must_be("Fine.");
    }
    assert!(gateway.metric("voxgate_audio_frames_duplicate_total", &[]).await >= u64::from(count) / 2);
    assert!(gateway.metric("voxgate_audio_window_resets_total", &[]).await >= 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wild_number_does_not_move_what_is_acknowledged() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let mut peer = gateway.peer(Version::V4, "cane-1").await;
    for seq in [1, 1_500_000_000] {
        peer.control(seq, text("how are you")).await;
        peer.answer().await.must_be("Fine.");
    }
    peer.control(1, text("again")).await;
    let told = peer.until(|d| matches!(d, Downlink::Control { message: Message::Ack { .. }, .. })).await;
    assert!(
        matches!(told, Downlink::Control { message: Message::Ack { seq: Some(1), .. }, .. }),
        "the hole between is not given up for one number: {told:?}"
    );
    gateway.stop().await;
}

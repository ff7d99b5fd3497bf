//! Audio that is no speech, no Opus, or without end.

use bytes::Bytes;
use voxgate::domain::{ControlKind, Downlink, ListenMode, Message, Span};
use voxgate::sim::bench::voice;
use voxgate::sim::device::Device;
use voxgate::sim::script::Script;

use crate::gateway::answer::{answer, ask, speak};
use crate::gateway::{Running, chat, speech, until};

const UNDECODABLE: &str = "voxgate_audio_frames_undecodable_total";
const ENDS: &str = "voxgate_listening_ends_total";

/// A reply that takes longer to say than the rest of a question takes to arrive.
const LONG: &str = "This is said in a row of words that take more than half a second.";

/// Speech without end, for the patience of a test.
fn endless(seconds: u64) -> Script {
    Script::from_pcm(&voice(std::time::Duration::from_secs(seconds)), "a voice").unwrap()
}

/// Sends frames of a script and nothing after them.
async fn frames(device: &mut Device, script: &Script, count: usize) {
    for n in 0..count {
        device.audio(script.frame(n)).await.unwrap();
    }
}

async fn listen(device: &mut Device, mode: ListenMode) {
    device.control(None, ControlKind::ListenStart { mode: Some(mode), n: None }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn undecodable_opus_in_mid_utterance_is_concealed_and_counted() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let (mut device, mut other) = (gateway.device("cane-1").await, gateway.device("other").await);
    let mut broken = speech();
    for n in [8, 9, 10, 15] {
        broken.frames[n] = Bytes::from_static(&[0xFF; 3]);
    }
    for (round, mode) in [ListenMode::Manual, ListenMode::Auto].into_iter().enumerate() {
        speak(&mut device, &broken, mode).await;
        answer(&mut device).await.must_be("Fine.");
        gateway.counted(UNDECODABLE, &[], 4 * (round + 1) as u64).await;
        ask(&mut other, "how are you").await.must_be("Fine.");
    }
    assert_eq!(gateway.last_turn("cane-1").await["heard"]["undecodable"], 4);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_utterance_that_is_no_opus_at_all_is_told_as_such() {
    let gateway = Running::start_with(chat(&["Fine."]), |config| config.voice.endpoint.no_speech = Span::secs(1)).await;
    let (mut device, mut other) = (gateway.device("cane-1").await, gateway.device("other").await);
    let mut broken = speech();
    broken.frames.fill(Bytes::from_static(&[0xFF; 3]));
    speak(&mut device, &broken, ListenMode::Manual).await;
    let told = answer(&mut device).await;
    assert_eq!((told.errors, told.heard, told.frames), (vec!["audio_undecodable".to_owned()], Some(String::new()), 0));
    let turn = gateway.last_turn("cane-1").await;
    assert_eq!((&turn["outcome"], &turn["heard"]["undecodable"]), (&"empty".into(), &broken.frames.len().into()));
    gateway.counted(UNDECODABLE, &[], broken.frames.len() as u64).await;
    // in auto mode nothing is ever heard; the device learns that nothing came of its listening
    speak(&mut device, &broken, ListenMode::Auto).await;
    let told = answer(&mut device).await;
    assert_eq!((told.heard, told.frames), (Some(String::new()), 0));
    ask(&mut other, "how are you").await.must_be("Fine.");
    speak(&mut device, &speech(), ListenMode::Manual).await;
    until(&mut device, |d| matches!(d, Downlink::Control { message: Message::Reply { text }, .. } if text == "Fine."))
        .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_utterance_beyond_the_greatest_length_is_cut_answered_and_told() {
    let gateway =
        Running::start_with(chat(&[LONG]), |config| config.voice.endpoint.max_utterance = Span::secs(2)).await;
    let (mut device, mut other) = (gateway.device("cane-1").await, gateway.device("other").await);
    for mode in [ListenMode::Manual, ListenMode::Auto] {
        let before = gateway.metric(ENDS, &[("why", "too_long")]).await;
        speak(&mut device, &endless(4), mode).await;
        let told = answer(&mut device).await;
        assert_eq!(told.errors, ["utterance_too_long"], "{mode:?}");
        assert!(told.reply == LONG && told.spoken && told.frames > 0, "{mode:?}: {told:?}");
        let turn = gateway.last_turn("cane-1").await;
        let ms = turn["heard"]["ms"].as_u64().unwrap();
        assert!((1_900..=2_500).contains(&ms), "{mode:?}: cut at {ms} ms");
        assert_eq!(turn["outcome"], "answered");
        gateway.counted(ENDS, &[("why", "too_long")], before + 1).await;
        ask(&mut other, "how are you").await.must_be(LONG);
    }
    speak(&mut device, &speech(), ListenMode::Manual).await;
    answer(&mut device).await.must_be(LONG);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_speaks_without_end_is_answered_again_and_again_and_starves_nobody() {
    let gateway =
        Running::start_with(chat(&["Fine."]), |config| config.voice.endpoint.max_utterance = Span::secs(1)).await;
    let (mut device, mut other) = (gateway.device("cane-1").await, gateway.device("other").await);
    let script = endless(3);
    listen(&mut device, ListenMode::Auto).await;
    for _ in 0..3 {
        frames(&mut device, &script, script.frames.len()).await;
        let told = answer(&mut device).await;
        assert!(told.reply == "Fine." && told.frames > 0, "{told:?}");
        ask(&mut other, "how are you").await.must_be("Fine.");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_forgets_audio_that_stalled_and_the_next_question_is_heard() {
    let gateway = Running::start_with(chat(&["Fine."]), |config| config.session.audio_stall = Span::ms(100)).await;
    let (mut device, mut other) = (gateway.device("cane-1").await, gateway.device("other").await);
    let script = speech();
    listen(&mut device, ListenMode::Manual).await;
    frames(&mut device, &script, 5).await;
    device.control(None, ControlKind::Abort { reason: None }).await.unwrap();
    listen(&mut device, ListenMode::Manual).await;
    // a stall that began later has ended: one that was left over would have closed the microphone by now
    listen(&mut other, ListenMode::Manual).await;
    frames(&mut other, &script, script.frames.len()).await;
    gateway.counted(ENDS, &[("why", "stalled")], 1).await;
    frames(&mut device, &script, script.frames.len()).await;
    device.control(None, ControlKind::ListenStop).await.unwrap();
    answer(&mut device).await.must_be("Fine.");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_the_answer_is_spoken_is_no_question() {
    let long = "so many words. ".repeat(8);
    let gateway = Running::start(chat(&[&long])).await;
    let mut device = gateway.device("cane-1").await;
    listen(&mut device, ListenMode::Auto).await;
    device.control(None, ControlKind::Text("talk".into())).await.unwrap();
    until(&mut device, |downlink| matches!(downlink, Downlink::Audio(_))).await;
    let script = speech();
    frames(&mut device, &script, script.frames.len()).await;
    gateway.counted("voxgate_audio_ignored_total", &[], script.frames.len() as u64).await;
    assert_eq!(gateway.turns("cane-1", 1).await.len(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_never_says_listen_stop_is_answered_when_its_audio_ends() {
    let gateway = Running::start_with(chat(&["Fine."]), |config| config.session.audio_stall = Span::ms(300)).await;
    let (mut device, mut other) = (gateway.device("cane-1").await, gateway.device("other").await);
    let script = speech();
    for (n, mode) in [ListenMode::Manual, ListenMode::Auto, ListenMode::Realtime].into_iter().enumerate() {
        listen(&mut device, mode).await;
        frames(&mut device, &script, script.frames.len()).await;
        answer(&mut device).await.must_be("Fine.");
        gateway.counted(ENDS, &[("why", "stalled")], (n + 1) as u64).await;
        ask(&mut other, "how are you").await.must_be("Fine.");
    }
    // a device that only listens, and one that was silent, get no turn of it
    listen(&mut device, ListenMode::Auto).await;
    frames(&mut device, &Script { frames: Vec::new(), ..script.clone() }, 10).await;
    ask(&mut device, "how are you").await.must_be("Fine.");
    assert_eq!(gateway.turns("cane-1", 4).await.len(), 4);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_no_question_and_needs_no_apology() {
    let gateway = Running::start_with(chat(&["Fine."]), |config| config.voice.endpoint.no_speech = Span::secs(1)).await;
    let (mut device, mut other) = (gateway.device("cane-1").await, gateway.device("other").await);
    let silence = Script { frames: Vec::new(), ..speech() };
    listen(&mut device, ListenMode::Manual).await;
    frames(&mut device, &silence, 20).await;
    device.control(None, ControlKind::ListenStop).await.unwrap();
    let told = answer(&mut device).await;
    assert_eq!((told.heard.as_deref(), told.frames, told.errors.len(), told.spoken), (Some(""), 0, 0, false));
    assert_eq!(gateway.last_turn("cane-1").await["outcome"], "empty");
    gateway.counted("voxgate_turns_total", &[("outcome", "empty"), ("input", "speech")], 1).await;

    listen(&mut device, ListenMode::Auto).await;
    frames(&mut device, &silence, 60).await;
    let told = answer(&mut device).await;
    assert_eq!((told.heard.as_deref(), told.frames, told.errors.len()), (Some(""), 0, 0));
    gateway.counted(ENDS, &[("why", "no_speech")], 3).await;
    ask(&mut other, "how are you").await.must_be("Fine.");
    device.control(None, ControlKind::Text("how are you".into())).await.unwrap();
    let next = until(&mut device, |d| {
        matches!(d, Downlink::Control { message: Message::Stt { .. } | Message::Reply { .. }, .. })
    })
    .await;
    assert!(matches!(next, Downlink::Control { message: Message::Reply { .. }, .. }), "told once: {next:?}");
    assert_eq!(gateway.turns("cane-1", 2).await.len(), 2, "three seconds of silence are no turn");
    gateway.stop().await;
}

//! The main job, end to end in one process: simulated devices on real sockets, the real broker, router,
//! sessions, codec and store; only the providers are test providers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

mod voice {
    //! A spoken question comes back as a spoken answer.
    use std::time::Duration;

    use voxgate::domain::{ControlKind, Downlink, ListenMode, Message, StopReason};
    use voxgate::sim::turn;

    use super::gateway::{Running, chat, speech, until};

    const AHEAD: u32 = 5;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_manual_turn_is_heard_answered_and_spoken() {
        let gateway = Running::start(chat(&["The sky ", "is blue, mostly. ", "It is night now."])).await;
        let mut device = gateway.device("cane-1").await;
        let answer = turn::run(&mut device, &speech(), ListenMode::Manual, AHEAD, &mut |_| {}).await.unwrap();
        assert_eq!(answer.transcript, "why is the sky blue");
        assert_eq!(answer.reply, "The sky is blue, mostly. It is night now.");
        assert!(answer.frames > 5, "{} frames", answer.frames);
        assert_eq!((answer.lost, answer.stale), (0, 0));
        assert!(answer.errors.is_empty());
        device.disconnect().await;
        let turn = gateway.last_turn("cane-1").await;
        assert_eq!(turn["outcome"], "answered");
        assert_eq!(turn["transcript"], "why is the sky blue");
        assert!(turn["stages_ms"]["first_audio"].as_f64().unwrap() > 0.0);
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_auto_mode_the_gateway_finds_the_end_of_the_question() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut device = gateway.device("cane-1").await;
        let answer = turn::run(&mut device, &speech(), ListenMode::Auto, AHEAD, &mut |_| {}).await.unwrap();
        assert_eq!(answer.reply, "Yes.");
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failed_stage_is_spoken_and_not_read_out() {
        let gateway = Running::start(super::gateway::broken_chat()).await;
        let mut device = gateway.device("cane-1").await;
        let answer = turn::run(&mut device, &speech(), ListenMode::Manual, AHEAD, &mut |_| {}).await.unwrap();
        assert_eq!(answer.errors.len(), 1);
        assert!(answer.frames > 0, "the apology is spoken");
        assert!(!answer.errors[0].contains("secret of the vendor"));
        assert_eq!(gateway.last_turn("cane-1").await["outcome"], "failed");
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_abort_ends_speech_and_no_frame_follows() {
        let long: Vec<&str> = std::iter::repeat_n("many words follow each other here. ", 40).collect();
        let gateway = Running::start(chat(&long)).await;
        let mut device = gateway.device("cane-1").await;
        device.control(None, ControlKind::Text("talk".into())).await.unwrap();
        until(&mut device, |downlink| matches!(downlink, Downlink::Audio(_))).await;
        device.control(None, ControlKind::Abort { reason: None }).await.unwrap();
        let stop = until(&mut device, |downlink| {
            matches!(downlink, Downlink::Control { message: Message::TtsStop { .. }, .. })
        })
        .await;
        assert!(matches!(stop, Downlink::Control { message: Message::TtsStop { reason: StopReason::Abort, .. }, .. }));
        // what the device hears next is the answer to the next message, and no frame before it
        device.control(None, ControlKind::Heartbeat).await.unwrap();
        device.control(None, ControlKind::Text("what is 2 plus 2".into())).await.unwrap();
        let next = until(&mut device, |downlink| {
            matches!(downlink, Downlink::Audio(_))
                || matches!(downlink, Downlink::Control { message: Message::TtsStart { .. }, .. })
        })
        .await;
        assert!(matches!(next, Downlink::Control { message: Message::TtsStart { .. }, .. }), "{next:?}");
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn silence_is_no_question() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut device = gateway.device("cane-1").await;
        device.control(None, ControlKind::ListenStart { mode: Some(ListenMode::Manual), n: None }).await.unwrap();
        let speech = speech();
        for n in 0..20 {
            device.audio(speech.frame(speech.frames.len() + n)).await.unwrap();
        }
        device.control(None, ControlKind::ListenStop).await.unwrap();
        let told =
            until(&mut device, |downlink| matches!(downlink, Downlink::Control { message: Message::Stt { .. }, .. }))
                .await;
        assert!(matches!(told, Downlink::Control { message: Message::Stt { text, .. }, .. } if text.is_empty()));
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_typed_turn_is_acknowledged_when_it_is_durable() {
        let gateway = Running::start(chat(&["Fine."])).await;
        let mut device = gateway.device("cane-1").await;
        device.control(None, ControlKind::Text("how are you".into())).await.unwrap();
        let (mut acknowledged, mut answered) = (false, false);
        while !(acknowledged && answered) {
            let next = until(&mut device, |downlink| matches!(downlink, Downlink::Control { .. })).await;
            let Downlink::Control { message, .. } = next else { unreachable!() };
            acknowledged |= matches!(message, Message::Ack { seq: Some(1), .. });
            answered |= matches!(message, Message::Reply { text } if text == "Fine.");
        }
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_said_is_there_after_a_restart() {
        let gateway = Running::start(chat(&["Fine."])).await;
        let mut device = gateway.device("cane-1").await;
        let answer = turn::run(&mut device, &speech(), ListenMode::Manual, AHEAD, &mut |_| {}).await.unwrap();
        assert_eq!(answer.reply, "Fine.");
        gateway.last_turn("cane-1").await;
        let gateway = gateway.restart().await;
        let turn = gateway.last_turn("cane-1").await;
        assert_eq!(turn["reply"], "Fine.");
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_feeds_the_watchdog_leaves_nothing_behind() {
        use voxgate::admin::{Admin, LifelogQuery};
        let gateway = Running::start(chat(&["unused"])).await;
        for _ in 0..3 {
            assert_eq!(gateway.alive().await, Ok(()));
        }
        let operators = gateway.operators();
        assert!(operators.session_list().await.unwrap().is_empty());
        assert!(operators.lifelog_list(LifelogQuery::default()).await.unwrap().is_empty());
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_operator_can_make_a_device_speak() {
        use voxgate::admin::Admin;
        let gateway = Running::start(chat(&["unused"])).await;
        let mut device = gateway.device("cane-1").await;
        device.control(None, ControlKind::Heartbeat).await.unwrap();
        let id = voxgate::domain::DeviceId::parse("cane-1").unwrap();
        gateway.operators().say(id, "Dinner is ready.".into()).await.unwrap();
        until(&mut device, |downlink| {
            matches!(downlink, Downlink::Control { message: Message::TtsSentence { text, .. }, .. } if text == "Dinner is ready.")
        })
        .await;
        until(&mut device, |downlink| matches!(downlink, Downlink::Audio(_))).await;
        let nobody = voxgate::domain::DeviceId::parse("nobody").unwrap();
        assert!(gateway.operators().say(nobody, "hello".into()).await.is_err());
        tokio::time::timeout(Duration::from_secs(10), gateway.stop()).await.unwrap();
    }
}

mod sessions {
    //! Hello, numbers, resuming.
    use voxgate::domain::{ControlKind, Downlink, Hello, Message};

    use super::gateway::{Running, chat, until};

    fn hello(boot_id: u32) -> ControlKind {
        ControlKind::Hello(Hello { boot_id: Some(boot_id), ..Hello::default() })
    }

    async fn greeted(device: &mut voxgate::sim::device::Device) -> voxgate::domain::HelloAck {
        let ack =
            until(device, |downlink| matches!(downlink, Downlink::Control { message: Message::HelloAck(_), .. })).await;
        let Downlink::Control { message: Message::HelloAck(ack), .. } = ack else { unreachable!() };
        *ack
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hello_with_the_session_and_the_boot_resumes_also_after_a_restart() {
        let gateway = Running::start(chat(&["Fine."])).await;
        let mut device = gateway.device("cane-1").await;
        device.control(None, hello(7)).await.unwrap();
        let first = greeted(&mut device).await;
        assert!(!first.resumed);
        device.control(Some(first.session_id.as_str()), ControlKind::Text("how are you".into())).await.unwrap();
        until(&mut device, |d| matches!(d, Downlink::Control { message: Message::Ack { seq: Some(2), .. }, .. })).await;
        let gateway = gateway.restart().await;
        let mut device = gateway.connect("cane-1").await;
        device.control(Some(first.session_id.as_str()), hello(7)).await.unwrap();
        let second = greeted(&mut device).await;
        assert!(second.resumed);
        assert_eq!(second.session_id, first.session_id);
        assert!(second.ack.control >= 2, "{:?}", second.ack);
        assert!(second.boot > first.boot);
        assert!(second.down_seq > first.down_seq);
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_device_that_was_switched_off_and_on_gets_a_new_session() {
        let gateway = Running::start(chat(&["Fine."])).await;
        let mut device = gateway.device("cane-1").await;
        device.control(None, hello(7)).await.unwrap();
        let first = greeted(&mut device).await;
        device.renumber();
        device.control(Some(first.session_id.as_str()), hello(8)).await.unwrap();
        let second = greeted(&mut device).await;
        assert!(!second.resumed);
        assert_ne!(second.session_id, first.session_id);
        gateway.stop().await;
    }
}

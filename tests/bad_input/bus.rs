//! Watchers that do not read. (That the bus itself stands still or panics is told in `src/app/tests.rs`.)

use voxgate::domain::ListenMode;
use voxgate::sim::turn;

use crate::gateway::peer::Version;
use crate::gateway::{Running, chat, speech};

const DEVICES: usize = 20;
const TURNS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn watchers_that_never_read_their_socket_are_dropped_and_every_turn_is_answered() {
    let gateway = Running::start_with(chat(&["The sky is blue. ", "Mostly."]), |config| {
        config.mqtt.limits.watcher_packets = 64;
        config.mqtt.limits.bytes_per_second = voxgate::domain::ByteSize::mb(100);
        config.mqtt.bus.slots = 64;
    })
    .await;
    let mut deaf = Vec::new();
    for n in 0..4 {
        let mut watcher = gateway.watcher(&format!("deaf-{n}")).await;
        watcher.subscribe("#").await;
        deaf.push(watcher);
    }
    let mut noisy = gateway.peer(Version::V4, "noisy").await;
    let mut devices = Vec::new();
    for n in 0..DEVICES {
        devices.push(gateway.device(&format!("cane-{n}")).await);
    }
    let talks = devices.into_iter().map(|mut device| async move {
        for _ in 0..TURNS {
            let answer = turn::run(&mut device, &speech(), ListenMode::Manual, 5, &mut |_| {}).await.unwrap();
            assert!(answer.errors.is_empty() && answer.frames > 5, "{}: {answer:?}", device.id);
            assert_eq!((answer.lost, answer.stale), (0, 0), "{}", device.id);
            assert_eq!(answer.reply, "The sky is blue. Mostly.");
        }
    });
    // more than the system's buffers hold
    let noise = vec![b' '; 50_000];
    let flood = async {
        for _ in 0..400 {
            noisy.publish("telemetry", 0, &noise).await;
        }
    };
    futures::future::join(flood, futures::future::join_all(talks)).await;
    gateway.counted("voxgate_turns_total", &[("outcome", "answered")], (DEVICES * TURNS) as u64).await;
    gateway.counted("voxgate_mqtt_endings_total", &[("reason", "too_slow")], 4).await;
    for n in 0..DEVICES {
        assert_eq!(gateway.turns(&format!("cane-{n}"), TURNS).await.len(), TURNS, "recorded, each of them");
    }
    drop(deaf);
    gateway.stop().await;
}

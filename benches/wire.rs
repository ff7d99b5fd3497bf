//! What a message costs on its way from bytes to a value: `cargo bench --no-default-features --bench wire`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use voxgate::domain::{
    AudioPacket, Codec, Control, ControlKind, DeviceId, Downlink, SpokenFrame, Stream, Telemetry, TurnId,
};
use voxgate::topics::{Table, matches};
use voxgate::wire::xiaozhi::datagram::{Cipher, Header};
use voxgate::wire::{decode, encode, native::client};

const NATIVE: &str = "native";

fn audio_packet() -> Bytes {
    // 60 ms at 16 kbit/s
    let payload = Bytes::from(vec![0x5A; 120]);
    client::encode_audio(&AudioPacket {
        codec: Codec::Opus,
        seq: 412,
        ts_ms: 24_720,
        last: false,
        speech: None,
        listen: 1,
        payload,
    })
}

fn control(json: bool) -> Bytes {
    client::encode_control(&Control {
        session_id: Some("s-7f3a".to_owned()),
        seq: Some(6),
        ts_ms: Some(1_763_700_000_600),
        msg_id: Some("b1f0-6".to_owned()),
        json,
        kind: ControlKind::Text("what time is it?".to_owned()),
    })
}

fn telemetry() -> Bytes {
    let text = include_str!("../schemas/examples/telemetry.one.json");
    let one: Telemetry = serde_json::from_str(text).unwrap_or_default();
    client::encode_telemetry(&[one], true)
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    group.throughput(Throughput::Elements(1));
    let Ok(device) = DeviceId::parse("bench") else { return };
    for (name, stream, payload) in [
        ("decode audio packet", Stream::Audio, audio_packet()),
        ("decode control, json", Stream::Control, control(true)),
        ("decode control, protobuf", Stream::Control, control(false)),
        ("decode telemetry, json", Stream::Telemetry, telemetry()),
    ] {
        group.bench_function(name, |b| b.iter(|| decode(NATIVE, stream, black_box(&payload), &device)));
    }
    let packet = Bytes::from(vec![0x5A; 180]);
    let frame = Downlink::Audio(SpokenFrame { turn: TurnId(3), seq: 7, ts_ms: 360, last: false, packet });
    group.bench_function("encode spoken frame", |b| b.iter(|| encode(NATIVE, black_box(&frame), &device)));
    group.finish();
}

/// What one datagram of stock xiaozhi firmware costs: 60 ms at 16 kbit/s.
fn datagram(c: &mut Criterion) {
    let (cipher, header, packet) = (Cipher::new(&[0x5A; 16]), Header { ssrc: 7, ts_ms: 0, seq: 412 }, [0x58; 120]);
    let Some(datagram) = cipher.seal(header, &packet) else { return };
    let mut group = c.benchmark_group("datagram");
    group.throughput(Throughput::Elements(1));
    group.bench_function("seal 120 bytes", |b| b.iter(|| cipher.seal(header, black_box(&packet))));
    group.bench_function("open 120 bytes", |b| b.iter(|| cipher.open(black_box(&datagram))));
    group.finish();
}

fn topics(c: &mut Criterion) {
    let Ok(table) = Table::builtin("box") else { return };
    let mut group = c.benchmark_group("topics");
    group.bench_function("find an uplink", |b| b.iter(|| table.uplink(black_box("device/cane-01/audio")).is_some()));
    group.bench_function("match a filter", |b| {
        b.iter(|| matches(black_box("device/+/down/#"), black_box("device/cane-01/down/control")));
    });
    group.finish();
}

criterion_group!(benches, codec, datagram, topics);
criterion_main!(benches);

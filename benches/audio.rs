//! What the ear and the mouth cost, in CPU time of the process (so that a busy machine hardly shows).
//!
//! `cargo bench --no-default-features --bench audio`. Speech is Debian's pocketsphinx-testdata where it is
//! installed, else modulated noise; Silero's file is where `VOXGATE_SILERO` says.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may panic, and criterion's macros write no docs")]
#![allow(clippy::cast_possible_truncation, reason = "made-up samples and counts are in range")]

mod cpu;

use std::path::PathBuf;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rten::{Model, ValueView};
use voxgate::audio::opus::{Decoder, Encoder, Encoding};
use voxgate::audio::resample::Resampler;
use voxgate::audio::vad::{self, FRAME, Vad as _};
use voxgate::audio::{Hearing, Settings, VadModel};
use voxgate::domain::{AudioPacket, Codec, ListenMode};

use cpu::CpuTime;

fn speech() -> Vec<i16> {
    let file = "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0880.wav";
    if let Ok(samples) = voxgate::audio::wav::read(file.as_ref()) {
        return samples;
    }
    println!("no human speech here: modulated noise instead");
    let mut x = 1u32;
    let sample = |n: u32| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f64::from(x >> 18) * (f64::from(n) * 0.0013).sin()) as i16
    };
    (0..96_000).map(sample).collect()
}

fn packets(pcm: &[i16]) -> Vec<AudioPacket> {
    let mut encoder = Encoder::new(Encoding::up()).unwrap();
    let encode = |(n, frame): (usize, &[i16])| AudioPacket {
        codec: Codec::Opus,
        seq: n as u32 + 1,
        ts_ms: 0,
        last: false,
        speech: None,
        listen: 0,
        payload: encoder.encode(frame).unwrap().into(),
    };
    pcm.chunks_exact(960).enumerate().map(encode).collect()
}

fn silero() -> Option<PathBuf> {
    let path = std::env::var_os("VOXGATE_SILERO").map(PathBuf::from)?;
    path.exists().then_some(path)
}

fn opus(c: &mut Criterion<CpuTime>) {
    let pcm = speech();
    let sent = packets(&pcm);
    let mut decoder = Decoder::new().unwrap();
    let mut out = Vec::new();
    let mut n = 0;
    c.bench_function("opus/decode 16k 60ms", |b| {
        b.iter(|| {
            out.clear();
            n = (n + 1) % sent.len();
            decoder.decode(&sent[n].payload, &mut out).unwrap()
        });
    });
    let wide = voxgate::audio::resample::resample(16_000, 24_000, &pcm).unwrap();
    let frames: Vec<&[i16]> = wide.chunks_exact(1_440).collect();
    for complexity in [1, 5, 9] {
        let mut encoder = Encoder::new(Encoding::down(24_000, complexity)).unwrap();
        c.bench_function(&format!("opus/encode 24k 60ms complexity {complexity}"), |b| {
            b.iter(|| {
                n = (n + 1) % frames.len();
                encoder.encode(frames[n]).unwrap()
            });
        });
    }
    let mut resampler = Resampler::new(22_050, 24_000).unwrap();
    c.bench_function("resample/22.05k to 24k 60ms", |b| {
        b.iter(|| {
            out.clear();
            resampler.push(&pcm[..1_323], &mut out).unwrap();
        });
    });
}

fn voice_activity(c: &mut Criterion<CpuTime>) {
    let pcm = speech();
    let frames = pcm.as_chunks::<FRAME>().0;
    let settings = vad::Settings { gate: false, ..vad::Settings::default() };
    let mut group = c.benchmark_group("vad");
    group.throughput(Throughput::Elements(1));
    for path in silero().map(Some).into_iter().chain([None]) {
        let model = VadModel::load(path.as_deref(), &settings);
        let mut stream = model.stream();
        let mut n = 0;
        group.bench_function(format!("{} 32ms frame", model.name()), |b| {
            b.iter(|| {
                n = (n + 1) % frames.len();
                stream.process(&frames[n])
            });
        });
        // 50 streams in turn: the state is not in the first cache.
        let mut streams: Vec<_> = (0..50).map(|_| model.stream()).collect();
        group.bench_function(format!("{} 32ms frame, 50 streams in turn", model.name()), |b| {
            b.iter(|| {
                n += 1;
                streams[n % 50].process(&frames[n % frames.len()])
            });
        });
    }
    let Some(path) = silero() else { return };
    let model = Model::load_file(path).unwrap();
    let (ids, outputs) = (model.input_ids().to_vec(), model.output_ids().to_vec());
    let (x, h) = (vec![0.05f32; 576], vec![0.1f32; 128]);
    let pool = rten::ThreadPool::with_num_threads(1);
    let pool = std::sync::Arc::new(pool);
    group.bench_function("the same file by rten alone", |b| {
        b.iter(|| {
            let state = || ValueView::from_shape([1, 1, 128], &h[..]).unwrap().into();
            let input = ValueView::from_shape([1, 576], &x[..]).unwrap().into();
            let options = rten::RunOptions::default().with_thread_pool(Some(pool.clone()));
            model.run(vec![(ids[0], input), (ids[1], state()), (ids[2], state())], &outputs, Some(options)).unwrap()
        });
    });
}

fn hearing(c: &mut Criterion<CpuTime>) {
    let settings = Settings::default();
    let model = VadModel::load(silero().as_deref(), &settings.vad);
    let silent = packets(&vec![0; 96_000]);
    let talking = packets(&speech());
    let mut group = c.benchmark_group("hearing");
    group.throughput(Throughput::Elements(1));
    for (what, sent) in [("silent", silent), ("talking", talking)] {
        let mut ear = Hearing::new(&settings, &model, ListenMode::Auto).unwrap();
        let (mut n, mut seq) = (0, 0);
        group.bench_function(format!("push 60ms, {what}, {}", model.name()), |b| {
            b.iter(|| {
                n = (n + 1) % sent.len();
                seq += 1;
                ear.push(vec![AudioPacket { seq, ..sent[n].clone() }])
            });
        });
    }
}

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
}

/// What one ear holds, measured over two thousand; printed, as criterion measures time only.
fn memory(_: &mut Criterion<CpuTime>) {
    const EARS: usize = 2_000;
    let settings = Settings::default();
    let model = VadModel::load(silero().as_deref(), &settings.vad);
    let spoken = packets(&speech()[..32_000]);
    let silent = packets(&vec![0; 32_000]);
    // All are kept to the end: memory given back by the first would be taken again by the second.
    let mut ears = Vec::with_capacity(2 * EARS);
    for (what, sent) in [("silent for 2 s", silent), ("talking for 2 s", spoken)] {
        let before = resident();
        let mut utterances = 0;
        for _ in 0..EARS {
            let mut ear = Hearing::new(&settings, &model, ListenMode::Manual).unwrap();
            for packet in &sent {
                ear.push(vec![packet.clone()]);
            }
            utterances += ear.held_bytes();
            ears.push(ear);
        }
        let each = resident().saturating_sub(before) / EARS;
        println!("memory/one ear, {what}, {}: {each} bytes, {} of them the utterance", model.name(), utterances / EARS);
    }
}

fn settings() -> Criterion<CpuTime> {
    Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = audio; config = settings(); targets = opus, voice_activity, hearing, memory }
criterion_main!(audio);

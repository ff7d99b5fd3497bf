//! Durable commits: how many a second and how long each waits, with 1, 50 and 1,000 tasks that each wait for
//! their own; beside them a plain append and fdatasync of the same bytes, in the same run and on the same disk.
//!
//! `cargo bench --no-default-features --bench store`; `VOXGATE_BENCH_DIR` names another disk than `/tmp`'s.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "criterion's macro makes undocumented items; a bench may panic and speaks to a person"
)]

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;

use voxgate::domain::{Clock, SystemClock};
use voxgate::store::{self, Batch, Key, Metrics, Space, Store};

/// A sequence mark.
const MARK: usize = 64;
/// The record that goes with it.
const RECORD: usize = 300;

fn scratch() -> tempfile::TempDir {
    let dir = std::env::var_os("VOXGATE_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::tempdir_in(dir).unwrap()
}

/// A mark and its effect, in one batch.
fn batch(task: u64, n: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(Key::new(Space::Window).u64(task), vec![1; MARK]);
    batch.put(Key::new(Space::Lifelog).u32(1).u64(task).u64(n), vec![2; RECORD]);
    batch
}

/// `total` commits by `tasks` tasks, each waiting for its own before the next; how long all took, and each.
fn commits(
    runtime: &Runtime,
    store: &Arc<store::SledStore>,
    tasks: u64,
    total: u64,
    from: u64,
) -> (Duration, Vec<u32>) {
    let waits = Arc::new(Mutex::new(Vec::new()));
    let start = SystemClock.mono();
    runtime.block_on(async {
        let mut set = tokio::task::JoinSet::new();
        for task in 0..tasks {
            let (store, waits) = (store.clone(), waits.clone());
            let share = total / tasks + u64::from(task < total % tasks);
            set.spawn(async move {
                let mut own = Vec::new();
                for n in 0..share {
                    let start = SystemClock.mono();
                    store.commit(batch(task, from + n)).await.unwrap();
                    own.push(
                        u32::try_from(SystemClock.mono().checked_sub(start).unwrap().as_micros()).unwrap_or(u32::MAX),
                    );
                }
                waits.lock().unwrap().append(&mut own);
            });
        }
        while let Some(done) = set.join_next().await {
            done.unwrap();
        }
    });
    let took = SystemClock.mono().checked_sub(start).unwrap();
    let waits = std::mem::take(&mut *waits.lock().unwrap());
    (took, waits)
}

fn durable_commits(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("durable_commit");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(5));
    for tasks in [1, 50, 1_000] {
        let dir = scratch();
        let metrics = Metrics::register(&mut Registry::default());
        let store = store::open(store::Settings::default(), dir.path(), Arc::new(SystemClock), &metrics).unwrap().store;
        let mut waits = Vec::new();
        let mut from = 0;
        group.bench_function(format!("{tasks}_tasks"), |bencher| {
            bencher.iter_custom(|iterations| {
                let total = iterations.max(tasks);
                let (took, mut own) = commits(&runtime, &store, tasks, total, from);
                from += total;
                waits.append(&mut own);
                took.mul_f64(iterations as f64 / total as f64)
            });
        });
        print_waits(tasks, &mut waits);
        runtime.block_on(store.close());
    }
    group.bench_function("raw_append_fdatasync", |bencher| {
        let dir = scratch();
        let mut file = File::create(dir.path().join("raw")).unwrap();
        // written beforehand, as the journal is
        file.write_all(&vec![0; 64 << 20]).unwrap();
        file.sync_all().unwrap();
        let bytes = vec![3; MARK + RECORD];
        let mut at = 0;
        bencher.iter_custom(|iterations| {
            let start = SystemClock.mono();
            for _ in 0..iterations {
                std::os::unix::fs::FileExt::write_all_at(&file, &bytes, at).unwrap();
                file.sync_data().unwrap();
                at = (at + bytes.len() as u64) % (60 << 20);
            }
            SystemClock.mono().checked_sub(start).unwrap()
        });
    });
    group.finish();
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share between 0 and 1 of a length")]
fn print_waits(tasks: u64, waits: &mut [u32]) {
    waits.sort_unstable();
    let at = |share: f64| waits.get(((waits.len() as f64 * share) as usize).min(waits.len().saturating_sub(1)));
    let ms = |share: f64| f64::from(at(share).copied().unwrap_or(0)) / 1_000.0;
    println!(
        "durable_commit/{tasks}_tasks waits: p50 {:.3} ms, p99 {:.3} ms, most {:.3} ms, of {} commits",
        ms(0.5),
        ms(0.99),
        ms(1.0),
        waits.len()
    );
}

criterion_group!(benches, durable_commits);
criterion_main!(benches);

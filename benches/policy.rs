//! What the policies cost a clause: harmless, risky, and the longest one that a splitter gives.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking; criterion makes undocumented items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use voxgate::domain::Profile;
use voxgate::policy::{Metrics, Policies, Scene, Settings};

const CLAUSES: [(&str, &str); 4] = [
    ("first", "Well, the sky is blue,"),
    ("sentence", "The sky is blue because the air scatters short waves of light more than long ones."),
    ("risky", "A car is coming from your left, and the stairs behind it go down to the platform edge."),
    ("chinese", "前面三级台阶，左边有车过来，请先停下等一会儿再走。"),
];

fn a_clause(criterion: &mut Criterion) {
    let policies = Policies::open(&Settings::default(), Metrics::default()).unwrap();
    let mut group = criterion.benchmark_group("policy/clause");
    for profile in [Profile::Audit, Profile::Cane] {
        for (name, clause) in CLAUSES {
            group.bench_function(format!("{}/{name}", profile.name()), |bench| {
                bench.iter(|| {
                    let mut guard = policies.guard(Scene { profile, ..Scene::default() });
                    black_box(guard.push(clause.to_owned()));
                });
            });
        }
    }
    let long = "It goes on and on about this and that without an end in sight, ".repeat(4);
    group.bench_function("cane/longest", |bench| {
        bench.iter(|| {
            let mut guard = policies.guard(Scene { profile: Profile::Cane, ..Scene::default() });
            black_box(guard.push(long.clone()));
        });
    });
    group.finish();
}

criterion_group!(benches, a_clause);
criterion_main!(benches);

//! The store against a map, with restarts in between.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::testing::open_small;
use super::super::{Batch, Key, Range, Space, Store};

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(u8, Option<Vec<u8>>)>),
    Scan { from: u8, to: u8, limit: usize, backwards: bool },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..600));
    let changes = prop::collection::vec((0..40_u8, value), 0..6);
    let scan = (0..40_u8, 0..41_u8, 0..50_usize, any::<bool>());
    prop_oneof![
        8 => changes.prop_map(Step::Commit),
        4 => scan.prop_map(|(from, to, limit, backwards)| Step::Scan { from, to, limit, backwards }),
        1 => Just(Step::Restart),
    ]
}

fn key(n: u8) -> Key {
    Key::new(Space::Lifelog).byte(n)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_store_is_a_map_that_survives(steps in prop::collection::vec(step(), 1..60), wait: bool) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async move {
            let dir = tempfile::tempdir().unwrap();
            let mut store = open_small(dir.path()).unwrap().store;
            let mut model: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Commit(changes) => {
                        let mut batch = Batch::new();
                        for (n, value) in changes {
                            if let Some(v) = value { batch.put(key(n), v.clone()); model.insert(key(n), v) } else { batch.delete(key(n)); model.remove(&key(n)) };
                        }
                        let commit = store.commit(batch);
                        if wait {
                            commit.await.unwrap();
                        }
                    }
                    Step::Scan { from, to, limit, backwards } => {
                        let range = Range { from: key(from), to: key(to), limit, backwards };
                        let within = model.iter().filter(|(k, _)| range.from <= **k && **k < range.to);
                        let mut expected: Vec<_> = within.map(|(k, v)| (k.clone(), v.clone())).collect();
                        if backwards {
                            expected.reverse();
                        }
                        expected.truncate(limit);
                        assert_eq!(store.scan(range).await.unwrap().records, expected);
                    }
                    Step::Restart => {
                        drop(store);
                        store = open_small(dir.path()).unwrap().store;
                    }
                }
            }
            for n in 0..40 {
                assert_eq!(store.get(key(n)).await.unwrap(), model.get(&key(n)).cloned());
            }
        });
    }
}

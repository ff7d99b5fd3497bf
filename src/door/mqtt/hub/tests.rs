//! Sessions, what waits for them, and what a restart finds again; time moved by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use bytes::Bytes;

use super::*;
use crate::domain::{ManualClock, Wall};
use crate::door::credentials::tests::MapStore;
use crate::door::mqtt::client::Room;
use crate::door::mqtt::codec::{PublishProps, Text};
use crate::door::rights::Caller;
use crate::topics::{Role, Who};

const LIMITS: QueueLimits = QueueLimits { packets: 4, bytes: 10_000 };

struct Rig {
    hub: Hub,
    store: Arc<MapStore>,
    clock: Arc<ManualClock>,
    links: u64,
}

/// One connection and its session.
struct Visit1 {
    client: Arc<Client>,
    opened: Opened,
}

impl Visit1 {
    fn take(&self) -> Option<(String, u16, bool)> {
        let (copy, id) = self.opened.session.take(self.client.link, 64)?;
        Some((copy.message.topic.to_string(), id, copy.again))
    }

    fn session(&self) -> &Arc<Session> {
        &self.opened.session
    }
}

impl Rig {
    async fn new() -> Self {
        Self::over(Arc::new(MapStore::default()), Arc::new(ManualClock::new(Wall(1_000_000)))).await
    }

    async fn over(store: Arc<MapStore>, clock: Arc<ManualClock>) -> Self {
        let table = Arc::new(crate::topics::Table::builtin("gw").unwrap());
        let rights = Rights::open(table, Vec::new(), store.clone()).await.unwrap();
        let limits = HubLimits { sessions: 8, sessions_per_user: 3, retained: 3, retained_bytes: 10_000 };
        let metrics = Metrics::default();
        let (keeper, _work) = Keeper::new(store.clone(), metrics.clone());
        let hub = Hub::new(limits, Memory::new(usize::MAX), keeper, rights, clock.clone(), metrics);
        Self { hub, store, clock, links: 0 }
    }

    async fn restarted(self) -> Self {
        let Self { store, clock, .. } = self;
        let rig = Self::over(store.clone(), clock).await;
        rig.hub.load(&*store, |_| LIMITS).await.unwrap();
        rig
    }

    fn try_open(&mut self, id: &str, clean: bool, expiry: u32) -> Result<Visit1, SessionQuota> {
        self.links += 1;
        let who = Who::Operator(Role::Operator);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let (link, key) = (LinkId(self.links), key("u", id));
        let room = Room { limits: LIMITS, memory: self.hub.memory.clone() };
        let client = Arc::new(Client::new(link, who.clone(), key, peer, room, Metrics::default()));
        let owner = Caller { user: "u".into(), client: id.into(), who };
        let opened = self.hub.open(owner, clean, expiry, LIMITS, &client)?;
        self.hub.keeper.note(opened.writes.clone());
        Ok(Visit1 { client, opened })
    }

    fn open(&mut self, id: &str, clean: bool, expiry: u32) -> Visit1 {
        self.try_open(id, clean, expiry).unwrap()
    }

    /// The session of a part of the gateway, with room for four messages.
    fn open_inside(&mut self, refuse: bool) -> Visit1 {
        self.links += 1;
        let who = Who::Operator(Role::Operator);
        let user = format!("{INSIDE}b");
        let (link, key) = (LinkId(self.links), key(&user, "b"));
        let peer = SocketAddr::from(([0, 0, 0, 0], 0));
        let room = Room { limits: LIMITS, memory: self.hub.memory.clone() };
        let client = Arc::new(Client::new(link, who.clone(), key, peer, room, Metrics::default()));
        let owner = Caller { user: user.into(), client: "b".into(), who };
        let opened = self.hub.open_inside(owner, Bound { limits: LIMITS, refuse }, &client).unwrap();
        self.hub.keeper.note(opened.writes.clone());
        Visit1 { client, opened }
    }

    fn subscribe(&self, visit: &Visit1, filter: &str, qos: u8) {
        let options = Options { qos, no_local: false, retain_as_published: false, id: None };
        self.hub.subscribe(visit.session(), filter, options, 0);
        self.hub.keeper.note(visit.session().record());
    }

    fn leave(&self, visit: &Visit1) -> Option<Will> {
        self.hub.leave(visit.session(), visit.client.link, None)
    }

    fn publish(&self, topic: &str, qos: u8) {
        self.hub.dispatch(&Arc::new(self.message(topic, qos, false)), Receipt::none());
    }

    fn message(&self, topic: &str, qos: u8, retain: bool) -> Message {
        Message { wall: self.clock.wall(), ..Message::new(topic, Bytes::from_static(b"x"), qos, retain) }
    }
}

fn will(delay: u32) -> Will {
    let topic = Text::new(Bytes::from_static(b"gone")).unwrap();
    Will { topic, payload: Bytes::from_static(b"w"), qos: 0, retain: false, props: None, delay }
}

#[tokio::test]
async fn a_session_without_expiry_ends_with_its_connection() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", false, 0);
    rig.subscribe(&a, "t", 1);
    rig.leave(&a);
    rig.publish("t", 1);
    let again = rig.open("a", false, 0);
    assert!(!again.opened.present && again.take().is_none());
    assert_eq!(rig.hub.figures().subscriptions, 0);
    assert!(!rig.restarted().await.open("a", false, 0).opened.present);
}

#[tokio::test]
async fn what_comes_while_the_client_is_away_waits_and_survives_a_restart_but_qos_0() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", false, 600);
    rig.subscribe(&a, "t/#", 2);
    rig.leave(&a);
    for (topic, qos) in [("t/0", 0), ("t/1", 1), ("t/2", 2)] {
        rig.publish(topic, qos);
    }
    let mut rig = rig.restarted().await;
    rig.publish("t/3", 1);
    let a = rig.open("a", false, 600);
    assert!(a.opened.present);
    let got: Vec<_> = std::iter::from_fn(|| a.take()).collect();
    // ids follow from the queue: a restart finds the same ones; what is from before it may have been sent
    assert_eq!(got, [("t/1".into(), 2, true), ("t/2".into(), 3, true), ("t/3".into(), 4, false)]);
}

#[tokio::test]
async fn what_was_not_answered_comes_again_and_what_was_does_not() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", false, 600);
    rig.subscribe(&a, "t/#", 2);
    for (topic, qos) in [("t/1", 1), ("t/2", 2), ("t/3", 2), ("t/4", 1)] {
        rig.publish(topic, qos);
    }
    let ids: Vec<u16> = std::iter::from_fn(|| a.take()).map(|(_, id, _)| id).collect();
    rig.hub.keeper.note(a.session().answered(ids[0], Answer::Ack));
    rig.hub.keeper.note(a.session().received_by_client(ids[2]).unwrap());
    assert!(a.session().received_by_client(999).is_none());
    rig.leave(&a);
    let b = rig.open("a", false, 600);
    let resend = |visit: &Visit1| visit.opened.resend.iter().map(|f| (f.id, f.stage)).collect::<Vec<_>>();
    assert_eq!(resend(&b), [(ids[1], Stage::Rec), (ids[2], Stage::Comp), (ids[3], Stage::Ack)]);
    // the same after a crash: only that the release is known for certain
    let mut rig = rig.restarted().await;
    let c = rig.open("a", false, 600);
    assert_eq!(resend(&c), [(ids[2], Stage::Comp)]);
    assert_eq!(c.take(), Some(("t/2".into(), ids[1], true)));
    assert_eq!(c.take(), Some(("t/4".into(), ids[3], true)));
    rig.hub.keeper.note(c.session().answered(ids[2], Answer::Comp));
    rig.hub.keeper.note(c.session().answered(ids[1], Answer::Refused));
    rig.hub.keeper.note(c.session().answered(ids[3], Answer::Ack));
    let mut rig = rig.restarted().await;
    let d = rig.open("a", false, 600);
    assert!(resend(&d).is_empty() && d.take().is_none());
}

#[tokio::test]
async fn a_packet_id_of_qos_2_is_known_until_it_is_released_also_after_a_restart() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", false, 600);
    rig.hub.keeper.note(a.session().begin_receiving(7).unwrap());
    assert!(a.session().begin_receiving(7).is_none(), "a repeat");
    let mut rig = rig.restarted().await;
    let a = rig.open("a", false, 600);
    assert!(a.session().begin_receiving(7).is_none(), "a repeat after the restart");
    rig.hub.keeper.note(a.session().end_receiving(7).unwrap());
    assert!(a.session().end_receiving(7).is_none());
    let mut rig = rig.restarted().await;
    let a = rig.open("a", false, 600);
    assert!(a.session().begin_receiving(7).is_some());
}

#[tokio::test(start_paused = true)]
async fn sessions_and_messages_expire_also_while_the_gateway_is_down() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", false, 10);
    rig.subscribe(&a, "t", 1);
    rig.leave(&a);
    tokio::time::advance(Duration::from_secs(9)).await;
    rig.hub.due(Instant::now());
    let a = rig.open("a", false, 10);
    assert!(a.opened.present, "9 of 10 seconds");
    rig.leave(&a);
    rig.clock.advance(Duration::from_secs(11));
    let mut rig = rig.restarted().await;
    rig.hub.due(Instant::now());
    assert!(!rig.open("a", false, 10).opened.present, "it was away for 11 seconds, the gateway too");
    assert_eq!(rig.hub.metrics.sessions_ended("expired"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_will_waits_for_its_delay_or_the_end_of_the_session_and_not_for_one_who_is_back() {
    let mut rig = Rig::new().await;
    for (expiry, delay, after) in [(100, 3, 3), (2, 5, 2)] {
        let a = rig.open("a", true, expiry);
        rig.hub.leave(a.session(), a.client.link, Some(will(delay)));
        tokio::time::advance(Duration::from_secs(after - 1)).await;
        assert!(rig.hub.due(Instant::now()).is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(rig.hub.due(Instant::now()).len(), 1, "expiry {expiry}, delay {delay}");
    }
    let a = rig.open("a", true, 100);
    rig.hub.leave(a.session(), a.client.link, Some(will(3)));
    let back = rig.open("a", false, 100);
    assert!(back.opened.will.is_none());
    rig.leave(&back);
    tokio::time::advance(Duration::from_secs(9)).await;
    assert!(rig.hub.due(Instant::now()).is_empty(), "it came back in time");
    let a = rig.open("a", true, 100);
    rig.hub.leave(a.session(), a.client.link, Some(will(30)));
    assert!(rig.open("a", true, 100).opened.will.is_some(), "a clean start ends the session, and its will is due");
}

#[tokio::test]
async fn a_kept_session_that_outgrows_its_limit_is_dropped_rather_than_served_with_a_gap() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", false, 600);
    rig.subscribe(&a, "t", 1);
    rig.leave(&a);
    for _ in 0..4 {
        rig.publish("t", 1);
    }
    assert_eq!(rig.hub.figures().waiting, 4);
    rig.publish("t", 1);
    assert_eq!((rig.hub.metrics.sessions_ended("overflow"), rig.hub.figures().waiting), (1, 0));
    let mut rig = rig.restarted().await;
    assert!(!rig.open("a", false, 600).opened.present);
}

#[tokio::test]
async fn a_connected_watcher_that_does_not_read_is_told_to_go() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", true, 0);
    rig.subscribe(&a, "t", 0);
    for _ in 0..5 {
        rig.publish("t", 0);
    }
    assert_eq!(a.client.ending(), Some(crate::door::mqtt::Ending::TooSlow));
}

#[tokio::test]
async fn each_message_of_a_shared_subscription_goes_to_one_member_and_not_to_one_who_is_away() {
    let mut rig = Rig::new().await;
    let (a, b) = (rig.open("a", true, 0), rig.open("b", false, 600));
    for visit in [&a, &b] {
        rig.subscribe(visit, "$share/g/t/#", 1);
    }
    // the same group name on another filter is another group
    rig.subscribe(&b, "$share/g/u", 1);
    rig.publish("u", 1);
    assert_eq!(b.take().unwrap().0, "u");
    for n in 0..4 {
        rig.publish(&format!("t/{n}"), 1);
    }
    let count = |visit: &Visit1| std::iter::from_fn(|| visit.take()).count();
    assert_eq!((count(&a), count(&b)), (2, 2));
    rig.leave(&b);
    for n in 0..2 {
        rig.publish(&format!("t/{n}"), 1);
    }
    assert_eq!(count(&a), 2, "all to the one who is there");
    // what a member had not answered when its session ended goes to another
    let b = rig.open("b", false, 600);
    assert_eq!(b.opened.resend.len(), 3, "u and two of t, not answered");
    rig.leave(&a);
    let got: Vec<_> = std::iter::from_fn(|| b.take()).collect();
    assert_eq!(got.len(), 4, "{got:?}");
}

#[tokio::test]
async fn overlapping_subscriptions_give_one_copy_with_the_highest_qos_and_every_identifier() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", true, 0);
    for (filter, qos, id) in [("t/+", 2, 5), ("t/#", 1, 6), ("+/a", 0, 7)] {
        let options = Options { qos, no_local: false, retain_as_published: false, id: Some(id) };
        rig.hub.subscribe(a.session(), filter, options, 0);
    }
    rig.publish("t/a", 2);
    let (copy, _) = a.session().take(a.client.link, 64).unwrap();
    let mut ids = copy.subscriptions.clone();
    ids.sort_unstable();
    assert_eq!((copy.qos, ids), (2, vec![5, 6, 7]));
    assert!(a.take().is_none());
}

#[tokio::test]
async fn retained_messages_survive_a_restart_the_gateways_own_are_made_anew() {
    let mut rig = Rig::new().await;
    for n in 0..4 {
        rig.hub.dispatch(&Arc::new(rig.message(&format!("r/{n}"), 1, true)), Receipt::none());
    }
    assert_eq!(rig.hub.metrics.drops("retained_quota"), 1, "three may be kept");
    rig.hub.dispatch(&Arc::new(Message { own: true, ..rig.message("r/own", 0, true) }), Receipt::none());
    rig.hub.dispatch(&Arc::new(Message { payload: Bytes::new(), ..rig.message("r/1", 0, true) }), Receipt::none());
    let topics = |visit: &Visit1| std::iter::from_fn(|| visit.take()).map(|t| t.0).collect::<Vec<_>>();
    let a = rig.open("a", true, 0);
    rig.subscribe(&a, "r/#", 1);
    assert_eq!(topics(&a), ["r/0", "r/2", "r/own"]);
    let mut rig = rig.restarted().await;
    let a = rig.open("a", true, 0);
    rig.subscribe(&a, "r/#", 1);
    assert_eq!(topics(&a), ["r/0", "r/2"]);
}

#[tokio::test]
async fn a_user_keeps_so_many_sessions_and_no_more() {
    let mut rig = Rig::new().await;
    for id in ["a", "b", "c"] {
        let visit = rig.open(id, false, 600);
        rig.leave(&visit);
    }
    assert!(rig.try_open("d", false, 600).is_err());
    assert!(!rig.open("d", true, 0).opened.present, "one that is not kept is free");
    assert!(rig.open("a", false, 600).opened.present);
    rig.hub.forget_user("u");
    assert_eq!(rig.hub.figures().kept, 1, "the one that is connected ends with its connection");
    assert!(rig.try_open("e", false, 600).is_ok());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_nobody_else_out() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", false, 600);
    rig.leave(&a);
    let mut batch = Batch::new();
    for kind in *b"rqsi" {
        let key = crate::store::Key::new(crate::store::Space::Mqtt).byte(kind).text("x").text("y").u64(1);
        batch.put(key, b"\xff\xfe no record".to_vec());
    }
    rig.store.commit(batch).await.unwrap();
    let mut rig = rig.restarted().await;
    assert!(rig.open("a", false, 600).opened.present);
}

#[tokio::test]
async fn a_bounded_session_loses_its_oldest_and_never_itself() {
    let mut rig = Rig::new().await;
    for id in ["a", "b", "c"] {
        rig.open(id, false, 600);
    }
    let inside = rig.open_inside(false);
    rig.subscribe(&inside, "t/#", 1);
    for n in 0..7 {
        rig.publish(&format!("t/{n}"), 1);
    }
    // what nobody was promised pushes out nothing
    rig.publish("t/unsafe", 0);
    // nor does what would not fit into an empty queue
    let large = Message { payload: Bytes::from(vec![0; LIMITS.bytes]), ..rig.message("t/large", 1, false) };
    rig.hub.dispatch(&Arc::new(large), Receipt::none());
    assert_eq!(inside.session().spilt(), Spilt { dropped: 5, refused: 0 });
    assert!(inside.client.ending().is_none() && rig.hub.metrics.sessions_ended("overflow") == 0);
    rig.leave(&inside);
    let mut rig = rig.restarted().await;
    // more than it may hold waits for its owner, who says how much that is
    for n in 7..10 {
        rig.publish(&format!("t/{n}"), 1);
    }
    assert_eq!(rig.hub.metrics.sessions_ended("overflow"), 0);
    let inside = rig.open_inside(false);
    assert_eq!(inside.session().spilt().dropped, 0);
    rig.publish("t/10", 1);
    let topics: Vec<_> = std::iter::from_fn(|| inside.take()).map(|(topic, ..)| topic).collect();
    assert_eq!(topics, ["t/7", "t/8", "t/9", "t/10"]);
}

#[tokio::test]
async fn a_bounded_session_that_refuses_says_so_to_the_publisher_and_keeps_what_it_has() {
    let mut rig = Rig::new().await;
    let inside = rig.open_inside(true);
    rig.subscribe(&inside, "t/#", 1);
    let mut settled = Vec::new();
    for n in 0..6 {
        let (receipt, waiting) = Receipt::new();
        let message = Arc::new(rig.message(&format!("t/{n}"), 1, false));
        // only a refusal is settled at once: the rest waits for the store
        rig.hub.dispatch(&message, if n < 4 { Receipt::none() } else { receipt });
        settled.push(waiting);
    }
    for waiting in settled.drain(4..) {
        assert_eq!(waiting.await, Ok(Settled::Refused(Refusal::Storage)));
    }
    assert_eq!(inside.session().spilt(), Spilt { dropped: 0, refused: 2 });
    let topics: Vec<_> = std::iter::from_fn(|| inside.take()).map(|(topic, ..)| topic).collect();
    assert_eq!(topics, ["t/0", "t/1", "t/2", "t/3"]);
}

#[tokio::test]
async fn a_packet_id_that_comes_round_waits_for_its_first_message() {
    let mut rig = Rig::new().await;
    let inside = rig.open_inside(false);
    rig.subscribe(&inside, "t/#", 1);
    rig.publish("t/first", 1);
    let (_, id, _) = inside.take().unwrap();
    // so many are dropped that the last four begin with the same id
    for n in 0..0x7FFF + 3 {
        rig.publish(&format!("t/{n}"), 1);
    }
    assert_eq!(inside.take(), None, "its id is taken");
    inside.session().answered(id, Answer::Ack);
    assert_eq!(inside.take().map(|(_, again, _)| again), Some(id));
}

#[tokio::test]
async fn a_part_of_the_gateway_that_is_not_wanted_any_more_leaves_nothing_behind() {
    let mut rig = Rig::new().await;
    let inside = rig.open_inside(false);
    rig.subscribe(&inside, "t", 1);
    rig.leave(&inside);
    rig.publish("t", 1);
    let other = rig.open("b", false, 600);
    rig.leave(&other);
    assert!(rig.hub.forget_inside(|name| name == "b").is_empty());
    assert_eq!(rig.hub.forget_inside(|_| false), [("b".into(), 1)]);
    let mut rig = rig.restarted().await;
    assert_eq!((rig.hub.figures().kept, rig.hub.figures().waiting), (1, 0), "the client of the same name stays");
    assert!(rig.open("b", false, 600).opened.present);
}

#[tokio::test]
async fn a_session_that_outgrows_its_limit_is_over_also_while_its_client_is_connected() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", false, 600);
    rig.subscribe(&a, "t", 1);
    for _ in 0..5 {
        rig.publish("t", 1);
    }
    assert_eq!(a.client.ending(), Some(Ending::TooSlow));
    assert!(a.take().is_none(), "nothing before the gap, and nothing after it");
    // what its connection still does finds no session to change
    rig.subscribe(&a, "u", 1);
    a.session().set_expiry(600);
    rig.leave(&a);
    assert_eq!((rig.hub.figures().subscriptions, rig.hub.figures().kept), (0, 0));
    assert!(!rig.open("a", false, 600).opened.present);
    let mut rig = rig.restarted().await;
    let a = rig.open("a", false, 600);
    assert!(a.take().is_none(), "and no record is left of it");
}

#[tokio::test]
async fn the_will_of_a_session_that_is_dropped_is_told() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", false, 600);
    rig.subscribe(&a, "t", 1);
    assert!(rig.hub.leave(a.session(), a.client.link, Some(will(300))).is_none());
    for _ in 0..5 {
        rig.publish("t", 1);
    }
    assert_eq!(rig.hub.due(Instant::now()).len(), 1, "though its delay is not over");
    assert!(rig.hub.due(Instant::now()).is_empty());
}

#[tokio::test]
async fn a_copy_leaves_only_when_its_record_is_handed_to_the_store() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", false, 600);
    let message = Arc::new(rig.message("t", 1, false));
    let copy = |qos| Copy {
        message: message.clone(),
        qos,
        retain: false,
        subscriptions: Vec::new(),
        from_store: false,
        share: None,
        number: None,
        again: false,
    };
    let mut writes = Batch::new();
    assert_eq!(a.session().offer(copy(1), &mut writes), Offered::Recorded(1));
    assert!(a.take().is_none());
    assert!(a.session().release(1) && !a.session().release(1));
    assert!(a.take().is_some());
    // one that vanished in between leaves its record to nobody
    assert_eq!(a.session().offer(copy(1), &mut writes), Offered::Recorded(2));
    a.session().end();
    assert!(!a.session().release(2));
    assert_eq!(a.session().offer(copy(1), &mut writes), Offered::Gone);
    assert!(a.session().attach(&a.client, 600).is_none());
    assert!(
        a.session().remember("t", Options { qos: 0, no_local: false, retain_as_published: false, id: None }).is_none()
    );
}

#[tokio::test]
async fn records_of_a_session_that_is_gone_are_removed_at_the_next_start() {
    let mut rig = Rig::new().await;
    let a = rig.open("a", false, 600);
    rig.subscribe(&a, "t", 1);
    rig.publish("t", 1);
    let mut batch = Batch::new();
    // as when the process is killed between the two
    record::delete_session(&mut batch, &a.session().owner, &[], &[]);
    rig.hub.keeper.note(batch);
    let rig = rig.restarted().await;
    let mut rig = rig.restarted().await;
    let a = rig.open("a", false, 600);
    rig.leave(&a);
    let mut rig = rig.restarted().await;
    assert!(rig.open("a", false, 600).take().is_none(), "an old message is not for a new session");
}

#[tokio::test]
async fn who_asks_for_what_is_retained_again_and_again_and_does_not_read_is_dropped() {
    let mut rig = Rig::new().await;
    for topic in ["r/1", "r/2"] {
        let payload = Bytes::from(vec![0; 4_000]);
        let message = Message { payload, ..rig.message(topic, 1, true) };
        rig.hub.dispatch(&Arc::new(message), Receipt::none());
    }
    let a = rig.open("a", false, 600);
    for _ in 0..100 {
        rig.subscribe(&a, "r/#", 1);
    }
    assert_eq!(a.client.ending(), Some(Ending::TooSlow));
    assert_eq!(rig.hub.figures().kept, 0);
    let b = rig.open("b", true, 0);
    for _ in 0..3 {
        rig.subscribe(&b, "r/#", 0);
        assert!(b.take().is_some() && b.take().is_some() && b.take().is_none(), "who reads may ask again");
    }
}

#[test]
fn properties_count_as_what_they_take() {
    let text = |n: usize| Text::new(Bytes::from(vec![b'x'; n])).unwrap();
    let props = PublishProps { user: vec![(text(1_000), text(2_000))], ..PublishProps::default() };
    let plain = Message::new("t", Bytes::new(), 0, false);
    let with = Message { props: Some(Box::new(props.clone())), ..plain.clone() };
    assert!(with.cost() >= plain.cost() + 3_000);
    assert_eq!(props.detached(), props);
}

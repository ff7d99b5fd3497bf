//! Talkers in front of one service that works on few requests at once: how long each waits, and who is told that nobody is
//! free. The gate, its queue and its prediction are the gateway's own; the service takes its time and says one word.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::report::Spread;
use crate::domain::{Clock, Span};
use crate::provider::pool::{self, Member, Pool, Terms};
use crate::provider::{ChatModel, ChatRequest, ChatStream, ErrorKind, Urgency};

/// Random bits.
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

/// Who goes first where there is a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A live turn, then a greeting, then what nobody waits for; who would wait for too long is told at once.
    Classes,
    /// Whoever came first; nobody is told anything.
    FirstCome,
}

/// Who asks what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Who goes first.
    pub order: Order,
    /// People who talk: each asks, hears the answer, and asks again.
    pub talkers: u32,
    /// Devices that are woken in the same way, each to be greeted.
    pub woken: u32,
    /// Tasks that ask one thing after the other.
    pub tasks: u32,
    /// Requests that the service works on at once.
    pub at_once: u32,
    /// How long it takes for one.
    pub takes: Duration,
    /// Between an answer and the next question, on average: half to one and a half of it.
    pub pause: Duration,
    /// So long all come to their pace; what is asked then does not count.
    pub before: Duration,
    /// So long it is measured.
    pub length: Duration,
}

/// What became of those of one kind.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Waits {
    /// To the first of an answer, ms: 300 of a service that takes 300 is no wait at all.
    pub first_ms: Spread,
    /// Who was told that nobody is free.
    pub busy: usize,
    /// Who was not answered when the time was over, or not at all.
    pub unanswered: usize,
}

/// What became of all.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Outcome {
    /// People who talk.
    pub live: Waits,
    /// Greetings.
    pub greetings: Waits,
    /// Tasks.
    pub tasks: Waits,
}

/// A service that has its hands full with so many requests.
struct Limited {
    hands: Arc<Semaphore>,
    takes: Duration,
}

impl ChatModel for Limited {
    fn chat(&self, _: ChatRequest) -> ChatStream {
        let (hands, takes) = (Arc::clone(&self.hands), self.takes);
        stream::once(async move {
            // it is never closed
            let _hand = hands.acquire().await;
            sleep(takes).await;
            Ok("Yes.".into())
        })
        .boxed()
    }
}

/// Those of one kind.
#[derive(Clone, Copy)]
struct Kind {
    count: u32,
    urgency: Urgency,
    pause: Duration,
}

/// One who asks, and what was seen.
#[derive(Default)]
struct Seen {
    first_ms: Vec<f64>,
    busy: usize,
    unanswered: usize,
}

/// Lets all of them ask, as long as the plan says.
pub async fn run(plan: Plan, clock: Arc<dyn Clock>, random: Random) -> Outcome {
    let mut settings = pool::Settings::default();
    if plan.order == Order::FirstCome {
        (settings.max_wait, settings.queue) = (Span::secs(3_600), 10_000);
    }
    let parts = pool::Parts { settings, clock, random: Arc::clone(&random), metrics: pool::Metrics::default() };
    let hands = Arc::new(Semaphore::new(plan.at_once as usize));
    let service: Arc<dyn ChatModel> = Arc::new(Limited { hands, takes: plan.takes });
    let terms = Terms { at_once: Some(plan.at_once), ..Terms::default() };
    let member = Member { terms, ..Member::plain(service) };
    let Some(pool) = Pool::new("chat", vec![member], &parts) else { unreachable!("it has a service") };
    let of = |urgency| if plan.order == Order::Classes { urgency } else { Urgency::Turn };
    let kinds = [
        Kind { count: plan.talkers, urgency: of(Urgency::Turn), pause: plan.pause },
        Kind { count: plan.woken, urgency: of(Urgency::Greeting), pause: plan.pause },
        Kind { count: plan.tasks, urgency: of(Urgency::Background), pause: Duration::ZERO },
    ];
    let [live, greetings, tasks] = kinds.map(|kind| all(&pool, plan, kind, &random));
    let (live, greetings, tasks) = tokio::join!(live, greetings, tasks);
    Outcome { live, greetings, tasks }
}

async fn all(pool: &Pool<dyn ChatModel>, plan: Plan, kind: Kind, random: &Random) -> Waits {
    let seen = join_all((0..kind.count).map(|_| one(pool, plan, kind, random))).await;
    let (mut first_ms, mut busy, mut unanswered) = (Vec::new(), 0, 0);
    for one in seen {
        first_ms.extend(one.first_ms);
        busy += one.busy;
        unanswered += one.unanswered;
    }
    Waits { first_ms: Spread::of(first_ms), busy, unanswered }
}

/// Asks again and again; who is told that nobody is free asks again after a pause, as people do.
async fn one(pool: &Pool<dyn ChatModel>, plan: Plan, kind: Kind, random: &Random) -> Seen {
    let mut seen = Seen::default();
    let counts = Instant::now() + plan.before;
    let end = counts + plan.length;
    sleep(kind.pause.mul_f64(share(random))).await;
    while Instant::now() < end {
        let asked = Instant::now();
        let mut answer = pool.chat(ChatRequest { urgency: kind.urgency, ..ChatRequest::default() });
        let first = timeout_at(end, answer.next()).await;
        // the answer is one word: it has ended
        drop(answer);
        if asked >= counts {
            match &first {
                Ok(Some(Ok(_))) => seen.first_ms.push(asked.elapsed().as_secs_f64() * 1e3),
                Ok(Some(Err(error))) if error.kind == ErrorKind::Busy => seen.busy += 1,
                _ => seen.unanswered += 1,
            }
        }
        if first.is_err() {
            break;
        }
        sleep(kind.pause.mul_f64(0.5 + share(random))).await;
    }
    seen
}

/// A number of [0, 1).
fn share(random: &Random) -> f64 {
    #[allow(clippy::cast_possible_truncation, reason = "the lowest bits are as random as any")]
    let bits = random() as u32;
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::domain::Wall;

    /// Time that moves with tokio's timers.
    #[derive(Debug)]
    struct Paused(Instant);

    impl Clock for Paused {
        fn wall(&self) -> Wall {
            Wall(1)
        }

        fn mono(&self) -> Duration {
            self.0.elapsed()
        }
    }

    async fn with(order: Order, talkers: u32) -> Outcome {
        let plan = Plan {
            order,
            talkers,
            woken: 2,
            tasks: 4,
            at_once: 4,
            takes: Duration::from_millis(300),
            pause: Duration::from_secs(2),
            before: Duration::from_secs(5),
            length: Duration::from_mins(1),
        };
        let drawn = AtomicU64::new(0);
        let random = move || u128::from(drawn.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed) >> 32);
        run(plan, Arc::new(Paused(Instant::now())), Arc::new(random)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_talkers_wait_for_one_request_of_a_task_at_most_where_they_have_a_class() {
        let (classes, queue) = (with(Order::Classes, 10).await, with(Order::FirstCome, 10).await);
        assert_eq!((classes.live.busy, queue.live.busy), (0, 0));
        assert!(classes.live.first_ms.p99 <= 750.0, "{classes:?}");
        assert!(classes.live.first_ms.p99 < queue.live.first_ms.p99, "{classes:?} {queue:?}");
        assert!(classes.tasks.first_ms.count > 0, "what is left is theirs: {classes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_talkers_are_told_and_the_others_do_not_wait_longer_than_was_promised() {
        let (classes, queue) = (with(Order::Classes, 60).await, with(Order::FirstCome, 60).await);
        assert!(classes.live.busy > 0 && classes.live.first_ms.p99 <= 2_400.0, "{classes:?}");
        assert_eq!(queue.live.busy, 0);
        assert!(queue.live.first_ms.p50 > classes.live.first_ms.p50, "{classes:?} {queue:?}");
        assert!(queue.live.first_ms.p99 > 2_400.0, "{queue:?}");
    }
}

//! From one state to the next, over crashes, stops and full disks. Numbers are those of OpenCane's faults.

use super::*;
use crate::domain::Span;

fn stages(task: &Task) -> Vec<&str> {
    task.steps.iter().map(|step| step.stage.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_id_that_was_used_is_refused_also_when_its_task_is_over_and_after_a_restart() {
    let bench = Bench::at_work(Settings::default()).await;
    bench.begin("one", "book").await.unwrap();
    assert_eq!(bench.begin("one", "book").await, Err(TaskError::Exists("one".into())));
    bench.until("one", TaskState::Success).await;
    assert_eq!(bench.begin("one", "book").await, Err(TaskError::Exists("one".into())));
    let bench = bench.restart().await;
    assert_eq!(bench.begin("one", "book").await, Err(TaskError::Exists("one".into())));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_taken_back_stays_so_whatever_comes_of_the_work() {
    let bench = Bench::at_work(Settings::default()).await;
    bench.begin("one", "hang").await.unwrap();
    bench.until("one", TaskState::Running).await;
    let canceled = bench.tasks.cancel("one", "changed my mind").await.unwrap();
    assert_eq!((canceled.state, canceled.error.as_str()), (TaskState::Canceled, "changed my mind"));
    assert_eq!(bench.tasks.cancel("one", "again").await, Err(TaskError::Over("canceled")));
    // the work says that it is done, too late
    let late = bench.tasks.end("one", TaskState::Success, "done", "").await;
    assert!(matches!(late, Err(TaskError::Unknown)), "{late:?}");
    assert_eq!(bench.tasks.get("one").await.unwrap().unwrap().state, TaskState::Canceled);
    assert_eq!(bench.tasks.cancel("two", "").await, Err(TaskError::Unknown));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.script.now.load(Ordering::SeqCst), 0, "nobody works on it any more");
    bench.begin("three", "book").await.unwrap();
    bench.until("three", TaskState::Success).await;
    assert_eq!(bench.tasks.cancel("three", "").await, Err(TaskError::Over("success")));
}

/// OpenCane said running before there was a slot.
#[tokio::test(start_paused = true)]
async fn no_more_tasks_run_than_may_and_what_waits_is_pending_and_loses_no_time() {
    let settings = Settings { timeout: Span::secs(15), ..Settings::default() };
    let bench = Bench::at_work(settings).await;
    for n in 0..4 {
        bench.begin(&format!("t{n}"), "wait 10").await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let states = [bench.task("t0").await.state, bench.task("t3").await.state];
    assert_eq!(states, [TaskState::Running, TaskState::Pending]);
    assert_eq!(bench.tasks.count(), (4, 2));
    bench.until("t3", TaskState::Success).await;
    assert_eq!(bench.script.most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_task_ends_when_its_time_is_over_and_its_work_with_it() {
    let bench = Bench::at_work(Settings::default()).await;
    let new = New { timeout: Some(Duration::from_secs(7)), ..named("one", "hang") };
    let begun = tokio::time::Instant::now();
    bench.tasks.begin(new).await.unwrap();
    let task = bench.until("one", TaskState::Timeout).await;
    assert!((7..9).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(task.error, "not done within 7s");
    assert_eq!(bench.script.now.load(Ordering::SeqCst), 0);
}

/// 25: a stop ended what ran as canceled; only a crash took it up again.
#[tokio::test(start_paused = true)]
async fn neither_a_stop_nor_a_crash_ends_a_task_that_ran() {
    for crash in [false, true] {
        let bench = Bench::at_work(Settings::default()).await;
        bench.begin("one", "wait 10").await.unwrap();
        bench.until("one", TaskState::Running).await;
        let bench = if crash { bench.crash().await } else { bench.restart().await };
        let task = bench.until("one", TaskState::Success).await;
        assert_eq!(stages(&task), ["accepted", "running", "tool", "recovered", "running", "tool", "success"]);
        assert_eq!(task.attempts, 1 + u32::from(crash), "a stop is no attempt");
        assert_eq!(bench.script.begun.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_the_gateway_each_time_is_given_up() {
    let mut bench = Bench::at_work(Settings::default()).await;
    bench.begin("one", "hang").await.unwrap();
    bench.begin("two", "hang").await.unwrap();
    for _ in 0..3 {
        bench.until("one", TaskState::Running).await;
        // what was written before the crash says running too: it is begun when it is worked on
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench = bench.crash().await;
    }
    let task = bench.until("one", TaskState::Failed).await;
    assert_eq!((task.attempts, task.error.as_str()), (3, "the gateway ended 3 times while it worked on it"));
    assert_eq!(bench.script.begun.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_work_on_one_task_is_the_end_of_that_task_alone() {
    let bench = Bench::at_work(Settings { concurrent: 1, ..Settings::default() }).await;
    bench.begin("bad", "panic").await.unwrap();
    bench.begin("good", "book").await.unwrap();
    assert_eq!(bench.until("bad", TaskState::Failed).await.error, "a fault of the gateway");
    bench.until("good", TaskState::Success).await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_a_full_disk_did_not_take_is_written_when_there_is_room() {
    let bench = Bench::at_work(Settings::default()).await;
    bench.begin("one", "hang").await.unwrap();
    bench.until("one", TaskState::Running).await;
    bench.store.full.store(true, Ordering::SeqCst);
    assert!(matches!(bench.tasks.cancel("one", "stop").await, Err(TaskError::Store(_))));
    assert_eq!(bench.task("one").await.state, TaskState::Canceled, "it is over all the same");
    let listed = bench.tasks.list(&Query { limit: 10, ..Query::default() }).await.unwrap();
    assert_eq!(listed[0].state, TaskState::Canceled);
    assert!(
        matches!(bench.begin("two", "book").await, Err(TaskError::Store(_))),
        "nothing is taken that is not durable"
    );
    assert!(bench.tasks.get("two").await.unwrap().is_none());
    bench.store.full.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(tasks::get(&*bench.store, "one").await.unwrap().unwrap().state, TaskState::Canceled);
}

#[tokio::test(start_paused = true)]
async fn a_device_is_told_where_its_task_is_now_and_not_all_that_it_went_through() {
    let bench = Bench::at_work(Settings::default()).await;
    bench.begin("one", "hang").await.unwrap();
    bench.until("one", TaskState::Running).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waiting = bench.outbox().await;
    assert_eq!(waiting.len(), 1, "the former words are gone: {waiting:?}");
    assert_eq!(waiting[0].body["task"]["extra"]["event"], "step");
    assert!(waiting[0].body.get("say").is_none(), "what is not the end is not spoken");
    bench.tasks.cancel("one", "no").await.unwrap();
    bench.begin("two", "帮我订一张票").await.unwrap();
    bench.until("two", TaskState::Success).await;
    bench.begin("three", "fail").await.unwrap();
    bench.until("three", TaskState::Failed).await;
    let told: Vec<Value> = bench.outbox().await.into_iter().map(|entry| entry.body).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0]["say"]["priority"], "low");
    assert_eq!(told[1]["task"]["message"], "办好了。A table is booked.");
    assert_eq!(told[1]["say"], json!({"text": "办好了。A table is booked.", "priority": "normal"}));
    assert_eq!(told[2]["task"]["message"], "I could not do that. No table is free.");
    assert_eq!(told[2]["task"]["extra"]["error"], "nothing found");
    assert!(bench.phone.woken.load(Ordering::SeqCst) > 0);
    assert!(bench.outbox().await.iter().all(|entry| entry.expires == Some(Wall(1_000_000 + 86_400_000))));
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_hear_nothing_is_told_nothing() {
    let bench = Bench::at_work(Settings::default()).await;
    bench.tasks.begin(New { notify: false, ..named("one", "book") }).await.unwrap();
    bench.tasks.begin(New { device: None, ..named("two", "book") }).await.unwrap();
    bench.tasks.begin(New { speak: false, ..named("three", "book") }).await.unwrap();
    for id in ["one", "two", "three"] {
        bench.until(id, TaskState::Success).await;
    }
    let told = bench.outbox().await;
    assert_eq!((told.len(), told[0].body.get("say")), (1, None));
}

#[tokio::test(start_paused = true)]
async fn nobody_fills_the_queue_for_others_and_no_nonsense_is_taken() {
    let settings = Settings { queue: 3, per_device: 2, enabled: true, ..Settings::default() };
    let bench = Bench::new(settings).await;
    bench.begin("a", "book").await.unwrap();
    bench.begin("b", "book").await.unwrap();
    assert!(matches!(bench.begin("c", "book").await, Err(TaskError::Full(text)) if text.contains("device")));
    bench.tasks.begin(New { device: None, ..named("d", "book") }).await.unwrap();
    assert!(matches!(bench.tasks.begin(New { device: None, ..named("e", "book") }).await, Err(TaskError::Full(_))));
    for bad in [
        named("f", "  "),
        named("f", &"x".repeat(5_000)),
        named("a/b", "book"),
        New { timeout: Some(Duration::ZERO), ..named("f", "book") },
        New { timeout: Some(Duration::from_hours(25)), ..named("f", "book") },
        New { session: Some("a\nb".into()), ..named("f", "book") },
    ] {
        assert!(matches!(bench.tasks.begin(bad.clone()).await, Err(TaskError::Invalid(_))), "{bad:?}");
    }
    let off = Bench::new(Settings { enabled: false, ..Settings::default() }).await;
    assert_eq!(off.begin("a", "book").await, Err(TaskError::Off));
}

#[tokio::test(start_paused = true)]
async fn one_task_takes_the_place_of_another_where_that_was_asked_for() {
    let bench = Bench::at_work(Settings::default()).await;
    bench.begin("one", "hang").await.unwrap();
    bench.begin("two", "hang").await.unwrap();
    bench.tasks.begin(New { device: None, ..named("other", "wait 5") }).await.unwrap();
    bench.tasks.begin(New { interrupt_previous: true, ..named("three", "book") }).await.unwrap();
    bench.until("three", TaskState::Success).await;
    assert_eq!(bench.task("one").await.error, "replaced by three");
    assert_eq!(bench.task("two").await.state, TaskState::Canceled);
    bench.until("other", TaskState::Success).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_counted_listed_and_in_the_end_forgotten() {
    let bench = Bench::at_work(Settings { kept: 2, ..Settings::default() }).await;
    for (id, goal) in [("a", "book"), ("b", "fail"), ("c", "book")] {
        bench.begin(id, goal).await.unwrap();
        bench.until(id, if goal == "fail" { TaskState::Failed } else { TaskState::Success }).await;
    }
    bench.begin("d", "hang").await.unwrap();
    bench.until("d", TaskState::Running).await;
    let stats = bench.tasks.stats(None).await.unwrap();
    assert_eq!((stats.total(), stats.of(TaskState::Success), stats.of(TaskState::Running)), (4, 2, 1));
    assert_eq!(bench.tasks.stats(Some("digital-a")).await.unwrap().total(), 1);
    let query = Query { offset: 1, limit: 2, ..Query::default() };
    let ids: Vec<String> = bench.tasks.list(&query).await.unwrap().into_iter().map(|task| task.id).collect();
    assert_eq!(ids, ["c", "b"]);
    bench.tasks.prune().await.unwrap();
    let query = Query { limit: 10, ..Query::default() };
    let ids: Vec<String> = bench.tasks.list(&query).await.unwrap().into_iter().map(|task| task.id).collect();
    assert_eq!(ids, ["d", "c", "b"], "the newest two that are over, and what runs");
    bench.clock.advance(Duration::from_hours(24 * 31));
    bench.tasks.prune().await.unwrap();
    assert_eq!(bench.tasks.list(&query).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn steps_without_end_do_not_fill_the_record() {
    let bench = Bench::at_work(Settings::default()).await;
    bench.begin("one", "hang").await.unwrap();
    bench.until("one", TaskState::Running).await;
    for n in 0..200 {
        bench.tasks.step("one", "tool", true, &format!("{n} {}", "x".repeat(10_000))).await;
    }
    bench.tasks.cancel("one", "enough").await.unwrap();
    let task = bench.task("one").await;
    assert_eq!((task.steps.len(), task.steps.last().unwrap().stage.as_str()), (STEPS, "canceled"));
    assert!(task.steps.iter().all(|step| step.message.len() <= LONGEST));
}

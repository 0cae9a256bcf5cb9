//! Schedules on Redis: each run is enqueued once, whoever looks and however many do. Time passes by
//! putting what is noted of a schedule into the past.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::Worker;
use taskqueue_queue::{Error, Limits, Missed, Payload, Policy, Queue, Schedule};

use crate::testbed::{self, Running, SOON, next, queue, recording, snapshot, until};

const NOTES: &str = "tq:{test/jobs}:schedules";
const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 366 * 24 * HOUR_MS;

/// Once a year, so that no test meets a run by chance.
fn yearly(name: &str, number: u32) -> Schedule {
    Schedule {
        name: name.to_owned(),
        cron: "@yearly".to_owned(),
        time_zone: "Europe/Paris".to_owned(),
        kind: "count".to_owned(),
        payload: Payload::of(&number).unwrap(),
        priority: None,
        suspend: false,
        missed: Missed::RunOnce,
        jitter: Duration::ZERO,
    }
}

fn with(schedules: &[Schedule]) -> Policy {
    Policy {
        schedules: schedules.to_vec(),
        ..Policy::default()
    }
}

async fn notes(redis: &mut MultiplexedConnection) -> HashMap<String, String> {
    redis.hgetall(NOTES).await.unwrap()
}

/// As if what is noted had been noted that much earlier.
async fn pass(redis: &mut MultiplexedConnection, span_ms: u64) {
    for (name, note) in notes(redis).await {
        let (settled, rest) = note.split_once(' ').unwrap();
        let settled: u64 = settled.parse().unwrap();
        let note = format!("{} {rest}", settled - span_ms);
        let () = redis.hset(NOTES, name, note).await.unwrap();
    }
}

async fn fired(queue: &Queue) -> u64 {
    queue.tidy().await.unwrap().fired
}

#[tokio::test]
async fn a_schedule_enqueues_its_task_when_it_is_due_and_not_before() {
    let server = RedisServer::start().await;
    let (queue, client) = (queue(&server).await, server.client().await);
    let mut redis = server.connection().await;
    let mut urgent = yearly("urgent", 7);
    urgent.priority = Some("high".to_owned());
    queue
        .configure(&with(&[urgent, yearly("plain", 8)]))
        .await
        .unwrap();
    assert_eq!(fired(&queue).await, 0);
    let states = queue.schedules().await.unwrap();
    assert_eq!(states[0].last, None);
    assert_eq!(fired(&queue).await, 0);

    pass(&mut redis, YEAR_MS).await;
    assert_eq!(fired(&queue).await, 2);
    assert_eq!(fired(&queue).await, 0);
    let figures = snapshot(&queue, &client).await;
    let waiting = [("high".into(), 1), ("normal".into(), 1), ("low".into(), 0)];
    assert_eq!(figures.waiting, waiting);
    let states = queue.schedules().await.unwrap();
    let names: Vec<&str> = states.iter().map(|state| state.name.as_str()).collect();
    assert_eq!(names, ["urgent", "plain"]);
    for state in states {
        let (last, next) = (state.last.unwrap(), state.next.unwrap());
        assert!(!state.suspended && last < jiff::Timestamp::now() && jiff::Timestamp::now() < next);
        // A year, leap or not, from new year to new year in Paris.
        assert_eq!(
            next.strftime("%m-%d %H:%M:%S").to_string(),
            "12-31 23:00:00"
        );
    }

    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue, handler));
    assert_eq!(next(&mut seen, 2).await, [7, 8]);
    worker.stop().await;
}

#[tokio::test]
async fn twenty_who_look_at_the_same_time_enqueue_each_of_fifty_runs_once() {
    let server = RedisServer::start().await;
    let mut redis = server.connection().await;
    let everyone = join_all((0..20).map(|_| queue(&server))).await;
    let names = ["a", "b", "c", "d", "e"];
    let schedules: Vec<Schedule> = names.iter().map(|name| yearly(name, 1)).collect();
    everyone[0].configure(&with(&schedules)).await.unwrap();
    let look = async || {
        let fired = join_all(everyone.iter().map(fired)).await;
        fired.iter().sum::<u64>()
    };
    assert_eq!(look().await, 0);
    for round in 0..10 {
        pass(&mut redis, YEAR_MS).await;
        assert_eq!(look().await, 5, "round {round}");
    }
    let figures = snapshot(&everyone[0], &server.client().await).await;
    assert_eq!((figures.backlog(), figures.counters.enqueued), (50, 50));
}

#[tokio::test]
async fn missed_runs_are_made_up_for_by_one_or_left_out() {
    let server = RedisServer::start().await;
    let queue = queue(&server).await;
    let mut redis = server.connection().await;
    let skip = Schedule {
        missed: Missed::Skip,
        ..yearly("skip", 1)
    };
    let schedules = [yearly("once", 1), skip];
    queue.configure(&with(&schedules)).await.unwrap();
    assert_eq!(fired(&queue).await, 0);
    let before = notes(&mut redis).await;
    pass(&mut redis, 10 * YEAR_MS).await;
    assert_eq!(fired(&queue).await, 1);
    let states = queue.schedules().await.unwrap();
    assert!(states[0].last.is_some() && states[1].last.is_none());
    // What was left out is noted as passed, and not looked at again.
    let after = notes(&mut redis).await;
    assert_ne!(before["skip"], after["skip"]);
    assert_eq!(fired(&queue).await, 0);
    assert_eq!(notes(&mut redis).await, after);
}

#[tokio::test]
async fn an_edit_begins_anew_and_a_schedule_that_is_removed_leaves_nothing() {
    let server = RedisServer::start().await;
    let queue = queue(&server).await;
    let mut redis = server.connection().await;
    let (kept, mut edited) = (yearly("kept", 1), yearly("edited", 2));
    queue
        .configure(&with(&[kept.clone(), edited.clone()]))
        .await
        .unwrap();
    assert_eq!(fired(&queue).await, 0);
    pass(&mut redis, YEAR_MS).await;
    edited.time_zone = "Asia/Kathmandu".to_owned();
    queue
        .configure(&with(&[kept.clone(), edited.clone()]))
        .await
        .unwrap();
    assert_eq!(fired(&queue).await, 1);
    assert!(notes(&mut redis).await["edited"].ends_with(" on Asia/Kathmandu @yearly"));

    edited.suspend = true;
    queue
        .configure(&with(&[kept, edited.clone()]))
        .await
        .unwrap();
    assert_eq!(fired(&queue).await, 0);
    pass(&mut redis, YEAR_MS).await;
    assert_eq!(fired(&queue).await, 1, "the one that is kept");
    let states = queue.schedules().await.unwrap();
    assert!(states[1].suspended && states[1].next.is_none());
    edited.suspend = false;
    queue.configure(&with(&[edited])).await.unwrap();
    assert_eq!(fired(&queue).await, 0);
    let notes = notes(&mut redis).await;
    assert_eq!(notes.keys().collect::<Vec<_>>(), ["edited"]);

    queue.configure(&Policy::default()).await.unwrap();
    assert_eq!(fired(&queue).await, 0);
    assert!(!redis.exists::<_, bool>(NOTES).await.unwrap());
}

#[tokio::test]
async fn whoever_knows_an_old_policy_acts_on_the_one_in_force() {
    let server = RedisServer::start().await;
    let (admin, other) = (queue(&server).await, queue(&server).await);
    let mut redis = server.connection().await;
    let schedules = [yearly("a", 1), yearly("b", 2)];
    admin.configure(&with(&schedules)).await.unwrap();
    assert_eq!((fired(&admin).await, fired(&other).await), (0, 0));
    pass(&mut redis, YEAR_MS).await;
    admin.configure(&with(&schedules[..1])).await.unwrap();
    assert_eq!(fired(&other).await, 1);
    assert_eq!(notes(&mut redis).await.len(), 1);
}

#[tokio::test]
async fn neither_a_full_backlog_nor_a_faulty_schedule_keeps_the_others_back() {
    let server = RedisServer::start().await;
    let queue = queue(&server).await;
    let mut redis = server.connection().await;
    let mut policy = with(&[yearly("faulty", 1), yearly("good", 2)]);
    policy.limits = Limits {
        max_backlog: Some(1),
        ..Limits::default()
    };
    queue.configure(&policy).await.unwrap();
    queue.enqueue(testbed::task(1)).await.unwrap();
    assert!(matches!(
        queue.enqueue(testbed::task(2)).await,
        Err(Error::Backlog { .. })
    ));
    assert_eq!(fired(&queue).await, 0);
    pass(&mut redis, YEAR_MS).await;
    // As no call of this crate would write it.
    policy.schedules[0].cron = "0 0 31 2 *".to_owned();
    let text = serde_json::to_string(&policy).unwrap();
    let () = redis
        .hset_multiple(
            "tq:{test/jobs}:config",
            &[("policy", text.as_str()), ("version", "9")],
        )
        .await
        .unwrap();
    queue.policy().await.unwrap();
    assert_eq!(fired(&queue).await, 1);
}

#[tokio::test]
async fn a_paused_queue_takes_runs_and_keeps_them_for_later() {
    let server = RedisServer::start().await;
    let (queue, client) = (queue(&server).await, server.client().await);
    let mut redis = server.connection().await;
    queue.configure(&with(&[yearly("a", 5)])).await.unwrap();
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(testbed::queue(&server).await, handler));
    until(&client, &queue, "registered", |figures| {
        figures.workers == 1
    })
    .await;
    queue.pause().await.unwrap();
    fired(&queue).await;
    pass(&mut redis, YEAR_MS).await;
    // The worker may be the one that enqueues it.
    until(&client, &queue, "enqueued", |figures| {
        figures.backlog() == 1
    })
    .await;
    assert!(seen.try_recv().is_err());
    queue.resume().await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [5]);
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_runs_a_schedule_that_is_added_while_it_runs() {
    let server = RedisServer::start().await;
    let (queue, client) = (queue(&server).await, server.client().await);
    let mut redis = server.connection().await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(testbed::queue(&server).await, handler));
    until(&client, &queue, "registered", |figures| {
        figures.workers == 1
    })
    .await;
    queue.configure(&with(&[yearly("a", 9)])).await.unwrap();
    eventually(SOON, "the schedule is noted", async || {
        let notes: HashMap<String, String> = redis.clone().hgetall(NOTES).await.unwrap();
        (notes.len() == 1).then_some(())
    })
    .await;
    pass(&mut redis, YEAR_MS).await;
    assert_eq!(next(&mut seen, 1).await, [9]);
    worker.stop().await;
}

#[tokio::test]
async fn a_policy_with_a_schedule_that_cannot_run_is_refused() {
    let server = RedisServer::start().await;
    let queue = queue(&server).await;
    let mut wrong = vec![yearly("a", 1); 3];
    wrong[0].cron = "* * * *".to_owned();
    wrong[1].time_zone = "Paris".to_owned();
    wrong[2].payload = Payload::of(&"x".repeat(300 * 1024)).unwrap();
    let fields = ["schedules.cron", "schedules.timeZone", "schedules.payload"];
    for (schedule, field) in wrong.into_iter().zip(fields) {
        let refusal = queue.configure(&with(&[schedule])).await.unwrap_err();
        assert!(refusal.to_string().starts_with(field), "{refusal}");
    }
}

#[tokio::test]
async fn a_schedule_that_is_run_by_hand_keeps_its_plan() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let suspended = Schedule {
        priority: Some("high".to_owned()),
        suspend: true,
        ..yearly("suspended", 2)
    };
    let policy = with(&[yearly("yearly", 1), suspended]);
    queue.configure(&policy).await.unwrap();
    assert_eq!(fired(&queue).await, 0);
    let before = queue.schedules().await.unwrap();
    let years: Vec<_> = before[0].upcoming.windows(2).collect();
    assert_eq!(years.len(), 4);
    assert!(years.iter().all(|two| two[0] < two[1]), "{before:?}");
    assert_eq!(before[0].next, before[0].upcoming.first().copied());
    assert_eq!((before[1].next, before[1].upcoming.len()), (None, 0));

    for (name, level) in [("yearly", "normal"), ("suspended", "high")] {
        let id = queue.run_schedule(name).await.unwrap();
        let task = queue.get(&id).await.unwrap().unwrap();
        assert_eq!(
            (task.kind.as_str(), task.priority.as_deref()),
            ("count", Some(level))
        );
    }
    assert_eq!(queue.schedules().await.unwrap(), before);
    assert_eq!(fired(&queue).await, 0);
    assert_eq!(snapshot(&queue, &client).await.counters.enqueued, 2);
    let unknown = queue.run_schedule("daily").await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "schedule \"daily\" is not allowed: one of yearly, suspended"
    );
}

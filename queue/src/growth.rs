//! Versions side by side: what a later one writes is read, kept and handed on by this one, or refused
//! before anything is taken.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::pack::More;
use crate::record::{Noted, Record, Site};
use crate::testing::{RedisServer, eventually};
use crate::worker::{LeasedTask, Outcome, Worker};
use crate::{Error, NewTask, Payload, Policy, Queue, QueueName, Selection, State, TaskId};

const SOON: Duration = Duration::from_mins(1);

async fn queue(redis: &RedisServer) -> Queue {
    let name = QueueName::new("test", "growth").unwrap();
    redis.client().await.queue(name)
}

async fn stored(redis: &RedisServer, id: &TaskId) -> Record {
    let mut command = redis::cmd("HGET");
    command.arg("tq:{test/growth}:tasks").arg(id.as_str());
    let mut raw = redis.connection().await;
    let record: Vec<u8> = command.query_async(&mut raw).await.unwrap();
    Record::unpack(&record).unwrap()
}

/// Writes what a later version has beyond ours into a task's record.
async fn grow(redis: &RedisServer, id: &TaskId) {
    let mut record = stored(redis, id).await;
    record.more = More::of(&[7, 70_000]);
    let extras = record.extras.get_or_insert_default();
    // A number for which Lua's have no room.
    extras.last_span = u64::MAX;
    extras.more = More::of(&[8]);
    extras.more_overrides = More::of(&[10, 11]);
    for noted in &mut record.errors {
        noted.more = More::of(&[9]);
    }
    let mut command = redis::cmd("HSET");
    command.arg("tq:{test/growth}:tasks").arg(id.as_str());
    command.arg(record.pack());
    let mut raw = redis.connection().await;
    command.exec_async(&mut raw).await.unwrap();
}

fn is_grown(record: &Record) -> bool {
    let extras = record.extras.as_ref().unwrap();
    record.more == More::of(&[7, 70_000])
        && extras.last_span == u64::MAX
        && extras.more == More::of(&[8])
        && extras.more_overrides == More::of(&[10, 11])
}

/// Runs a worker until the task is in a state.
async fn work(queue: &Queue, id: &TaskId, fails: bool, until: State) {
    let runs = AtomicU32::new(0);
    let handler = move |_: LeasedTask| {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        async move {
            match (fails, run) {
                (true, 0) => Outcome::Retry {
                    error: "not yet".into(),
                    after: Some(Duration::ZERO),
                },
                (true, _) => Outcome::Dead { error: "no".into() },
                (false, _) => Outcome::Completed(None),
            }
        }
    };
    let stop = CancellationToken::new();
    let worker = Worker::new(queue.clone(), handler);
    let running = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    eventually(SOON, "the task is there", async || {
        let task = queue.get(id).await.unwrap()?;
        (task.state == until).then_some(())
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_record_of_a_later_version_is_worked_off_and_what_is_unknown_in_it_stays() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let task = NewTask::new("t", Payload::of(&1).unwrap()).delay(SOON);
    let id = queue.enqueue(task).await.unwrap().id();
    grow(&redis, &id).await;
    // Due at once.
    let () = redis
        .command(&format!("ZADD tq:{{test/growth}}:due 1 {}", id.as_str()))
        .await;
    work(&queue, &id, true, State::Dead).await;
    let dead = stored(&redis, &id).await;
    assert_eq!((dead.attempts, dead.errors.len()), (2, 2));
    assert!(is_grown(&dead), "{dead:?}");

    grow(&redis, &id).await;
    let redriven = queue.redrive(Selection::All).await.unwrap();
    assert_eq!(redriven.moved, 1);
    let again = stored(&redis, &id).await;
    assert!(is_grown(&again), "{again:?}");
    let kept = again
        .errors
        .iter()
        .all(|noted| noted.more == More::of(&[9]));
    assert!(kept, "{again:?}");
    work(&queue, &id, false, State::Completed).await;
    let done = queue.get(&id).await.unwrap().unwrap();
    assert_eq!((done.losses, done.errors.len()), (0, 2));
}

#[tokio::test]
async fn while_a_worker_is_there_that_says_no_layout_failures_are_written_as_it_reads_them() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let old = queue.client().next_worker_id();
    // Of before records could grow: it takes one with a longer failure for none.
    let info = r#"{"pod":"old","node":"","concurrency":1}"#;
    queue.register(old, SOON, info).await.unwrap();
    let enqueue = async || {
        let task = NewTask::new("t", Payload::of(&1).unwrap());
        queue.enqueue(task).await.unwrap().id()
    };
    let short = enqueue().await;
    work(&queue, &short, true, State::Dead).await;
    let record = stored(&redis, &short).await;
    let bare = |noted: &Noted| noted.site == Site::default() && noted.more.count() == 0;
    assert!(
        record.errors.len() == 2 && record.errors.iter().all(bare),
        "{record:?}"
    );
    let shown = queue.get(&short).await.unwrap().unwrap().history;
    assert!(
        shown.iter().all(|attempt| attempt.worker.is_none()),
        "{shown:?}"
    );

    assert!(queue.leave(old).await.unwrap());
    let long = enqueue().await;
    work(&queue, &long, true, State::Dead).await;
    let record = stored(&redis, &long).await;
    assert!(!record.errors.iter().any(bare), "{record:?}");
    let shown = queue.get(&long).await.unwrap().unwrap().history;
    assert!(
        shown.iter().all(|attempt| attempt.worker.is_some()),
        "{shown:?}"
    );
}

#[tokio::test]
async fn a_queue_of_a_later_layout_is_refused_before_anything_is_taken_and_says_so() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&Policy::default()).await.unwrap();
    let task = || NewTask::new("t", Payload::of(&1).unwrap());
    let id = queue.enqueue(task()).await.unwrap().id();
    // As a later version does it; this one has read the policy before.
    let () = redis
        .command("HSET tq:{test/growth}:config layout 2 version 2")
        .await;
    let refused = queue.enqueue(task()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "queue test/growth is written in layout 2, and this program knows layouts up to 1: use a newer release of it"
    );
    assert!(refused.is_final(), "{refused}");
    let handler = |_: LeasedTask| async { Outcome::Completed(None) };
    let fresh = self::queue(&redis).await;
    for queue in [queue.clone(), fresh] {
        let stop = CancellationToken::new();
        let worker = Worker::new(queue, handler);
        let running = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
        let ended = tokio::time::timeout(Duration::from_secs(1), running).await;
        stop.cancel();
        if let Ok(ended) = ended {
            let error = ended.unwrap().unwrap_err();
            assert!(matches!(error, Error::Layout { .. }), "{error}");
        }
    }
    let waiting: u64 = redis.command("LLEN tq:{test/growth}:wait:normal").await;
    let held: u64 = redis.command("HLEN tq:{test/growth}:active").await;
    assert_eq!((waiting, held), (1, 0), "{id}");
}

#[tokio::test]
async fn a_field_of_the_policy_that_only_a_later_version_knows_stays_when_this_one_writes_it() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&Policy::default()).await.unwrap();
    let mut later = queue.policy().await.unwrap().value;
    later
        .unknown
        .insert("later".into(), serde_json::json!({"a": [1, null]}));
    {
        let mut command = redis::cmd("HSET");
        command.arg("tq:{test/growth}:config").arg("policy");
        command.arg(serde_json::to_string(&later).unwrap());
        let mut raw = redis.connection().await;
        command.exec_async(&mut raw).await.unwrap();
    }
    queue.pause().await.unwrap();
    let edited = Policy {
        max_losses: 9,
        ..Policy::default()
    };
    queue.configure(&edited).await.unwrap();
    let policy = queue.policy().await.unwrap().value;
    assert_eq!((policy.paused, policy.max_losses), (false, 9));
    assert_eq!(policy.unknown, later.unknown);
}

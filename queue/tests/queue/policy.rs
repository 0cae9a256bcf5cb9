//! The policy in Redis: live for everyone, versioned, and never a list that nobody reads.

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::Worker;
use taskqueue_queue::{Configured, Error, Policy, Queue};

use crate::testbed::pulse::Pulse;
use crate::testbed::{self, Running, SOON, next, queue, recording, snapshot, task, until};

fn with_levels(levels: &[&str]) -> Policy {
    Policy {
        levels: levels.iter().map(ToString::to_string).collect(),
        ..Policy::default()
    }
}

#[tokio::test]
async fn a_policy_in_force_is_not_written_again() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    assert_eq!(queue.policy().await.unwrap().version, 0);
    let policy = with_levels(&["fast", "slow"]);
    assert_eq!(
        queue.configure(&policy).await.unwrap(),
        Configured::Changed { version: 1 }
    );
    assert_eq!(
        queue.configure(&policy).await.unwrap(),
        Configured::Unchanged
    );
    let stored = queue.policy().await.unwrap();
    assert_eq!((stored.version, stored.value), (1, policy));
}

#[tokio::test]
async fn an_edit_holds_for_producers_and_workers_that_run_already() {
    let redis = RedisServer::start().await;
    let admin = queue(&redis).await;
    let producer: Queue = queue(&redis).await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue(&redis).await, handler));
    producer.enqueue(task(1)).await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [1]);

    admin
        .configure(&with_levels(&["urgent", "calm"]))
        .await
        .unwrap();
    producer.enqueue(task(2).priority("urgent")).await.unwrap();
    let refusal = producer
        .enqueue(task(3).priority("normal"))
        .await
        .unwrap_err();
    assert!(matches!(refusal, Error::UnknownLevel { .. }), "{refusal}");
    assert_eq!(
        refusal.to_string(),
        r#"priority "normal" is not a level of queue test/jobs; it has: urgent, calm"#
    );
    assert_eq!(next(&mut seen, 1).await, [2]);

    let mut small = with_levels(&["urgent"]);
    small.max_payload_bytes = 1;
    admin.configure(&small).await.unwrap();
    let refusal = producer.enqueue(task(10)).await.unwrap_err();
    assert_eq!(refusal.to_string(), "payload has 2 bytes, the limit is 1");
    worker.stop().await;
}

#[tokio::test]
async fn a_level_that_is_taken_away_is_drained_last_and_then_forgotten() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.enqueue(task(1).priority("high")).await.unwrap();
    queue.enqueue(task(2).priority("normal")).await.unwrap();
    let policy = with_levels(&["normal", "low"]);
    queue.configure(&policy).await.unwrap();
    assert_eq!(queue.policy().await.unwrap().value.retired, ["high"]);
    let waiting = snapshot(&queue, &client).await.waiting;
    assert_eq!(
        waiting,
        [("normal".into(), 1), ("low".into(), 0), ("high".into(), 1)]
    );

    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    assert_eq!(next(&mut seen, 2).await, [2, 1]);
    worker.stop().await;
    assert_eq!(
        queue.configure(&policy).await.unwrap(),
        Configured::Changed { version: 2 }
    );
    assert!(queue.policy().await.unwrap().value.retired.is_empty());
    assert_eq!(
        queue.configure(&policy).await.unwrap(),
        Configured::Unchanged
    );
}

#[tokio::test]
async fn a_scheduled_task_of_a_level_that_is_gone_still_runs() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue
        .enqueue(
            task(1)
                .priority("high")
                .delay(std::time::Duration::from_millis(100)),
        )
        .await
        .unwrap();
    queue.configure(&with_levels(&["only"])).await.unwrap();
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue, handler));
    assert_eq!(next(&mut seen, 1).await, [1]);
    worker.stop().await;
}

#[tokio::test]
async fn a_paused_queue_takes_tasks_runs_none_and_goes_on_at_once_when_resumed() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(testbed::queue(&redis).await, handler));
    until(&client, &queue, "registered", |s| s.workers == 1).await;
    let paused = Policy {
        paused: true,
        ..Policy::default()
    };
    queue.configure(&paused).await.unwrap();
    queue.enqueue(task(1)).await.unwrap();
    // Whatever the worker may do on its own when its two seconds of sleep are over, it does not fetch.
    let sleeps = async || -> u64 {
        let info: redis::InfoDict = redis.command("INFO commandstats").await;
        let line: String = info.get("cmdstat_blpop").unwrap_or_default();
        let calls = line.split(['=', ',']).nth(1);
        calls.map_or(0, |calls| calls.parse().unwrap())
    };
    let before = sleeps().await;
    eventually(SOON, "it wakes and sleeps again", async || {
        (sleeps().await > before + 1).then_some(())
    })
    .await;
    assert!(seen.try_recv().is_err(), "a paused queue ran a task");
    assert_eq!(snapshot(&queue, &client).await.backlog(), 1);
    let pulse = Pulse::beside(&redis).await;
    let resumed = pulse.watch();
    queue.configure(&Policy::default()).await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [1]);
    resumed.quick(std::time::Duration::from_secs(1));
    worker.stop().await;
}

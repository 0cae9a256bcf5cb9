//! Processes killed with SIGKILL under load: workers, a producer, and Redis itself. Nothing is
//! lost beyond what the README says, and nothing happens twice without a reason that is counted.
//!
//! `CRASH_SECONDS` in the environment makes the workers' test longer, with as many more tasks.

mod actor;
mod ledger;
mod producer;
mod redis_killed;
mod rig;
mod workers;

use std::collections::BTreeSet;
use std::time::Duration;

use taskqueue_queue::{Enqueued, Error, EventLog, NewTask, Policy, Queue, QueueName, TaskId};

fn name() -> QueueName {
    QueueName::new("crash", "jobs").unwrap()
}

/// A policy with a log of ends that holds all there are.
fn logging() -> Policy {
    Policy {
        events: Some(EventLog {
            max_entries: 100_000_000,
            max_bytes: 1024 * 1024 * 1024,
            ..EventLog::default()
        }),
        ..Policy::default()
    }
}

/// Fails unless the log of ends has the end of each completed task, once, and nothing else.
async fn each_end_is_logged_once(queue: &Queue, completed: u64) {
    let mut reader = queue.ends("test", "only").unwrap();
    let (mut ids, mut last) = (BTreeSet::new(), 0);
    loop {
        let batch = reader.next(Duration::ZERO).await.unwrap();
        if batch.is_empty() {
            break;
        }
        reader.acknowledge(&batch).await.unwrap();
        for end in batch.ends {
            assert_eq!(end.number, last + 1);
            last = end.number;
            assert!(ids.insert(end.task.id), "{} ended twice", end.task.id);
        }
    }
    assert_eq!(last, completed, "ends in the log");
}

/// The one place that takes an id out of what an enqueue returns.
async fn put(queue: &Queue, task: NewTask) -> Result<TaskId, Error> {
    Ok(queue.enqueue(task).await?.id())
}

/// As [`put`], for many.
async fn put_many(queue: &Queue, tasks: Vec<NewTask>) -> Result<Vec<TaskId>, Error> {
    let enqueued = queue.enqueue_all(tasks).await?;
    Ok(enqueued.iter().map(Enqueued::id).collect())
}

/// A batch whole or not at all.
async fn put_whole(queue: &Queue, tasks: Vec<NewTask>) -> Result<(), Error> {
    queue.enqueue_many(tasks).await.map(drop)
}

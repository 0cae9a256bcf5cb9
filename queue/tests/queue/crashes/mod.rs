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

use taskqueue_queue::{Enqueued, Error, NewTask, Queue, QueueName, TaskId};

fn name() -> QueueName {
    QueueName::new("crash", "jobs").unwrap()
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

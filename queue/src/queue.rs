//! stub

use crate::*;

/// One queue. Cheap to clone; clones share the cached policy.
#[derive(Debug, Clone)]
pub struct Queue {}

impl Queue {
    /// Its name.
    pub fn name(&self) -> &QueueName { todo!() }
    /// The policy in force, read from Redis.
    pub async fn policy(&self) -> Result<Versioned<Policy>, Error> { todo!() }
    /// Puts a policy in force for producers and workers alike; no write when it is in force already.
    pub async fn configure(&self, policy: &Policy) -> Result<Configured, Error> { todo!() }
    /// Enqueues one task and returns its id.
    pub async fn enqueue(&self, task: NewTask) -> Result<TaskId, Error> { todo!() }
    /// Enqueues many; ids in the order given.
    pub async fn enqueue_many(&self, tasks: Vec<NewTask>) -> Result<Vec<TaskId>, Error> { todo!() }
    /// A task by its id, in any state.
    pub async fn get(&self, id: &TaskId) -> Result<Option<Task>, Error> { todo!() }
    /// Dead letters, the newest first.
    pub async fn dead(&self, page: Page) -> Result<Vec<Task>, Error> { todo!() }
    /// Dead letters back to waiting.
    pub async fn redrive(&self, selection: Selection) -> Result<u64, Error> { todo!() }
    /// Dead letters gone.
    pub async fn purge(&self, selection: Selection) -> Result<u64, Error> { todo!() }
    /// Makes due tasks runnable, and trims the dead letters to the policy's bounds.
    pub async fn promote(&self) -> Result<u64, Error> { todo!() }
    /// Takes back the tasks of workers whose lease has lapsed.
    pub async fn reclaim(&self) -> Result<Reclaimed, Error> { todo!() }
}

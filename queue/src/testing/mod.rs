//! For tests, here and in the crates that build on this one: a redis-server of its own for each,
//! and waiting for a condition instead of for a time. Only with the feature `testing`; panics are
//! its way to fail a test.
#![allow(clippy::panic, clippy::unwrap_used, clippy::missing_panics_doc)]

mod clock;
mod cluster;
mod fake;
mod sentinels;
mod server;

use std::future::Future;
use std::time::{Duration, Instant};

pub use self::cluster::Cluster;
pub use self::fake::{Answer, FakeServer};
pub use self::sentinels::Sentinels;
pub use self::server::RedisServer;
use crate::{Enqueued, Filter, Queue, Stage, Task, TaskId};

/// The rights that workers, the operator and `tq` need, as the rules of an ACL user.
pub fn rights() -> String {
    let all = crate::rights::of_everything();
    let rules: Vec<_> = all.iter().map(|right| format!("+{right}")).collect();
    rules.join(" ")
}

/// The rules of an ACL user, with the password `secret`, who has the queues of this namespace and no other: as
/// the README names them.
pub fn tenant(namespace: &str) -> String {
    format!("reset on >secret ~tq:{{{namespace}/* &tq:wake {}", rights())
}

/// The ids of a batch.
pub fn ids(enqueued: &[Enqueued]) -> Vec<TaskId> {
    enqueued.iter().map(Enqueued::id).collect()
}

/// All tasks that stand in one of these stages, `limit` a page.
pub async fn listed(queue: &Queue, stages: &[Stage], limit: u32) -> Vec<Task> {
    fitting(queue, &Filter::of(stages.iter().copied()), limit).await
}

/// All tasks that fit, `limit` a page.
pub async fn fitting(queue: &Queue, filter: &Filter, limit: u32) -> Vec<Task> {
    let (mut tasks, mut cursor) = (Vec::new(), None);
    loop {
        let page = queue.list(filter, cursor.as_ref(), limit).await.unwrap();
        assert!(page.tasks.len() <= limit as usize);
        cursor.clone_from(&page.next);
        tasks.extend(page.into_tasks());
        if cursor.is_none() {
            return tasks;
        }
    }
}

/// Waits until `probe` returns something, and returns it. Fails the test, naming `what`, after
/// `timeout`.
pub async fn eventually<T, F>(timeout: Duration, what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! What Redis has acknowledged, and when the acknowledgement was in hand.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use taskqueue_queue::testing::eventually;
use taskqueue_queue::{Queue, State, Task, TaskId};

use super::rig::SOON;

/// One acknowledgement.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) id: TaskId,
    pub(crate) at: Instant,
}

/// All acknowledgements so far.
#[derive(Default)]
pub(crate) struct Ledger {
    enqueued: Mutex<Vec<Entry>>,
    completed: Mutex<Vec<Entry>>,
    /// What is older has been checked.
    checked: Mutex<Option<Instant>>,
    /// Enqueues that ended in an error: nobody knows whether they were done.
    doubtful: AtomicU64,
}

/// Acknowledgements that Redis has forgotten.
#[derive(Default)]
pub(crate) struct Forgotten {
    pub(crate) enqueued: Vec<Entry>,
    pub(crate) completed: Vec<Entry>,
}

impl Ledger {
    pub(crate) fn enqueued(&self, ids: &[TaskId]) {
        note(&self.enqueued, ids);
    }

    pub(crate) fn completed(&self, ids: &[TaskId]) {
        note(&self.completed, ids);
    }

    pub(crate) fn doubt(&self) {
        self.doubtful.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn doubtful(&self) -> u64 {
        self.doubtful.load(Ordering::Relaxed)
    }

    /// How many enqueues and completions were acknowledged.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        let length = |entries: &Mutex<Vec<Entry>>| entries.lock().unwrap().len();
        (length(&self.enqueued), length(&self.completed))
    }

    /// Holds what was acknowledged before `dead`, and was not when this was last asked, against
    /// Redis. What it has forgotten is returned, and is no longer of the ledger.
    pub(crate) async fn check(&self, queue: &Queue, dead: Instant) -> Forgotten {
        let since = self.checked.lock().unwrap().replace(dead);
        let span = |entries: &Mutex<Vec<Entry>>| {
            let entries = entries.lock().unwrap();
            let inside = entries.iter().filter(|e| Some(e.at) > since && e.at < dead);
            inside.copied().collect::<Vec<_>>()
        };
        let is_there = |state: Option<State>| state.is_some();
        let is_completed = |state| state == Some(State::Completed);
        let forgotten = Forgotten {
            enqueued: missing(queue, span(&self.enqueued), is_there).await,
            completed: missing(queue, span(&self.completed), is_completed).await,
        };
        forget(&self.enqueued, &forgotten.enqueued);
        forget(&self.completed, &forgotten.completed);
        forgotten
    }

    /// Enqueues that are not completed, and completions undone, of the whole ledger.
    pub(crate) async fn unfinished(&self, queue: &Queue) -> usize {
        let mut all = self.enqueued.lock().unwrap().clone();
        all.extend_from_slice(&self.completed.lock().unwrap());
        let is_completed = |state| state == Some(State::Completed);
        missing(queue, all, is_completed).await.len()
    }
}

impl Forgotten {
    /// How long before the kill the oldest of them was acknowledged; none is zero.
    pub(crate) fn oldest(&self, killed: Instant) -> Duration {
        let all = self.enqueued.iter().chain(&self.completed);
        let ages = all.map(|entry| killed.saturating_duration_since(entry.at));
        ages.max().unwrap_or_default()
    }
}

fn note(entries: &Mutex<Vec<Entry>>, ids: &[TaskId]) {
    let at = Instant::now();
    let ids = ids.iter().map(|&id| Entry { id, at });
    entries.lock().unwrap().extend(ids);
}

fn forget(entries: &Mutex<Vec<Entry>>, forgotten: &[Entry]) {
    let is_forgotten = |entry: &Entry| forgotten.iter().any(|gone| gone.id == entry.id);
    entries.lock().unwrap().retain(|entry| !is_forgotten(entry));
}

/// Redis may still be reading its file.
async fn read(queue: &Queue, id: &TaskId) -> Option<Task> {
    eventually(SOON, "an answer", async || match queue.get(id).await {
        Ok(task) => Some(task),
        Err(error) if error.is_transient() => None,
        Err(error) => panic!("{error}"),
    })
    .await
}

/// The entries whose tasks are not as they should be.
async fn missing(
    queue: &Queue,
    entries: Vec<Entry>,
    is_right: impl Fn(Option<State>) -> bool,
) -> Vec<Entry> {
    let is_right = &is_right;
    let checks = entries.into_iter().map(async |entry| {
        let task = read(queue, &entry.id).await;
        (!is_right(task.map(|task| task.state))).then_some(entry)
    });
    let checks = futures::stream::iter(checks).buffer_unordered(100);
    checks.filter_map(std::future::ready).collect().await
}

//! The lease under which a worker's attempts run: what all of them share with its heartbeat.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::lease::{MOST_LOG_LINES, Note};
use crate::shared::lock;
use crate::{TaskId, WorkerId};

/// Bytes kept of a log line.
const MOST_LINE_BYTES: usize = 1_024;

/// One lease. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Lease(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    worker: WorkerId,
    lost: CancellationToken,
    /// The worker is to get no more tasks.
    draining: watch::Sender<bool>,
    cancelled: Mutex<HashSet<TaskId>>,
    /// Wakes attempts when the set above has grown.
    told: Notify,
    /// Of attempts whose time is not just what they were given.
    times: Mutex<HashMap<TaskId, Time>>,
    /// The spans of attempts.
    spans: Mutex<HashMap<TaskId, String>>,
    /// The attempts that have run for a while, as Redis is to know them and as it does: see `runs`.
    runs: Mutex<Runs>,
    notes: Mutex<HashMap<TaskId, Note>>,
    /// Wakes whoever delivers notes when there is one.
    noted: Notify,
}

#[derive(Debug, Default)]
struct Runs {
    wanted: String,
    known: String,
}

/// How long an attempt may go on.
#[derive(Debug, Clone, Copy, Default)]
struct Time {
    /// Until when, if it asked for more.
    extended: Option<Instant>,
    /// Its handler ends it when its time is over.
    kept_by_handler: bool,
}

impl Lease {
    pub(super) fn new(worker: WorkerId) -> Self {
        Self(Arc::new(Inner {
            worker,
            lost: CancellationToken::new(),
            draining: watch::Sender::new(false),
            cancelled: Mutex::default(),
            told: Notify::new(),
            times: Mutex::default(),
            spans: Mutex::default(),
            runs: Mutex::default(),
            notes: Mutex::default(),
            noted: Notify::new(),
        }))
    }

    pub(super) fn worker(&self) -> WorkerId {
        self.0.worker
    }

    /// Cancelled when the lease is lost.
    pub(super) fn lost(&self) -> &CancellationToken {
        &self.0.lost
    }

    /// Resolves when the lease is lost.
    pub(super) async fn is_lost(&self) {
        self.0.lost.cancelled().await;
    }

    /// Whether the worker is to get no more tasks, as it was told last.
    pub(super) fn is_draining(&self) -> bool {
        *self.0.draining.borrow()
    }

    /// It was told so.
    pub(super) fn set_draining(&self, draining: bool) {
        self.0.draining.send_if_modified(|known| {
            let before = std::mem::replace(known, draining);
            before != draining
        });
    }

    /// Resolves when this is what it was told last.
    pub(super) async fn draining_is(&self, draining: bool) {
        let mut told = self.0.draining.subscribe();
        // Fails only when the sender is gone, which is beside it.
        let _ = told.wait_for(|known| *known == draining).await;
    }

    /// These are to be cancelled.
    pub(super) fn cancel(&self, tasks: Vec<TaskId>) {
        if tasks.is_empty() {
            return;
        }
        lock(&self.0.cancelled).extend(tasks);
        self.0.told.notify_waiters();
    }

    /// Whether the task is to be cancelled.
    pub(super) fn is_cancelled(&self, task: TaskId) -> bool {
        lock(&self.0.cancelled).contains(&task)
    }

    /// Resolves when the task is to be cancelled.
    pub(super) async fn cancelled(&self, task: TaskId) {
        loop {
            let told = self.0.told.notified();
            if self.is_cancelled(task) {
                return;
            }
            told.await;
        }
    }

    /// The attempt at the task is over: what was said of it is forgotten.
    pub(super) fn forget(&self, task: TaskId) {
        lock(&self.0.cancelled).remove(&task);
        lock(&self.0.times).remove(&task);
    }

    /// The attempt may go on for this long from now.
    pub(super) fn extend(&self, task: TaskId, from_now: Duration) {
        let until = Instant::now() + from_now;
        lock(&self.0.times).entry(task).or_default().extended = Some(until);
    }

    /// The attempt's handler knows when its time begins, and ends it when it is over.
    pub(super) fn leave_time_to_handler(&self, task: TaskId) {
        lock(&self.0.times).entry(task).or_default().kept_by_handler = true;
    }

    /// Whether the attempt's handler ends it when its time is over.
    pub(super) fn handler_keeps_time(&self, task: TaskId) -> bool {
        let times = lock(&self.0.times);
        times.get(&task).is_some_and(|time| time.kept_by_handler)
    }

    /// The attempt runs in this span.
    pub(super) fn traced(&self, task: TaskId, header: String) {
        lock(&self.0.spans).insert(task, header);
    }

    /// The span that the attempt ran in.
    pub(super) fn take_span(&self, task: TaskId) -> Option<String> {
        lock(&self.0.spans).remove(&task)
    }

    /// Until when the attempt may go on, if it asked for more time.
    pub(super) fn extension_of(&self, task: TaskId) -> Option<Instant> {
        lock(&self.0.times).get(&task)?.extended
    }

    /// These attempts have run for a while.
    pub(super) fn set_runs(&self, runs: String) {
        lock(&self.0.runs).wanted = runs;
    }

    /// What Redis is to be told of them, if that is not what it knows.
    pub(super) fn untold_runs(&self) -> Option<String> {
        let runs = lock(&self.0.runs);
        (runs.wanted != runs.known).then(|| runs.wanted.clone())
    }

    /// Redis knows this of them.
    pub(super) fn runs_are_told(&self, told: String) {
        lock(&self.0.runs).known = told;
    }

    pub(super) fn progress(&self, task: TaskId, progress: Vec<u8>) {
        lock(&self.0.notes).entry(task).or_default().progress = Some(progress);
        self.0.noted.notify_one();
    }

    /// Lines beyond the most that are kept push out the oldest that were not delivered yet.
    pub(super) fn log(&self, task: TaskId, line: &str) {
        let line = line[..line.floor_char_boundary(MOST_LINE_BYTES)].to_owned();
        let mut notes = lock(&self.0.notes);
        let lines = &mut notes.entry(task).or_default().lines;
        if lines.len() >= MOST_LOG_LINES {
            lines.remove(0);
        }
        lines.push(line);
        drop(notes);
        self.0.noted.notify_one();
    }

    /// Resolves when there are notes to deliver.
    pub(super) async fn noted(&self) {
        self.0.noted.notified().await;
    }

    /// All notes that were not delivered yet.
    pub(super) fn take_notes(&self) -> Vec<(TaskId, Note)> {
        lock(&self.0.notes).drain().collect()
    }

    /// Those of one task.
    pub(super) fn take_notes_of(&self, task: TaskId) -> Option<Note> {
        lock(&self.0.notes).remove(&task)
    }
}

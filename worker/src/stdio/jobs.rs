//! The tasks that a child has: those it works on, those it was told to drop, and those that wait until it has dropped them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use taskqueue_queue::TaskId;
use taskqueue_queue::worker::{LeasedTask, Outcome};
use tokio::sync::oneshot;

use crate::pending;

/// How long a child may go on with a task that it was told to drop.
const OBEY: Duration = Duration::from_secs(5);

/// A task, and who waits for its outcome.
pub(super) struct Job {
    pub(super) task: LeasedTask,
    pub(super) outcome: oneshot::Sender<Outcome>,
}

impl Job {
    /// The task has ended. Nobody waits for that any more if its attempt has just been cut off.
    pub(super) fn end(self, outcome: Outcome) {
        let _ = self.outcome.send(outcome);
    }
}

/// The tasks of a child.
#[derive(Default)]
pub(super) struct Jobs {
    given: HashMap<TaskId, Given>,
    /// Until when the child may take to drop what it was told to.
    dropped: HashMap<TaskId, Instant>,
    /// Tasks that came back before it has dropped them: its answer would be taken for that of the attempt before.
    held: Vec<Job>,
    /// How often it is to be looked which tasks the child has read.
    pace: Duration,
}

/// A task that is on its way to the child, or there.
struct Given {
    job: Job,
    /// The child has it once it has read so many bytes.
    at: u64,
    /// When it was given.
    since: Instant,
}

impl Jobs {
    /// The child is given a task, which it has once it has read so many bytes.
    pub(super) fn give(&mut self, job: Job, at: u64, now: Instant) {
        self.keep_pace(&job);
        let since = now;
        self.given.insert(job.task.id, Given { job, at, since });
    }

    /// A task comes that the child has not dropped yet.
    pub(super) fn hold(&mut self, job: Job) {
        self.keep_pace(&job);
        self.held.push(job);
    }

    fn keep_pace(&mut self, job: &Job) {
        let pace = pending::pace(job.task.timeout);
        self.pace = if self.any() {
            self.pace.min(pace)
        } else {
            pace
        };
    }

    /// The task, if the child is to work on it.
    pub(super) fn get(&self, id: TaskId) -> Option<&LeasedTask> {
        self.given.get(&id).map(|given| &given.job.task)
    }

    /// Whether the child was told to drop this task, and has not said yet that it has.
    pub(super) fn is_dropped(&self, id: TaskId) -> bool {
        self.dropped.contains_key(&id)
    }

    /// Whether the child has nothing to work on but what it was told to drop.
    pub(super) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Whether the child, having read so many bytes, has tasks, and all of them unread.
    pub(super) fn all_unread(&self, read: u64) -> bool {
        !self.given.is_empty() && self.given.values().all(|given| given.at > read)
    }

    /// Whether there are tasks for the child, with it or on their way.
    pub(super) fn any(&self) -> bool {
        !self.given.is_empty() || !self.held.is_empty()
    }

    /// How often it is to be looked which tasks the child has read.
    pub(super) fn pace(&self) -> Duration {
        self.pace
    }

    /// Puts the end of the tasks off that wait, or that the child, having read so many bytes, has left unread for a while.
    pub(super) fn put_off(&self, read: u64, now: Instant) {
        for job in &self.held {
            pending::put_off(&job.task);
        }
        for Given { job, at, since } in self.given.values() {
            let waited = now.saturating_duration_since(*since);
            if *at > read && waited >= pending::pace(job.task.timeout) {
                pending::put_off(&job.task);
            }
        }
    }

    /// When the first task that was told to be dropped must be.
    pub(super) fn overdue(&self) -> Option<Instant> {
        self.dropped.values().min().copied()
    }

    /// Nobody waits for a task any more.
    pub(super) fn forget(&mut self, id: TaskId) {
        self.held.retain(|job| job.task.id != id);
        self.given.remove(&id);
    }

    /// Takes a task from the child, which is told to drop it and may take a while to do so.
    pub(super) fn drop_task(&mut self, id: TaskId, now: Instant) -> Option<Job> {
        self.held.retain(|job| job.task.id != id);
        let given = self.given.remove(&id)?;
        self.dropped.insert(id, now + OBEY);
        Some(given.job)
    }

    /// The child is through with a task. Returns the one that may be given to it now.
    pub(super) fn end(&mut self, id: TaskId, outcome: Outcome) -> Option<Job> {
        if let Some(given) = self.given.remove(&id) {
            given.job.end(outcome);
            return None;
        }
        self.dropped.remove(&id)?;
        let place = self.held.iter().position(|job| job.task.id == id)?;
        Some(self.held.swap_remove(place))
    }

    /// Hands back what the child has not got: what waits, and what it has not read of so many bytes.
    pub(super) fn hand_back(&mut self, read: u64) {
        for job in self.held.drain(..) {
            job.end(Outcome::Released);
        }
        for (_, given) in self.given.extract_if(|_, given| given.at > read) {
            given.job.end(Outcome::Released);
        }
    }

    /// The child is gone, having read so many bytes, and with it what it worked on.
    pub(super) fn lose(&mut self, read: u64, why: &str) {
        self.hand_back(read);
        for (_, given) in self.given.drain() {
            let error = format!("the handler's process went away: {why}");
            given.job.end(Outcome::Lost { error });
        }
    }
}

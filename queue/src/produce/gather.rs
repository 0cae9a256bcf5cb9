//! Single enqueues that are made at the same time share a round trip: while one is under way, those
//! that come gather, and go together with the next. Nobody waits for company.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::oneshot;

use super::{Put, Taken, enqueued};
use crate::batch::next_slice;
use crate::queue::Queue;
use crate::shared::lock;
use crate::{Enqueued, Error, NewTask, TaskId};

type Answer = Result<Enqueued, Error>;
/// Tasks that go together, and who waits for the answer to each.
type Group = (Vec<(TaskId, NewTask)>, Vec<oneshot::Sender<Answer>>);

/// Tasks that wait for the next round trip.
#[derive(Default)]
pub(crate) struct Gather(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    tasks: Vec<(TaskId, NewTask)>,
    answers: Vec<oneshot::Sender<Answer>>,
    /// Whether a round trip is under way.
    flying: bool,
}

impl Gather {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.0)
    }

    /// Takes a task to those that wait for the round trip under way. If there is none, it leaves the
    /// task where it is, and from now on there is one.
    fn join(&self, task: &mut Option<(TaskId, NewTask)>) -> Option<oneshot::Receiver<Answer>> {
        let mut waiting = self.lock();
        if !std::mem::replace(&mut waiting.flying, true) {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        waiting.tasks.extend(task.take());
        waiting.answers.push(sender);
        Some(answer)
    }

    /// What goes next; with nothing left, nobody is under way any more.
    fn next(&self) -> Option<Group> {
        let mut waiting = self.lock();
        if waiting.tasks.is_empty() {
            waiting.flying = false;
            return None;
        }
        let sizes = waiting
            .tasks
            .iter()
            .map(|(_, task)| task.payload.as_bytes().len());
        let count = next_slice(sizes);
        let rest = (
            waiting.tasks.split_off(count),
            waiting.answers.split_off(count),
        );
        let tasks = std::mem::replace(&mut waiting.tasks, rest.0);
        let answers = std::mem::replace(&mut waiting.answers, rest.1);
        Some((tasks, answers))
    }
}

/// Held by whoever makes a round trip for itself alone: at its end, also when it is dropped in the
/// middle, those that gathered meanwhile go.
struct Alone<'a>(&'a Queue);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.gather().lock();
        if waiting.tasks.is_empty() {
            waiting.flying = false;
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(fly(self.0.clone()));
        } else {
            // Without a runtime nobody waits any more either.
            *waiting = Waiting::default();
        }
    }
}

impl Queue {
    /// Enqueues a task: alone if nobody is under way, else together with all that wait.
    pub(super) async fn enqueue_gathered(&self, task: (TaskId, NewTask)) -> Answer {
        let lost = || {
            let why = "the runtime is shutting down".to_owned();
            Err(self.link().faults().script("enqueue", why))
        };
        let mut task = Some(task);
        if let Some(answer) = self.gather().join(&mut task) {
            return answer.await.unwrap_or_else(|_| lost());
        }
        let _alone = Alone(self);
        let mut answers = put_each(self, task.as_slice()).await;
        answers.pop().unwrap_or_else(lost)
    }
}

/// On a task of its own: callers may be dropped, and those that wait must not be stranded with one
/// of them.
async fn fly(queue: Queue) {
    while let Some((tasks, answers)) = queue.gather().next() {
        let results = put_each(&queue, &tasks).await;
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever does not listen any more does not want to know.
            let _ = answer.send(result);
        }
        // Those that were answered often have more; one turn of the runtime, and it goes together.
        tokio::task::yield_now().await;
    }
}

/// Writes tasks that have nothing to do with each other.
async fn put_each(queue: &Queue, tasks: &[(TaskId, NewTask)]) -> Vec<Answer> {
    let all = |error: Error| tasks.iter().map(|_| Err(error.clone())).collect();
    let (standing, left_out, conflicts) = match queue.put(tasks, Taken::Apart).await {
        Ok(Put::Done {
            standing,
            left_out,
            conflicts,
        }) => (standing, left_out, conflicts),
        // A policy that has just changed may refuse one of them, which is none of the others' fault.
        Err(error) if error.is_refusal() && tasks.len() > 1 => {
            return one_by_one(queue, tasks).await;
        }
        Ok(Put::Full(error)) | Err(error) => return all(error),
    };
    let mut results: Vec<Answer> = Vec::with_capacity(tasks.len());
    let mut refusal = None;
    for task in tasks {
        if left_out.contains(&task.0) {
            // There was no room; asked for once more, it says when there will be.
            if refusal.is_none() {
                refusal = match queue.put_whole(std::slice::from_ref(task)).await {
                    Ok(mut done) => {
                        results.extend(done.pop().map(Ok));
                        continue;
                    }
                    // Of this one alone.
                    Err(error @ Error::KeyConflict { .. }) => {
                        results.push(Err(error));
                        continue;
                    }
                    Err(error) => Some(error),
                };
            }
            results.extend(refusal.clone().map(Err));
        } else if let Some(stands) = conflicts.get(&task.0) {
            let key = task.1.idempotency.as_ref().map_or("", |it| it.key.as_str());
            results.push(Err(queue.conflict(key, *stands)));
        } else {
            results.push(Ok(enqueued(task.0, &standing)));
        }
    }
    results
}

async fn one_by_one(queue: &Queue, tasks: &[(TaskId, NewTask)]) -> Vec<Answer> {
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        let done = queue.put_whole(std::slice::from_ref(task)).await;
        let first = |done: Vec<Enqueued>| done.first().copied();
        results.push(done.map(|done| first(done).unwrap_or(Enqueued::New(task.0))));
    }
    results
}

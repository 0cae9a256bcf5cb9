//! Handlers with types: each task type has a function from its payload to its result.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Batch, BatchHandler, Batched, Batching, Handler, LeasedTask, Outcome};
use crate::Payload;

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Route = Box<dyn Fn(LeasedTask) -> Running + Send + Sync>;
type Draining = Box<dyn Fn(bool) + Send + Sync>;

/// A handler that chooses a function by the task's type.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use std::time::Duration;
/// use taskqueue_queue::worker::{LeasedTask, Routes, TaskError};
///
/// #[derive(Deserialize)]
/// struct Resize { file: String, width: u32 }
/// #[derive(Serialize)]
/// struct Resized { bytes: u64 }
///
/// async fn resize(what: Resize, task: LeasedTask) -> Result<Resized, TaskError> {
///     if what.width == 0 {
///         return Err(TaskError::dead("a picture has no width of 0"));
///     }
///     task.log(&format!("resizing {}", what.file));
///     if what.file.ends_with(".part") {
///         return Err(TaskError::snooze(Duration::from_secs(5)));
///     }
///     // Any other error is a failed attempt, which is tried again as the policy says.
///     let side = u16::try_from(what.width)?;
///     Ok(Resized { bytes: u64::from(side) * u64::from(side) })
/// }
///
/// let handler = Routes::new().on("resize", resize);
/// ```
#[derive(Default)]
pub struct Routes {
    routes: BTreeMap<String, Route>,
    /// Those who gather tasks, and are told when the worker drains.
    gathering: Vec<Draining>,
}

impl Routes {
    /// A handler that knows no type yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tasks of this type run through this function. A payload that is no `T` goes to the dead
    /// letters: no retry can help.
    #[must_use]
    pub fn on<T, R, F, Fut>(mut self, kind: impl Into<String>, function: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize,
        F: Fn(T, LeasedTask) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
    {
        let route = move |task: LeasedTask| -> Running {
            let payload = match payload_of::<T>(&task) {
                Ok(payload) => payload,
                Err(dead) => return Box::pin(std::future::ready(dead)),
            };
            let running = function(payload, task);
            Box::pin(async move { outcome_of(running.await) })
        };
        self.routes.insert(kind.into(), Box::new(route));
        self
    }

    /// Tasks of this type run many at a time, in one call of this function: up to `max`, of which the first has waited
    /// for at most `wait` (what [`Batching::new`] says of both holds). It returns a result for each task, in their order;
    /// an error instead is that of each of them. Payloads that are no `T` go to the dead letters, and the function does
    /// not see them.
    ///
    /// A call is cut off when the shortest of its tasks' timeouts is over, or none of its tasks is wanted any more. One
    /// of them that is cancelled has five seconds until it is given up, and the call goes on for the others.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use taskqueue_queue::worker::{LeasedTask, Routes, TaskError};
    ///
    /// async fn insert(rows: Vec<(String, LeasedTask)>) -> Result<Vec<Result<usize, TaskError>>, TaskError> {
    ///     // One statement for all of them: an error by `?` is a failed attempt of each.
    ///     Ok(rows.iter().map(|(row, _)| Ok(row.len())).collect())
    /// }
    ///
    /// let handler = Routes::new().on_batch("insert", 100, Duration::from_millis(50), insert);
    /// ```
    #[must_use]
    pub fn on_batch<T, R, F, Fut>(
        mut self,
        kind: impl Into<String>,
        max: usize,
        wait: Duration,
        function: F,
    ) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        F: Fn(Vec<(T, LeasedTask)>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Result<R, TaskError>>, TaskError>> + Send + 'static,
    {
        let typed = Typed {
            function,
            types: PhantomData::<fn(T) -> R>,
        };
        let batched = Batched::new(typed, Batching::new(max, wait));
        let told = batched.clone();
        self.gathering
            .push(Box::new(move |draining| told.draining(draining)));
        let route = move |task: LeasedTask| -> Running {
            let batched = batched.clone();
            Box::pin(async move { batched.handle(task).await })
        };
        self.routes.insert(kind.into(), Box::new(route));
        self
    }

    /// The same with a function that blocks its thread: it runs on one of its own, and does not hold up
    /// other tasks. One that is cut off, by its timeout or a cancellation, goes on until it returns,
    /// and nobody hears of it.
    #[must_use]
    pub fn on_blocking<T, R, F>(self, kind: impl Into<String>, function: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        F: Fn(T, LeasedTask) -> Result<R, TaskError> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.on(kind, move |payload: T, task| {
            let function = Arc::clone(&function);
            let running = tokio::task::spawn_blocking(move || function(payload, task));
            async move {
                match running.await {
                    Ok(result) => result,
                    // As it would have done in a handler that does not block.
                    Err(fault) => match fault.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(fault) => Err(TaskError::from(fault)),
                    },
                }
            }
        })
    }
}

/// A function from the payloads of a batch to its results.
struct Typed<T, R, F> {
    function: F,
    types: PhantomData<fn(T) -> R>,
}

impl<T, R, F, Fut> BatchHandler for Typed<T, R, F>
where
    T: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    F: Fn(Vec<(T, LeasedTask)>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<Result<R, TaskError>>, TaskError>> + Send + 'static,
{
    async fn handle_batch(&self, batch: &Batch) {
        let (mut members, mut tasks) = (Vec::new(), Vec::new());
        for member in batch.members() {
            match payload_of::<T>(member.task()) {
                Ok(payload) => {
                    members.push(member);
                    tasks.push((payload, member.task().clone()));
                }
                Err(dead) => {
                    member.end(dead);
                }
            }
        }
        if members.is_empty() {
            return;
        }
        match (self.function)(tasks).await {
            Ok(results) if results.len() == members.len() => {
                for (member, result) in members.into_iter().zip(results) {
                    member.end(outcome_of(result));
                }
            }
            Ok(results) => {
                let (given, tasks) = (results.len(), members.len());
                batch.end_rest(|_| Outcome::Retry {
                    error: format!(
                        "the function of the batch returned {given} results for {tasks} tasks, so that none can be told whose it is: return one for each, in their order"
                    ),
                    after: None,
                });
            }
            Err(TaskError(outcome)) => batch.end_rest(|_| outcome.clone()),
        }
    }
}

/// What a task's payload says, or what becomes of a task whose payload is no such thing.
fn payload_of<T: DeserializeOwned>(task: &LeasedTask) -> Result<T, Outcome> {
    serde_json::from_slice(task.payload.as_bytes()).map_err(|fault| Outcome::Dead {
        error: format!("the payload does not fit a {} task: {fault}", task.kind),
    })
}

fn outcome_of<R: Serialize>(result: Result<R, TaskError>) -> Outcome {
    match result {
        Ok(result) => completed(&result),
        Err(error) => error.0,
    }
}

/// The work is done, and doing it again would not make its result fit; so one that cannot be written
/// is left out.
fn completed<R: Serialize>(result: &R) -> Outcome {
    match Payload::of(result) {
        Ok(result) => Outcome::Completed(Some(result)),
        Err(fault) => {
            tracing::warn!(%fault, "result cannot be written, dropped");
            Outcome::Completed(None)
        }
    }
}

impl Handler for Routes {
    /// A type without a function is a failed attempt: a worker of a later version may know it.
    async fn handle(&self, task: LeasedTask) -> Outcome {
        if let Some(route) = self.routes.get(&task.kind) {
            return route(task).await;
        }
        let known: Vec<&str> = self.routes.keys().map(String::as_str).collect();
        let error = format!(
            "no handler for tasks of type {:?}; there are: {}",
            task.kind,
            known.join(", ")
        );
        Outcome::Retry { error, after: None }
    }

    fn draining(&self, draining: bool) {
        for gathering in &self.gathering {
            gathering(draining);
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.routes.keys()).finish()
    }
}

/// Why an attempt did not complete, and what is to become of the task. Made from any error by `?`,
/// which is a failed attempt.
#[derive(Debug)]
pub struct TaskError(Outcome);

impl TaskError {
    /// Failed: tried again as the policy says.
    pub fn retry(error: impl Into<String>) -> Self {
        let error = error.into();
        Self(Outcome::Retry { error, after: None })
    }

    /// Failed: tried again after this wait, unless this was the last attempt.
    pub fn retry_after(error: impl Into<String>, wait: Duration) -> Self {
        Self(Outcome::Retry {
            error: error.into(),
            after: Some(wait),
        })
    }

    /// Failed for good: to the dead letters.
    pub fn dead(error: impl Into<String>) -> Self {
        let error = error.into();
        Self(Outcome::Dead { error })
    }

    /// Not yet: runs again after this wait, which costs no attempt.
    pub fn snooze(wait: Duration) -> Self {
        Self(Outcome::Snoozed { after: wait })
    }
}

/// The message is that of the error and of all that caused it.
impl<E: std::error::Error> From<E> for TaskError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            message = format!("{message}: {inner}");
            cause = inner.source();
        }
        Self::retry(message)
    }
}

//! Handlers with types: each task type has a function from its payload to its result.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Handler, LeasedTask, Outcome};
use crate::Payload;

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Route = Box<dyn Fn(LeasedTask) -> Running + Send + Sync>;

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
            let payload = match serde_json::from_slice::<T>(task.payload.as_bytes()) {
                Ok(payload) => payload,
                Err(fault) => {
                    let error = format!("the payload does not fit a {} task: {fault}", task.kind);
                    return Box::pin(std::future::ready(Outcome::Dead { error }));
                }
            };
            let running = function(payload, task);
            Box::pin(async move {
                match running.await {
                    Ok(result) => completed(&result),
                    Err(error) => error.0,
                }
            })
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

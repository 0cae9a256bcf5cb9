//! `tq cancel`, `tq pause` and `tq resume`.

use taskqueue_queue::{Cancelled, Configured, Queue, TaskId};

use crate::exit::Failure;
use crate::output::Output;

/// Cancels each task that can be; that some cannot is an error, after the others were done.
pub(crate) async fn cancel(
    queue: &Queue,
    ids: &[TaskId],
    output: &mut Output,
) -> Result<(), Failure> {
    let mut missed = 0;
    for id in ids {
        let fate = match queue.cancel(id).await? {
            Cancelled::Removed => "cancelled",
            Cancelled::Requested => "runs, and its worker is told to stop",
            Cancelled::TooLate => {
                missed += 1;
                "has ended already"
            }
            Cancelled::Unknown => {
                missed += 1;
                "is unknown: never enqueued there, or no longer kept"
            }
        };
        output.line(format_args!("{id} {fate}"))?;
    }
    if missed == 0 {
        return Ok(());
    }
    output.flush()?;
    let (count, name) = (ids.len(), queue.name());
    Err(Failure::NotFound(format!(
        "{missed} of {count} could not be cancelled in {name}"
    )))
}

pub(crate) async fn pause(queue: &Queue, output: &mut Output) -> Result<(), Failure> {
    let done = queue.pause().await?;
    tell(queue, done, "paused", "was paused already", output)
}

pub(crate) async fn resume(queue: &Queue, output: &mut Output) -> Result<(), Failure> {
    let done = queue.resume().await?;
    tell(queue, done, "resumed", "was not paused", output)
}

fn tell(
    queue: &Queue,
    done: Configured,
    changed: &str,
    unchanged: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    let what = match done {
        Configured::Changed { .. } => changed,
        Configured::Unchanged => unchanged,
    };
    Ok(output.line(format_args!("{} {what}", queue.name()))?)
}

//! Dead letters that go round again evenly, or in another queue.

use std::time::{Duration, Instant};

use taskqueue_queue::{Error, Queue, Rate, Redriven, Selection, TaskId};

use crate::exit::Failure;
use crate::progress::{Progress, tasks};

/// How often some go, where there is a rate.
const TICK: Duration = Duration::from_millis(100);
/// Letters of one call.
const SLICE: usize = 200;

/// Sends dead letters round, in `target` if that is another queue, and at no more than `rate`. An interrupt or
/// an error ends it, and says how many went.
pub(crate) async fn redrive(
    queue: &Queue,
    target: Option<&Queue>,
    selection: &Selection,
    rate: Option<Rate>,
) -> Result<Redriven, Failure> {
    let ids = queue.letters(selection).await?;
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let (mut done, mut begun, start) = (Redriven::default(), 0, Instant::now());
    let mut progress = Progress::new();
    while begun < ids.len() {
        let allowed = allowed(rate, start.elapsed(), ids.len()).min(begun + SLICE);
        if allowed > begun {
            let step = step(queue, target, &ids[begun..allowed]).await;
            let step = step.map_err(|error| broken_off(error, done.moved))?;
            done.moved += step.moved;
            done.outdone.extend(step.outdone);
            begun = allowed;
            let (moved, all) = (tasks(done.moved), ids.len());
            progress.tell(format_args!("{moved} of {all} retried"));
        }
        if begun == ids.len() {
            break;
        }
        let wait = rate.map_or(Duration::ZERO, |_| TICK);
        tokio::select! {
            biased;
            _ = &mut interrupt => return Err(partial("interrupted", done.moved)),
            () = tokio::time::sleep(wait) => {}
        }
    }
    Ok(done)
}

/// How many of them may have begun when so much time has passed.
fn allowed(rate: Option<Rate>, passed: Duration, all: usize) -> usize {
    let begun = rate.map_or(u64::MAX, |rate| rate.within(passed));
    usize::try_from(begun).unwrap_or(usize::MAX).min(all)
}

async fn step(queue: &Queue, target: Option<&Queue>, ids: &[TaskId]) -> Result<Redriven, Error> {
    match target {
        Some(target) => queue.redrive_into(target, ids).await,
        None => queue.redrive(Selection::Ids(ids.to_vec())).await,
    }
}

fn broken_off(error: Error, moved: u64) -> Failure {
    if moved == 0 {
        return Failure::Queue(error);
    }
    partial(&error.to_string(), moved)
}

fn partial(reason: &str, count: u64) -> Failure {
    Failure::Partial {
        reason: reason.to_owned(),
        count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_may_have_begun_as_the_rate_says_and_no_more_than_there_are() {
        let rate = Some(Rate {
            count: 10,
            per: Duration::from_secs(1),
        });
        let after = |ms| allowed(rate, Duration::from_millis(ms), 25);
        assert_eq!([0, 99, 100, 1_050, 60_000].map(after), [0, 0, 1, 10, 25]);
        assert_eq!(allowed(None, Duration::ZERO, 25), 25);
    }
}

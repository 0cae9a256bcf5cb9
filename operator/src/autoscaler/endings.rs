//! Pods that ended: the tasks of their workers are runnable again at once, long before the leases
//! lapse, and each attempt is told why it ended.

use jiff::Timestamp;
use taskqueue_queue::{Cause, Error, Queue, Reclaimed, WorkerId, WorkerState};

use crate::fleet::Ending;

/// What was taken back of one pod's ending.
pub(super) struct Released {
    pub(super) cause: Cause,
    /// What Kubernetes says of the pods.
    pub(super) detail: String,
    pub(super) reclaimed: Reclaimed,
}

/// Takes back what the workers of these pods held.
pub(super) async fn release(queue: &Queue, endings: &[Ending]) -> Result<Vec<Released>, Error> {
    let workers = queue.workers().await?;
    let mut released = Vec::new();
    for (ending, gone) in gone(&workers, endings) {
        let detail = format!("pod {}: {}", ending.pod, ending.detail);
        let reclaimed = queue.release(&gone, ending.cause, &detail).await?;
        released.push(Released {
            cause: ending.cause,
            detail,
            reclaimed,
        });
    }
    Ok(released)
}

/// The workers that each ending ended, a worker once.
fn gone<'a>(workers: &[WorkerState], endings: &'a [Ending]) -> Vec<(&'a Ending, Vec<WorkerId>)> {
    let mut left: Vec<&WorkerState> = workers.iter().collect();
    let mut gone = Vec::new();
    for ending in endings {
        let ended = |worker: &&WorkerState| {
            // One that does not say when it registered may be the next one already.
            let every = ending.before == Timestamp::MAX;
            let before = worker.started.is_some_and(|it| it < ending.before);
            worker.pod == ending.pod && (every || before)
        };
        let (here, others): (Vec<_>, Vec<_>) = left.into_iter().partition(ended);
        left = others;
        if !here.is_empty() {
            gone.push((ending, here.iter().map(|worker| worker.id).collect()));
        }
    }
    gone
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn worker(number: u32, pod: &str, started: i64) -> WorkerState {
        WorkerState {
            id: format!("{number:020}").parse().unwrap(),
            pod: pod.to_owned(),
            node: String::new(),
            concurrency: 1,
            layout: 1,
            started: Some(second(started)),
            active: 1,
            lease_until: second(1_000),
            draining: false,
        }
    }

    fn ending(pod: &str, before: Timestamp) -> Ending {
        Ending {
            pod: pod.to_owned(),
            cause: Cause::OomKilled,
            before,
            detail: String::new(),
        }
    }

    #[test]
    fn a_container_that_was_started_again_loses_only_its_former_workers() {
        let workers = [worker(1, "a", 10), worker(2, "a", 30), worker(3, "b", 10)];
        let endings = [ending("a", second(20)), ending("c", Timestamp::MAX)];
        let gone = gone(&workers, &endings);
        assert_eq!(gone.len(), 1);
        assert_eq!(
            (gone[0].0.pod.as_str(), &gone[0].1),
            ("a", &vec![workers[0].id])
        );
    }

    #[test]
    fn of_two_endings_of_a_pod_the_first_tells_the_cause() {
        let workers = [worker(1, "a", 10), worker(2, "a", 30)];
        let endings = [ending("a", second(20)), ending("a", Timestamp::MAX)];
        let gone = gone(&workers, &endings);
        assert_eq!(gone[0].1, [workers[0].id]);
        assert_eq!(gone[1].1, [workers[1].id]);
    }
}

//! When a worker is gone, and why. Pure.

use jiff::{SignedDuration, Timestamp};
use taskqueue_queue::Cause;

use super::state::{PodState, Stage, Termination};

/// Exit code of what was ended by SIGKILL, as the kernel does when there is no memory left.
const KILLED: i32 = 137;

/// A worker pod that ended, or a run of the worker in a pod that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Name of the pod.
    pub pod: String,
    /// Why, as the retry rules name it.
    pub cause: Cause,
    /// The pod's workers that registered before this, by their own clock, are gone. Of a pod that
    /// goes on, this is when its last run ended; of one that does not, the end of time.
    pub before: Timestamp,
    /// What Kubernetes says of it, for the log.
    pub detail: String,
}

/// What was told of a pod's endings already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// The end of this run of its worker's container.
    Run(String),
    /// That it is gone, and so is every worker that ever was in it.
    Gone,
}

/// The ending that `pod` shows, if it was not told of already. `at` is now.
pub(super) fn ending(pod: &PodState, told: &Told, at: Timestamp) -> Option<(Ending, Told)> {
    if *told == Told::Gone {
        return None;
    }
    let termination = pod.termination.as_ref();
    // Kubernetes starts no container of such a pod again.
    let gone = pod.stage == Stage::Ended
        || (pod.deleting && termination.is_some() && pod.started.is_none());
    if gone {
        return Some((of_all(pod, None)?, Told::Gone));
    }
    let termination = termination?;
    if *told == Told::Run(termination.container_id.clone()) {
        return None;
    }
    let ending = Ending {
        pod: pod.name.clone(),
        cause: cause(pod, Some(termination)),
        before: end_of_run(termination.finished, pod.started).unwrap_or(at),
        detail: detail(pod, Some(termination), None),
    };
    Some((ending, Told::Run(termination.container_id.clone())))
}

/// The time before which the workers of a run have registered. Kubernetes tells whole seconds, cut
/// off: a run that lasted a moment ended in the very second in which its worker registered. Only
/// where the next one was started in that second too is it not for us to tell them apart, and those
/// that registered in it are left to their leases.
fn end_of_run(finished: Option<Timestamp>, next: Option<Timestamp>) -> Option<Timestamp> {
    let Some(finished) = finished else {
        return next;
    };
    if next.is_some_and(|next| next <= finished) {
        return Some(finished);
    }
    finished.checked_add(SignedDuration::from_secs(1)).ok()
}

/// The ending of a pod that is there no more. `unseen`: nobody saw how it went.
pub(super) fn vanished(pod: &PodState, told: &Told, unseen: bool) -> Option<Ending> {
    if *told == Told::Gone {
        return None;
    }
    let what = if unseen {
        "went while the pods were not watched"
    } else {
        "was deleted"
    };
    of_all(pod, Some(what))
}

/// The end of every worker of a pod; none if there never can have been one in it.
fn of_all(pod: &PodState, what: Option<&str>) -> Option<Ending> {
    // A run that ended before another one began is not how the pod ended.
    let termination = pod.termination.as_ref().filter(|_| pod.started.is_none());
    if pod.stage == Stage::Unplaced {
        return None;
    }
    Some(Ending {
        pod: pod.name.clone(),
        cause: cause(pod, termination),
        before: Timestamp::MAX,
        detail: detail(pod, termination, what),
    })
}

/// Why the tasks of that run are lost. Who else ends the pod goes first: it kills with the same signal.
/// And the reason alone says little: the container runtime keeps it from any child that was out of
/// memory, whatever the container ends with later.
fn cause(pod: &PodState, termination: Option<&Termination>) -> Cause {
    match (&pod.disruption, termination) {
        (Some(disruption), _) => disruption.cause,
        (None, Some(end)) if end.reason == "OOMKilled" && end.exit_code == KILLED => {
            Cause::OomKilled
        }
        (None, _) => Cause::WorkerLost,
    }
}

fn detail(pod: &PodState, termination: Option<&Termination>, what: Option<&str>) -> String {
    let parts = [
        pod.disruption
            .as_ref()
            .map(|disruption| disruption.detail.clone()),
        termination.map(Termination::to_string),
        what.map(ToOwned::to_owned),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.join("; ")
}

impl std::fmt::Display for Termination {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ended with exit code {}", self.exit_code)?;
        if !self.reason.is_empty() {
            write!(formatter, " ({})", self.reason)?;
        }
        Ok(())
    }
}

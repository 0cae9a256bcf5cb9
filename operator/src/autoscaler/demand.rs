//! What the decision is made on, from what Redis and the API server say. Pure.

use std::time::Duration;

use jiff::Timestamp;
use taskqueue_queue::{Policy, Snapshot};
use taskqueue_scaling::{Caps, Demand, Fleet, Flow, Obstacle};

use crate::{fleet::FleetView, workload::Workload};

/// What the queue needs workers for. `next_run` is that of the policy's schedules.
pub(super) fn demand(
    snapshot: &Snapshot,
    policy: &Policy,
    next_run: Option<Timestamp>,
    flow: Flow,
) -> Demand {
    let next = [snapshot.next_due, next_run].into_iter().flatten().min();
    Demand {
        waiting: snapshot.backlog(),
        active: snapshot.active,
        unseen: None,
        next_due: next.map(|next| {
            let left = next.duration_since(snapshot.now);
            Duration::try_from(left).unwrap_or(Duration::ZERO)
        }),
        paused: policy.paused,
        caps: caps(policy),
        flow,
    }
}

fn caps(policy: &Policy) -> Caps {
    let rate = policy.limits.rate.as_ref();
    Caps {
        concurrency: policy.limits.concurrency.map(u64::from),
        rate: rate.map(|rate| f64::from(rate.count) / rate.per.as_secs_f64()),
        used_up: false,
    }
}

/// The workers there are. `replicas` are those asked for last, `asked_lately` tells that it was
/// just now.
pub(super) fn fleet(
    replicas: u32,
    workload: Option<&Workload>,
    view: FleetView,
    asked_lately: bool,
) -> Fleet {
    Fleet {
        replicas,
        ready: view.ready,
        // A Deployment that was scaled a moment ago is not observed either, and rolls nothing out.
        rolling: workload
            .is_some_and(|it| it.is_rolling() || (it.is_unobserved() && !asked_lately)),
        obstacle: view
            .obstacle
            .map(|(reason, message)| Obstacle { reason, message }),
        start_time: view.start_time,
        handshake: true,
    }
}

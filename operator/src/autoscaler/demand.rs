//! What the decision is made on, from what Redis and the API server say. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use taskqueue_queue::{Policy, Snapshot};
use taskqueue_scaling::{Caps, Demand, Fleet, Flow, Obstacle};

use crate::fleet::FleetView;

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
    }
}

/// The workers there are. `replicas` are those asked for last, `asked_lately` tells that it was
/// just now.
pub(super) fn fleet(
    replicas: u32,
    deployment: Option<&Deployment>,
    view: FleetView,
    asked_lately: bool,
) -> Fleet {
    Fleet {
        replicas,
        ready: view.ready,
        // A Deployment that was scaled a moment ago is not observed either, and rolls nothing out.
        rolling: deployment.is_some_and(|it| rolling(it) || (unobserved(it) && !asked_lately)),
        obstacle: view
            .obstacle
            .map(|(reason, message)| Obstacle { reason, message }),
        start_time: view.start_time,
        handshake: true,
    }
}

/// Whether there are pods of an older template.
pub(super) fn rolling(deployment: &Deployment) -> bool {
    deployment
        .status
        .as_ref()
        .is_some_and(|status| status.updated_replicas.unwrap_or(0) < status.replicas.unwrap_or(0))
}

/// Whether the Deployment's controller has yet to see its last edit.
pub(super) fn unobserved(deployment: &Deployment) -> bool {
    let status = deployment.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation);
    observed.unwrap_or(0) < deployment.metadata.generation.unwrap_or(0)
}

/// Pods that the Deployment says it has.
pub(super) fn counted(deployment: &Deployment) -> u32 {
    let status = deployment.status.as_ref();
    let replicas = status.and_then(|status| status.replicas).unwrap_or(0);
    u32::try_from(replicas).unwrap_or(0)
}

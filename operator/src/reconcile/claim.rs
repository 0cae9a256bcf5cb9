//! Which of several TaskQueues with one queue name keeps the queue, and which of several that scale
//! one object may do so. Pure.

use kube::{Resource, ResourceExt};
use taskqueue_api::{TaskQueue, spec::TargetKind};

/// The TaskQueue that holds the queue which `this` asks for, when it is another one.
///
/// Two TaskQueues clash when they share namespace, queue name and Redis as written. The older
/// keeps the queue; of two made in the same second, the one whose name sorts first.
pub fn held_by_another<'a>(
    this: &TaskQueue,
    others: impl IntoIterator<Item = &'a TaskQueue>,
) -> Option<&'a TaskQueue> {
    others
        .into_iter()
        .filter(|other| other.meta().uid != this.meta().uid)
        .filter(|other| other.meta().deletion_timestamp.is_none())
        .filter(|other| other.namespace() == this.namespace())
        .filter(|other| other.spec.source.is_none())
        .filter(|other| other.queue_name() == this.queue_name())
        .filter(|other| other.spec.redis == this.spec.redis)
        .filter(|other| age_order(other) < age_order(this))
        .min_by_key(|other| age_order(other))
}

/// The TaskQueue that scales the target of `this`, when it is another one: a source that is older,
/// or a queue of ours whose Deployment it is.
pub fn target_held_by_another<'a>(
    this: &TaskQueue,
    others: impl IntoIterator<Item = &'a TaskQueue>,
) -> Option<&'a TaskQueue> {
    let target = this.spec.target_ref.as_ref()?;
    let holds = |other: &&TaskQueue| match &other.spec.target_ref {
        Some(theirs) => {
            (theirs.kind, &theirs.name) == (target.kind, &target.name)
                && age_order(other) < age_order(this)
        }
        None => {
            target.kind == TargetKind::Deployment
                && other.spec.worker.is_some()
                && other.name_any() == target.name
        }
    };
    others
        .into_iter()
        .filter(|other| other.meta().uid != this.meta().uid)
        .filter(|other| other.meta().deletion_timestamp.is_none())
        .filter(|other| other.namespace() == this.namespace())
        .filter(holds)
        .min_by_key(|other| age_order(other))
}

fn age_order(resource: &TaskQueue) -> (Option<jiff::Timestamp>, String) {
    let created = resource.meta().creation_timestamp.as_ref();
    (created.map(|time| time.0), resource.name_any())
}

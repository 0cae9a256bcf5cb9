//! Which of several TaskQueues with one queue name keeps the queue, pure.

use kube::{Resource, ResourceExt};
use taskqueue_api::TaskQueue;

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
        .filter(|other| other.queue_name() == this.queue_name())
        .filter(|other| other.spec.redis == this.spec.redis)
        .filter(|other| age_order(other) < age_order(this))
        .min_by_key(|other| age_order(other))
}

fn age_order(resource: &TaskQueue) -> (Option<jiff::Timestamp>, String) {
    let created = resource.meta().creation_timestamp.as_ref();
    (created.map(|time| time.0), resource.name_any())
}

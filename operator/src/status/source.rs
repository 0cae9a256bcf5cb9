//! What the status of a source tells besides: its own name, workers that are not ours, and why it is
//! not scaled though Redis answers. Pure.

use taskqueue_api::status::{TaskQueueStatus, condition};

use super::condition::{Conditions, Truth};
use crate::index::{Orders, Sight, Trouble};

/// What keeps a source from being scaled, though Redis answers.
pub(super) fn trouble(sight: Option<&Sight>) -> Option<&Trouble> {
    sight?.source.as_ref()?.trouble.as_ref()
}

/// Fills in what is different with a source.
pub(super) fn tell(status: &mut TaskQueueStatus, orders: &Orders, sight: Option<&Sight>) {
    const MAX: usize = 127;
    let Some(source) = &orders.source else {
        return;
    };
    let mut name = source.source.to_string();
    name.truncate(name.floor_char_boundary(MAX));
    status.queue = Some(name);
    status.selector = None;
    // Other systems do not count these.
    status.rates = None;
    if let Some(depth) = &mut status.depth {
        depth.by_priority.clear();
    }
    let Some(sight) = sight else {
        return;
    };
    let target = sight
        .source
        .as_ref()
        .and_then(|source| source.target.as_ref());
    let pods = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX));
    status.replicas = pods(target.map_or(0, |target| target.existing));
    status.ready_replicas = pods(target.map_or(0, |target| target.ready));
}

/// Whether Redis has heard of the source.
pub(super) fn key_missing(conditions: &mut Conditions<'_>, orders: &Orders, sight: Option<&Sight>) {
    if orders.source.is_none() {
        return;
    }
    let (truth, reason, message) = match (trouble(sight), sight.map(|sight| &sight.queue)) {
        (Some(trouble), _) if trouble.reason == condition::SOURCE_KEY_MISSING => {
            (Truth::True, "NeverSeen", trouble.message.as_str())
        }
        (_, Some(Ok(_))) => (Truth::False, "Seen", ""),
        (_, Some(Err(_))) => (Truth::Unknown, "NotRead", ""),
        (_, None) => (Truth::Unknown, "Starting", ""),
    };
    conditions.set(condition::SOURCE_KEY_MISSING, truth, reason, message);
}

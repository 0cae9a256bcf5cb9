//! What the status of a source tells besides: its own name, workers that are not ours, and why it is
//! not scaled though Redis answers. Pure.

use std::time::Duration;

use taskqueue_api::status::{TaskQueueStatus, condition};
use taskqueue_sources::{Running, Source};

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

/// What a smaller number of its workers waits for.
pub(super) fn held_back(sight: Option<&Sight>) -> Option<&str> {
    let sight = sight?;
    let target = sight.source.as_ref()?.target.as_ref()?;
    sight.waits_for.as_deref().filter(|_| target.held_back > 0)
}

/// The conditions that only a source has.
pub(super) fn of_the_source(
    conditions: &mut Conditions<'_>,
    orders: &Orders,
    sight: Option<&Sight>,
) {
    let Some(source) = &orders.source else {
        return;
    };
    key_missing(conditions, sight);
    running_hidden(conditions, &source.source, orders.scaling.idle);
    due_not_moved(conditions, &source.source, sight);
}

/// Whether Redis shows the tasks that run.
fn running_hidden(conditions: &mut Conditions<'_>, source: &Source, idle: Duration) {
    let (hidden, reason, message) = match source.running() {
        Running::Shown => (false, "Shown", String::new()),
        Running::Late(late) => (
            false,
            "ShownLate",
            format!(
                "what runs is told up to {} s late: no worker is stopped within that time of the last task seen",
                late.as_secs()
            ),
        ),
        Running::Hidden { why, fix } => (
            true,
            "NotInRedis",
            format!(
                "{why}: no worker is stopped before scaling.idle ({idle:?}) is over since a task was last seen. Make scaling.idle longer than the longest task, or {fix}"
            ),
        ),
    };
    conditions.set(condition::RUNNING_HIDDEN, hidden, reason, message);
}

/// Whether tasks are due that none of its workers moves on.
fn due_not_moved(conditions: &mut Conditions<'_>, source: &Source, sight: Option<&Sight>) {
    let told = sight.and_then(|sight| sight.source.as_ref());
    let (truth, reason, message) = match told {
        None => (Truth::Unknown, "Starting", ""),
        Some(told) if !told.due_not_moved => (Truth::False, "Moved", ""),
        Some(_) => (
            Truth::True,
            "WorkersIdle",
            match source {
                Source::Rq(_) => {
                    "jobs have been due for 5 min and no worker has moved them on, which a plain rq worker never does: start the pods with --with-scheduler, or where the scheduler runs elsewhere, set source.rq.scheduler: false, so that they keep no pod"
                }
                Source::Asynq(_) => {
                    "tasks have been due, or in a group, for 5 min and no server has moved them on: give the servers a GroupAggregator, or where groups are made elsewhere, set source.asynq.aggregates: false, so that they keep no pod"
                }
                _ => {
                    "tasks have been due for 5 min and no worker has moved them on: check that the pods of the targetRef work on this queue"
                }
            },
        ),
    };
    conditions.set(condition::DUE_NOT_MOVED, truth, reason, message);
}

/// Whether Redis has heard of the source.
fn key_missing(conditions: &mut Conditions<'_>, sight: Option<&Sight>) {
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

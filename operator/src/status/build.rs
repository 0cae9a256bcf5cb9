//! The status as a pure function of what is known.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use taskqueue_api::{
    NAME_LABEL,
    status::{Depth, Rates as RatesStatus, TaskQueueStatus, condition},
};
use taskqueue_queue::{Snapshot, server::Safety};
use taskqueue_scaling::{Limit, Mode, Reason};

use super::{
    condition::{Conditions, Truth},
    decision, redis, source,
};
use crate::{
    index::{Entry, Orders, Problem, Reading, Sight, Trouble},
    key::Key,
    rates::{Rates, Totals},
    workload::Workload,
};

/// Builds the status of one TaskQueue. `previous` is the status as it stands in the resource:
/// transition times come from there, and figures that nothing newer replaces stay. The status is
/// about the generation that the last reconcile saw, which may not be the newest one.
pub fn build(
    key: &Key,
    entry: &Entry,
    workload: Option<&Workload>,
    previous: &TaskQueueStatus,
    now: Timestamp,
) -> TaskQueueStatus {
    let Some(outcome) = &entry.orders else {
        return previous.clone();
    };
    let generation = match outcome {
        Ok(orders) => Some(orders.generation),
        Err(problem) => problem.generation,
    };
    let sight = entry.sight.as_deref();
    let mut status = TaskQueueStatus {
        observed_generation: generation,
        conditions: conditions(generation, outcome, entry, workload, previous, now),
        ..previous.clone()
    };
    if let Ok(orders) = outcome {
        status.queue = Some(orders.queue.to_string());
        status.selector = Some(format!("{NAME_LABEL}={}", key.name));
    }
    fleet(&mut status, workload);
    if let Some(sight) = sight {
        decision::tell(&mut status, sight);
        if let Ok(reading) = &sight.queue {
            figures(&mut status, reading);
        }
    }
    let orders = outcome.as_ref().ok().or(entry.standing.as_ref());
    if let Some(orders) = orders {
        source::tell(&mut status, orders, sight);
    }
    status
}

fn fleet(status: &mut TaskQueueStatus, workload: Option<&Workload>) {
    let replicas = |number: u32| Some(i32::try_from(number).unwrap_or(i32::MAX));
    status.replicas = replicas(workload.map_or(0, |workload| workload.existing));
    status.ready_replicas = replicas(workload.map_or(0, |workload| workload.ready));
}

fn figures(status: &mut TaskQueueStatus, reading: &Reading) {
    let Reading { snapshot, rates } = reading;
    status.depth = Some(depth(snapshot));
    status.oldest_waiting_seconds = Some(seconds(coarse(
        snapshot.oldest_waiting.unwrap_or(Duration::ZERO),
    )));
    status.rates = Some(RatesStatus {
        enqueued: per_second(rates, |counters| counters.enqueued),
        completed: per_second(rates, |counters| counters.completed),
        failed: per_second(rates, |counters| counters.failed),
    });
    status.mean_run_millis = rates
        .mean_run()
        .map(|mean| i64::try_from(mean.as_millis()).unwrap_or(i64::MAX))
        .or(status.mean_run_millis);
}

fn depth(snapshot: &Snapshot) -> Depth {
    let waiting = snapshot.waiting.iter().map(|(_, count)| count).sum::<u64>();
    Depth {
        waiting: count(waiting + snapshot.due),
        blocked: count(snapshot.blocked),
        scheduled: count(snapshot.scheduled.saturating_sub(snapshot.due)),
        active: count(snapshot.active),
        dead: count(snapshot.dead),
        by_priority: snapshot
            .waiting
            .iter()
            .map(|(level, waiting)| (level.clone(), count(*waiting)))
            .collect(),
    }
}

fn conditions(
    generation: Option<i64>,
    outcome: &Result<Arc<Orders>, Problem>,
    entry: &Entry,
    workload: Option<&Workload>,
    previous: &TaskQueueStatus,
    now: Timestamp,
) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    let sight = entry.sight.as_deref();
    match outcome {
        Ok(_) => ready(&mut conditions, sight, workload),
        Err(problem) => conditions.set(condition::READY, false, problem.reason, &problem.message),
    }
    match (outcome, &entry.standing) {
        (Ok(orders), _) | (Err(_), Some(orders)) => {
            carried_out(&mut conditions, orders, sight, entry.safety.as_deref());
        }
        (Err(problem), None) => not_carried_out(&mut conditions, problem),
    }
    let (held, message) = match outcome {
        Err(problem) if problem.reason == condition::QUEUE_NAME_CONFLICT => {
            (true, problem.message.as_str())
        }
        Ok(_) | Err(_) => (false, ""),
    };
    let reason = if held { "HeldByAnother" } else { "NoConflict" };
    conditions.set(condition::QUEUE_NAME_CONFLICT, held, reason, message);
    conditions.finish()
}

/// Orders are carried out: those of this spec, or the last good ones.
fn carried_out(
    conditions: &mut Conditions<'_>,
    orders: &Orders,
    sight: Option<&Sight>,
    safety: Option<&Safety>,
) {
    reachable(conditions, sight);
    redis::safety(conditions, safety, orders, sight);
    scaling(conditions, orders, sight);
    source::of_the_source(conditions, orders, sight);
    let (reason, message) = if orders.policy.paused {
        (
            "SpecPaused",
            "spec.paused is true: workers take no further tasks",
        )
    } else {
        ("NotPaused", "")
    };
    conditions.set(condition::PAUSED, orders.policy.paused, reason, message);
}

/// Nobody looks at the queue, so nothing is known of it.
fn not_carried_out(conditions: &mut Conditions<'_>, problem: &Problem) {
    conditions.set(
        condition::SCALING_ACTIVE,
        false,
        problem.reason,
        &problem.message,
    );
    for kind in [
        condition::REDIS_REACHABLE,
        condition::ABLE_TO_SCALE,
        condition::SCALING_LIMITED,
        condition::PAUSED,
    ] {
        conditions.set(kind, Truth::Unknown, problem.reason, "");
    }
}

fn ready(conditions: &mut Conditions<'_>, sight: Option<&Sight>, workload: Option<&Workload>) {
    if let Some(trouble) = source::trouble(sight) {
        conditions.set(condition::READY, false, trouble.reason, &trouble.message);
        return;
    }
    let (truth, reason, message) = match sight.map(|sight| &sight.queue) {
        None => (
            Truth::Unknown,
            "Starting",
            "the queue has not been read yet".to_owned(),
        ),
        Some(Err(cause)) => (Truth::False, "RedisUnreachable", cause.clone()),
        Some(Ok(_)) => match sight
            .and_then(failing)
            .or_else(|| stuck(workload))
            .or_else(|| sight.and_then(target_stuck))
        {
            Some(message) => (Truth::False, "WorkersFailing", message),
            None => (
                Truth::True,
                "InPlace",
                "the policy and the workers are in place".to_owned(),
            ),
        },
    };
    conditions.set(condition::READY, truth, reason, message);
}

/// What keeps the pods from working, in the words of one of them.
fn failing(sight: &Sight) -> Option<String> {
    let (_, message) = sight.obstacle.as_ref()?;
    Some(message.clone())
}

/// The same of workers that are not ours.
fn target_stuck(sight: &Sight) -> Option<String> {
    sight.source.as_ref()?.target.as_ref()?.stuck.clone()
}

/// Why the Deployment makes no progress, in its own words.
fn stuck(workload: Option<&Workload>) -> Option<String> {
    let message = workload?.stuck.as_deref()?;
    Some(format!("the Deployment of the workers: {message}"))
}

fn reachable(conditions: &mut Conditions<'_>, sight: Option<&Sight>) {
    let (truth, reason, message) = match sight.map(|sight| &sight.queue) {
        None => (Truth::Unknown, "Starting", String::new()),
        Some(Err(cause)) if !source::trouble(sight).is_some_and(Trouble::is_of_the_source) => {
            (Truth::False, "Unreachable", cause.clone())
        }
        Some(_) => (Truth::True, "Answering", String::new()),
    };
    conditions.set(condition::REDIS_REACHABLE, truth, reason, message);
}

fn scaling(conditions: &mut Conditions<'_>, orders: &Orders, sight: Option<&Sight>) {
    let decision = sight.map(|sight| &sight.decision);
    let (active, reason, message) = match (orders.scaling.mode, decision) {
        (Mode::Paused(_), _) => (Truth::False, "ScalingPaused", "spec.scaling.mode is Paused"),
        (Mode::Auto | Mode::Recommend, None) => (Truth::Unknown, "Starting", ""),
        (Mode::Auto | Mode::Recommend, Some(decision))
            if decision.reason == Reason::RedisUnreachable =>
        {
            (
                Truth::False,
                "RedisUnreachable",
                "the queue cannot be read, so the replicas are held",
            )
        }
        (Mode::Auto | Mode::Recommend, Some(_)) if source::trouble(sight).is_some() => {
            let trouble = source::trouble(sight);
            let reason = trouble.map_or("", |trouble| trouble.reason);
            let message = trouble.map_or("", |trouble| &trouble.message);
            (Truth::False, reason, message)
        }
        (Mode::Recommend, Some(_)) => (
            Truth::False,
            "Recommending",
            "spec.scaling.mode is Recommend: what is decided is told and not done",
        ),
        (Mode::Auto, Some(_)) => (Truth::True, "Following", "the replicas follow the queue"),
    };
    conditions.set(condition::SCALING_ACTIVE, active, reason, message);
    let refused = sight.and_then(|sight| sight.refused.as_deref());
    let contested = sight.and_then(|sight| sight.another_writer.as_deref());
    let held_back = source::held_back(sight);
    let missing = source::trouble(sight).filter(|trouble| !trouble.is_of_the_source());
    let (able, reason, message) = match (refused, missing) {
        (Some(refused), _) => (Truth::False, "WriteFailed", refused),
        (None, Some(trouble)) => (Truth::False, trouble.reason, trouble.message.as_str()),
        (None, None) if sight.is_none() => (Truth::Unknown, "Starting", ""),
        (None, None) => match (contested, held_back) {
            (Some(contested), _) => (Truth::False, "AnotherWriter", contested),
            (None, Some(held_back)) => (Truth::False, "PodNotReady", held_back),
            (None, None) => (Truth::True, "Writable", ""),
        },
    };
    conditions.set(condition::ABLE_TO_SCALE, able, reason, message);

    let (least, most) = (orders.scaling.min, orders.scaling.max);
    let (limited, reason, message) = match decision.and_then(|decision| decision.limit) {
        None => (false, "WithinBounds", String::new()),
        Some(Limit::Maximum) => (
            true,
            "AtMaximum",
            format!("the tasks need more than maxReplicas = {most}"),
        ),
        Some(Limit::Minimum) => (
            true,
            "AtMinimum",
            format!("the tasks need fewer than minReplicas = {least}"),
        ),
        Some(Limit::WindowMaximum) => (
            true,
            "Window",
            "the tasks need more than a window of scaling.windows allows now".to_owned(),
        ),
        Some(Limit::WindowMinimum) => (
            true,
            "Window",
            "the tasks need fewer than a window of scaling.windows keeps now".to_owned(),
        ),
        Some(Limit::Rate) => (true, "RateLimited", limited(orders, "rate")),
        Some(Limit::Concurrency) => (true, "ConcurrencyLimited", limited(orders, "concurrency")),
    };
    conditions.set(condition::SCALING_LIMITED, limited, reason, message);
}

/// Which limit more workers would wait for: one of ours, or one of the source's own system.
fn limited(orders: &Orders, what: &str) -> String {
    match orders.source {
        None => format!("more workers would wait for limits.{what}"),
        Some(_) => format!("more workers would wait for the {what} limit of the source"),
    }
}

/// An age made coarser as it grows, so that a queue that merely waits does not rewrite its status
/// every second: to the second in the first minute, then to 10 s, 1 min and 5 min.
fn coarse(age: Duration) -> Duration {
    let seconds = age.as_secs();
    let step = match seconds {
        0..60 => 1,
        60..600 => 10,
        600..3600 => 60,
        _ => 300,
    };
    Duration::from_secs(seconds / step * step)
}

fn per_second(rates: &Rates, counter: impl Fn(&Totals) -> u64) -> String {
    format!("{:.1}", rates.per_second(counter))
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(duration: Duration) -> i64 {
    count(duration.as_secs())
}

//! From the sections about tasks to the policy that Redis holds.

use taskqueue_api::{
    TaskQueueSpec,
    spec::{self, BackoffType, FailureCause, MissedRuns},
};
use taskqueue_queue::{
    Backoff, BackoffKind, Cause, Error, EventLog, Limits, Logged, Missed, Order, Payload, Policy,
    Rate, RetryAction, RetryPolicy, RetryRule, Schedule, TypePolicy, TypeRetry,
};

use super::{Invalid, within};

/// The policy of a spec, checked as Redis will have it: what no rule of the resource can tell
/// (whether a regular expression, a cron expression or a time zone is one) is found here.
pub(super) fn policy(spec: &TaskQueueSpec) -> Result<Policy, Invalid> {
    let levels = &spec.priorities.levels;
    let completed = &spec.retention.completed;
    let policy = Policy {
        levels: levels.iter().map(|level| level.name.clone()).collect(),
        order: order(&spec.priorities)?,
        limits: limits(&spec.limits)?,
        retry: retry(&spec.retry)?,
        timeout: spec.timeout.get(),
        paused: spec.paused,
        max_payload_bytes: within(
            "spec.limits.maxPayloadBytes",
            spec.limits.max_payload_bytes,
            "1 to 8388608",
            1,
            8_388_608,
        )?,
        completed_max_age: completed.max_age.get(),
        completed_max_count: completed
            .max_count
            .map(|count| count_of("spec.retention.completed.maxCount", count))
            .transpose()?,
        dead_max_count: count_of("spec.deadLetter.maxCount", spec.dead_letter.max_count)?,
        dead_max_age: spec.dead_letter.max_age.get(),
        max_losses: within(
            "spec.retry.maxLosses",
            spec.retry.max_losses,
            "0 to 100",
            0,
            100,
        )?,
        attempts_kept: within(
            "spec.retry.attemptsKept",
            spec.retry.attempts_kept,
            "1 to 100",
            1,
            100,
        )?,
        events: spec.events.as_ref().map(events).transpose()?,
        types: spec.types.iter().map(of_type).collect::<Result<_, _>>()?,
        schedules: schedules(spec)?,
        ..Policy::default()
    };
    policy.check().map_err(refused)?;
    Ok(policy)
}

fn events(events: &spec::Events) -> Result<EventLog, Invalid> {
    let entries = count_of("spec.events.maxEntries", events.max_entries)?;
    Ok(EventLog {
        log: match events.log {
            spec::EventLogging::Ends => Logged::Ends,
            spec::EventLogging::Attempts => Logged::Attempts,
        },
        max_entries: entries.into(),
        max_bytes: u64::try_from(events.max_bytes).unwrap_or_default(),
    })
}

fn order(priorities: &spec::Priorities) -> Result<Order, Invalid> {
    match priorities.order {
        spec::Order::Strict => Ok(Order::Strict {
            aging: priorities.aging.map(spec::Duration::get),
        }),
        spec::Order::Weighted => {
            let weights = priorities.levels.iter().map(|level| {
                let weight = level.weight.unwrap_or_default();
                let field = "spec.priorities.levels[].weight";
                within(field, weight, "1 to 1000", 1, 1_000)
            });
            Ok(Order::Weighted {
                weights: weights.collect::<Result<_, _>>()?,
            })
        }
    }
}

fn limits(limits: &spec::Limits) -> Result<Limits, Invalid> {
    let rate = |rate: &spec::Rate| {
        Ok(Rate {
            count: count_of("spec.limits.rate.count", rate.count)?,
            per: rate.per.get(),
        })
    };
    let at_most = |field, limit: Option<i32>| limit.map(|most| count_of(field, most)).transpose();
    let per_key = limits.per_key.as_ref();
    let backlog = at_most("spec.limits.maxBacklog", limits.max_backlog)?;
    Ok(Limits {
        rate: limits.rate.as_ref().map(rate).transpose()?,
        concurrency: at_most("spec.limits.concurrency", limits.concurrency)?,
        per_key_concurrency: at_most(
            "spec.limits.perKey.concurrency",
            per_key.map(|per_key| per_key.concurrency),
        )?,
        max_backlog: backlog.map(u64::from),
    })
}

fn of_type(given: &spec::TypeRules) -> Result<TypePolicy, Invalid> {
    let concurrency = given.concurrency;
    Ok(TypePolicy {
        name: given.name.clone(),
        concurrency: concurrency
            .map(|most| count_of("spec.types[].concurrency", most))
            .transpose()?,
        timeout: given.timeout.map(spec::Duration::get),
        retry: given
            .retry
            .as_ref()
            .map_or_else(|| Ok(TypeRetry::default()), type_retry)?,
    })
}

fn type_retry(retry: &spec::TypeRetry) -> Result<TypeRetry, Invalid> {
    let attempts = |most| within("spec.types[].retry.maxAttempts", most, "1 to 100", 1, 100);
    let rules = retry.rules.as_ref();
    Ok(TypeRetry {
        max_attempts: retry.max_attempts.map(attempts).transpose()?,
        backoff: retry.backoff.as_ref().map(backoff),
        max_elapsed: retry.max_elapsed.map(spec::Duration::get),
        rules: rules.map(|rules| rules.iter().map(rule).collect()),
    })
}

fn backoff(backoff: &spec::Backoff) -> Backoff {
    Backoff {
        kind: match backoff.kind {
            BackoffType::Exponential => BackoffKind::Exponential,
            BackoffType::Linear => BackoffKind::Linear,
            BackoffType::Fixed => BackoffKind::Fixed,
        },
        initial: backoff.initial.get(),
        max: backoff.max.get(),
        jitter: backoff.jitter.clamp(0.0, 1.0),
    }
}

fn retry(retry: &spec::Retry) -> Result<RetryPolicy, Invalid> {
    Ok(RetryPolicy {
        max_attempts: within(
            "spec.retry.maxAttempts",
            retry.max_attempts,
            "1 to 100",
            1,
            100,
        )?,
        backoff: backoff(&retry.backoff),
        max_elapsed: retry.max_elapsed.map(spec::Duration::get),
        rules: retry.rules.iter().map(rule).collect(),
    })
}

fn rule(rule: &spec::RetryRule) -> RetryRule {
    RetryRule {
        cause: rule.cause.map(|cause| match cause {
            FailureCause::OomKilled => Cause::OomKilled,
            FailureCause::Evicted => Cause::Evicted,
            FailureCause::WorkerLost => Cause::WorkerLost,
            FailureCause::Timeout => Cause::Timeout,
            FailureCause::Error => Cause::Error,
        }),
        pattern: rule.pattern.clone(),
        action: match rule.action {
            spec::RetryAction::Retry => RetryAction::Retry,
            spec::RetryAction::DeadLetter => RetryAction::DeadLetter,
            spec::RetryAction::Drop => RetryAction::Drop,
        },
        counts_as_attempt: rule.counts_as_attempt,
        after: rule.after.map(spec::Duration::get),
    }
}

fn schedules(spec: &TaskQueueSpec) -> Result<Vec<Schedule>, Invalid> {
    let limit = usize::try_from(spec.limits.max_payload_bytes).unwrap_or_default();
    let schedules = spec.schedules.iter();
    schedules.map(|given| schedule(given, limit)).collect()
}

fn schedule(schedule: &spec::Schedule, payload_limit: usize) -> Result<Schedule, Invalid> {
    let task = &schedule.task;
    let payload = task.payload.as_ref().map(Payload::of);
    let payload = payload.transpose().map_err(refused)?;
    let payload = payload.unwrap_or_else(Payload::null);
    let size = payload.as_bytes().len();
    if size > payload_limit {
        return Err(Invalid::Policy {
            field: "spec.schedules[].task.payload".to_owned(),
            value: format!("{} with {size} bytes", schedule.name),
            rule: format!("at most spec.limits.maxPayloadBytes, {payload_limit} bytes"),
        });
    }
    Ok(Schedule {
        name: schedule.name.clone(),
        cron: schedule.cron.clone(),
        time_zone: schedule.time_zone.clone(),
        kind: task.kind.clone(),
        payload,
        priority: task.priority.clone(),
        suspend: schedule.suspend,
        missed: match schedule.missed {
            MissedRuns::RunOnce => Missed::RunOnce,
            MissedRuns::Skip => Missed::Skip,
        },
        jitter: schedule.jitter.map(spec::Duration::get).unwrap_or_default(),
    })
}

/// What the queue's own check says, in the words of the spec.
fn refused(error: Error) -> Invalid {
    let (field, value, rule) = match error {
        Error::Invalid { field, value, rule } => (field, value, rule),
        Error::TooLarge { field, size, limit } => (
            field,
            format!("{size} bytes"),
            format!("at most {limit} bytes"),
        ),
        other => ("", String::new(), other.to_string()),
    };
    Invalid::Policy {
        field: path(field),
        value,
        rule,
    }
}

/// The path in the spec of a field of the policy.
fn path(field: &str) -> String {
    let path = match field {
        "levels" => "priorities.levels",
        "priority" => "priorities.levels[].name",
        "priorities.weights" => "priorities.levels[].weight",
        "completedMaxAge" => "retention.completed.maxAge",
        "deadMaxAge" => "deadLetter.maxAge",
        "maxPayloadBytes" => "limits.maxPayloadBytes",
        "payload" => "schedules[].task.payload",
        "schedules.type" => "schedules[].task.type",
        "schedules.priority" => "schedules[].task.priority",
        "" => return "spec".to_owned(),
        other => {
            let item = |list: &str| {
                let field = other.strip_prefix(list)?.strip_prefix('.')?;
                Some(format!("spec.{list}[].{field}"))
            };
            let of_types = || {
                let rules = item("types.retry.rules")?;
                Some(rules.replacen("spec.types.", "spec.types[].", 1))
            };
            let of_list = item("retry.rules").or_else(|| item("schedules"));
            let of_list = of_list.or_else(of_types).or_else(|| item("types"));
            return of_list.unwrap_or_else(|| format!("spec.{other}"));
        }
    };
    format!("spec.{path}")
}

/// A count of at least one.
fn count_of(field: &'static str, value: i32) -> Result<u32, Invalid> {
    within(field, value, "1 and up", 1, u32::MAX)
}

//! What a new task must be under a policy, and its packing. Pure: the time is an argument.

use std::time::Duration;

use jiff::Timestamp;

use super::fingerprint;
use super::packed::{Keyed, Packed, Place};
use crate::lease::millis;
use crate::pack::More;
use crate::payload::fits;
use crate::record::{Extras, Head};
use crate::task::{Idempotency, Start, Unique, check_kind};
use crate::{Error, NewTask, Overrides, Policy, QueueName, TaskId, TypePolicy};

/// Longest delay, expiry and time of a unique key: ten years.
pub(crate) const MAX_SPAN: Duration = Duration::from_hours(10 * 365 * 24);
/// Longest key of any kind, and trace parent, in bytes.
const MAX_KEY_BYTES: usize = 256;

/// Checks a task against the policy and returns its level, as its place among the policy's.
pub(super) fn check(queue: &QueueName, policy: &Policy, task: &NewTask) -> Result<usize, Error> {
    let limit = policy.max_payload_bytes as usize;
    fits("payload", task.payload.as_bytes().len(), limit)?;
    check_kind("type", &task.kind)?;
    match task.start {
        Start::After(delay) => span("delay", delay, Duration::ZERO)?,
        Start::At(at) => {
            let most = Timestamp::now().saturating_add(MAX_SPAN);
            if most.is_ok_and(|most| at > most) {
                let rule = "at most 10 years ahead";
                return Err(Error::invalid("run_at", &at.to_string(), rule));
            }
        }
    }
    if let Some(expires) = task.expires_in {
        span("expires_in", expires, Duration::from_millis(1))?;
    }
    if let Some(Unique { key, ttl }) = &task.unique {
        key_is_fit("unique key", key)?;
        span("unique ttl", *ttl, Duration::from_millis(1))?;
    }
    if let Some(Idempotency { key, keep }) = &task.idempotency {
        key_is_fit("idempotency key", key)?;
        span("idempotency key's keep", *keep, Duration::from_millis(1))?;
    }
    if let Some(key) = &task.concurrency_key {
        key_is_fit("concurrency key", key)?;
        if policy
            .of_type(&task.kind)
            .and_then(TypePolicy::key)
            .is_some()
        {
            let rule = format!(
                "none for tasks of type {}, of which the policy's types say how many may run at once",
                task.kind
            );
            return Err(Error::invalid("concurrency key", key, rule));
        }
    }
    if let Some(header) = &task.trace_parent {
        key_is_fit("trace parent", header)?;
    }
    check_overrides(&task.overrides)?;
    match &task.priority {
        None => Ok(policy.default_level()),
        Some(level) => level_place(queue, policy, level),
    }
}

/// The place of a level among the policy's.
pub(crate) fn level_place(queue: &QueueName, policy: &Policy, level: &str) -> Result<usize, Error> {
    let place = policy.levels.iter().position(|known| known == level);
    place.ok_or_else(|| Error::UnknownLevel {
        queue: queue.to_string(),
        level: level.chars().take(128).collect(),
        known: policy.levels.clone(),
    })
}

fn check_overrides(own: &Overrides) -> Result<(), Error> {
    if own.max_attempts == Some(0) {
        return Err(Error::invalid("maxAttempts", "0", "at least 1"));
    }
    if let Some(timeout) = own.timeout {
        span("timeout", timeout, Duration::from_millis(1))?;
    }
    if let Some(backoff) = own.backoff {
        span("backoff.initial", backoff.initial, Duration::ZERO)?;
        span("backoff.max", backoff.max, backoff.initial)?;
    }
    Ok(())
}

fn span(field: &'static str, value: Duration, least: Duration) -> Result<(), Error> {
    if (least..=MAX_SPAN).contains(&value) {
        return Ok(());
    }
    let rule = format!("{} ms to 10 years", least.as_millis());
    let value = format!("{} ms", value.as_millis());
    Err(Error::invalid(field, &value, rule))
}

pub(crate) fn key_is_fit(field: &'static str, key: &str) -> Result<(), Error> {
    fits(field, key.len(), MAX_KEY_BYTES)?;
    if key.is_empty() || key.contains('\0') {
        let rule = "1 to 256 bytes without a zero byte";
        return Err(Error::invalid(field, key, rule));
    }
    Ok(())
}

/// Packs tasks under a policy, which may have changed since they were checked.
pub(super) fn pack(
    queue: &QueueName,
    policy: &Policy,
    tasks: &[(TaskId, NewTask)],
    now_ms: u64,
) -> Result<Vec<Packed>, Error> {
    let pack = |(id, task): &(TaskId, NewTask)| {
        let level = check(queue, policy, task)?;
        Ok(pack_one(*id, policy, level, task, now_ms))
    };
    tasks.iter().map(pack).collect()
}

fn pack_one(id: TaskId, policy: &Policy, level: usize, task: &NewTask, now_ms: u64) -> Packed {
    let delay_ms = match task.start {
        Start::After(delay) => millis(delay),
        Start::At(at) => u64::try_from(at.as_millisecond())
            .unwrap_or(0)
            .saturating_sub(now_ms),
    };
    let due_ms = if delay_ms > 0 { now_ms + delay_ms } else { 0 };
    let expires_ms = task
        .expires_in
        .map_or(0, |span| now_ms + delay_ms + millis(span));
    let of_type = || policy.of_type(&task.kind)?.key();
    let concurrency_key = task.concurrency_key.clone().or_else(of_type);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let extras = Extras {
        expires_ms,
        unique: task
            .unique
            .as_ref()
            .map_or_else(String::new, |unique| unique.key.clone()),
        concurrency_key: text(&concurrency_key),
        first_failed_ms: 0,
        trace_parent: text(&task.trace_parent),
        last_span: 0,
        overrides: task.overrides,
        more_overrides: More::default(),
        idempotency_key: task
            .idempotency
            .as_ref()
            .map_or_else(String::new, |idempotency| idempotency.key.clone()),
        more: More::default(),
    };
    let extras = Some(extras).filter(|extras| *extras != Extras::default());
    let head = Head {
        level: &policy.levels[level],
        created_ms: now_ms,
        due_ms,
        kind: &task.kind,
        attempts: 0,
        errors: &[],
        extras: extras.as_ref(),
        more: None,
    };
    let is_special = task.unique.is_some()
        || task.idempotency.is_some()
        || concurrency_key.is_some()
        || expires_ms > 0;
    let unique = task.unique.as_ref();
    let idempotency = task.idempotency.as_ref();
    let place = if is_special {
        Place::Special {
            level,
            delay_ms,
            unique: unique.map(|unique| (unique.key.clone(), millis(unique.ttl))),
            keyed: idempotency.map(|idempotency| Keyed {
                key: idempotency.key.clone(),
                fingerprint: fingerprint::of(task),
                keep_ms: millis(idempotency.keep),
            }),
        }
    } else if delay_ms == 0 {
        Place::Now { level }
    } else {
        Place::Later { delay_ms }
    };
    Packed {
        id,
        place,
        record: head.pack(task.payload.as_bytes()),
    }
}

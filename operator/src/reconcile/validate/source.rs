//! From `spec.source` and `spec.targetRef` to what is read and what is scaled.

use kube::Resource;
use serde_json::json;
use taskqueue_api::{
    TaskQueue, TaskQueueSpec,
    spec::{self, CountCommand, TargetRef, TimeUnit},
    status::condition,
};
use taskqueue_queue::QueueName;
use taskqueue_sources::{
    Asynq, BullMq, Celery, Command, Expression, List, Role, Rq, Scores, Sidekiq, SortedSet, Source,
    Stream, Unit,
};

use super::{Allowed, Invalid, RedisSource, TlsSource, redis_source, scaling, tls_source};
use crate::{key::Key, targets::Target};

/// A TaskQueue with a source whose every part has a meaning.
#[derive(Clone, Debug)]
pub struct ValidSource {
    /// Which resource it is.
    pub key: Key,
    /// Generation of the spec.
    pub generation: i64,
    /// The name that a queue of ours would have. There is none.
    pub queue: QueueName,
    /// Where its Redis is.
    pub redis: RedisSource,
    /// Where the certificates for it come from.
    pub tls: TlsSource,
    /// What is read.
    pub source: Source,
    /// Whether it was read before, under this very spec.
    pub seen: bool,
    /// What is scaled.
    pub target: Target,
    /// How it is scaled.
    pub scaling: taskqueue_scaling::Policy,
}

pub(super) fn validate(
    resource: &TaskQueue,
    given: &spec::Source,
    allowed: &Allowed,
) -> Result<ValidSource, Invalid> {
    let spec = &resource.spec;
    let target = spec.target_ref.as_ref().ok_or(Invalid::NoTarget)?;
    nothing_else(spec)?;
    let key = Key::of(resource);
    let TargetRef {
        kind,
        name,
        concurrency: _,
    } = target;
    allowed.target(&key.namespace, name)?;
    let redis = redis_source(spec.redis.as_ref(), &key.namespace, allowed)?;
    allowed.source(&redis)?;
    Ok(ValidSource {
        generation: resource.meta().generation.unwrap_or_default(),
        queue: QueueName::new(&key.namespace, &key.name).map_err(Invalid::QueueName)?,
        redis,
        tls: tls_source(spec.redis.as_ref())?,
        source: source(given)?,
        seen: seen(resource),
        target: Target {
            namespace: key.namespace.clone(),
            kind: *kind,
            name: name.clone(),
        },
        scaling: policy(resource)?,
        key,
    })
}

/// How it is scaled. Other systems do not tell how long tasks run.
fn policy(resource: &TaskQueue) -> Result<taskqueue_scaling::Policy, Invalid> {
    let policy = scaling::policy(resource)?;
    match policy.target {
        taskqueue_scaling::Target::Backlog { .. } => Ok(policy),
        taskqueue_scaling::Target::Latency { within } => Err(Invalid::Policy {
            field: "spec.scaling.target.latency".to_owned(),
            value: format!("{within:?}"),
            rule: "a source does not tell how long its tasks run: use backlogPerReplica".to_owned(),
        }),
    }
}

/// What is about a queue of our own would be ignored, and so is refused: whoever writes a retry
/// policy expects it to be in force.
fn nothing_else(spec: &TaskQueueSpec) -> Result<(), Invalid> {
    // Every field has a default, which the API server writes into the resource.
    let plain: TaskQueueSpec =
        serde_json::from_value(json!({})).map_err(|_| Invalid::Metadata("defaults"))?;
    let given = [
        (spec.queue_name != plain.queue_name, "spec.queueName"),
        (spec.priorities != plain.priorities, "spec.priorities"),
        (spec.retry != plain.retry, "spec.retry"),
        (spec.timeout != plain.timeout, "spec.timeout"),
        (spec.dead_letter != plain.dead_letter, "spec.deadLetter"),
        (spec.retention != plain.retention, "spec.retention"),
        (spec.limits != plain.limits, "spec.limits"),
        (spec.schedules != plain.schedules, "spec.schedules"),
        (spec.paused != plain.paused, "spec.paused"),
    ];
    match given.iter().find(|(given, _)| *given) {
        Some((_, field)) => Err(Invalid::WithSource(field)),
        None => Ok(()),
    }
}

/// The status remembers for an operator that starts that the source was read: plain keys that are
/// gone are empty then.
fn seen(resource: &TaskQueue) -> bool {
    let status = resource.status.iter();
    status
        .flat_map(|status| &status.conditions)
        .any(|condition| {
            condition.type_ == condition::SOURCE_KEY_MISSING
                && condition.status == "False"
                && condition.observed_generation == resource.meta().generation
        })
}

fn source(given: &spec::Source) -> Result<Source, Invalid> {
    let spec::Source {
        bullmq,
        celery,
        rq,
        sidekiq,
        asynq,
        list,
        sorted_set,
        stream,
        expressions,
    } = given;
    let all = [
        bullmq.as_ref().map(|given| {
            Source::BullMq(BullMq {
                queue: given.queue.clone(),
                prefix: given.prefix.clone(),
                limiter_max: given.limiter_max.and_then(|most| u64::try_from(most).ok()),
            })
        }),
        celery.as_ref().map(celery_queue),
        rq.as_ref().map(|given| {
            Source::Rq(Rq {
                queue: given.queue.clone(),
                key_prefix: given.key_prefix.clone(),
                scheduler: given.scheduler,
            })
        }),
        sidekiq.as_ref().map(|given| {
            Source::Sidekiq(Sidekiq {
                queue: given.queue.clone(),
            })
        }),
        asynq.as_ref().map(|given| {
            Source::Asynq(Asynq {
                queue: given.queue.clone(),
                aggregates: given.aggregates,
            })
        }),
        list.as_ref().map(|given| {
            Source::List(List {
                key: given.key.clone(),
                in_flight_key: given.in_flight_key.clone(),
            })
        }),
        sorted_set.as_ref().map(members),
        stream.as_ref().map(|given| {
            Source::Stream(Stream {
                key: given.key.clone(),
                group: given.group.clone(),
            })
        }),
        expressions
            .as_ref()
            .map(|given| Source::Expressions(given.iter().map(expression).collect())),
    ];
    let mut all = all.into_iter().flatten();
    match (all.next(), all.next()) {
        (Some(source), None) => Ok(source),
        (None, _) | (Some(_), Some(_)) => Err(Invalid::Source),
    }
}

fn celery_queue(given: &spec::Celery) -> Source {
    let exchange = given.exchange.as_ref().unwrap_or(&given.queue);
    Source::Celery(Celery {
        queue: given.queue.clone(),
        exchange: exchange.clone(),
        key_prefix: given.key_prefix.clone().unwrap_or_default(),
        priority_steps: given.priority_steps.clone(),
        separator: match &given.separator {
            Some(separator) => separator.clone(),
            None => Celery::SEPARATOR.to_owned(),
        },
        acks_late: given.acks_late,
    })
}

fn members(given: &spec::SortedSetKeys) -> Source {
    Source::SortedSet(SortedSet {
        key: given.key.clone(),
        scores: match given.scores {
            spec::Scores::Order => Scores::Order,
            spec::Scores::Seconds => Scores::Due(Unit::Seconds),
            spec::Scores::Milliseconds => Scores::Due(Unit::Milliseconds),
        },
        in_flight_key: given.in_flight_key.clone(),
    })
}

fn expression(given: &spec::Expression) -> Expression {
    Expression {
        command: match given.command {
            CountCommand::Llen => Command::Llen,
            CountCommand::Scard => Command::Scard,
            CountCommand::Zcard => Command::Zcard,
            CountCommand::Zcount => Command::Zcount(match given.unit {
                None | Some(TimeUnit::Seconds) => Unit::Seconds,
                Some(TimeUnit::Milliseconds) => Unit::Milliseconds,
            }),
            CountCommand::Hlen => Command::Hlen,
            CountCommand::Xlen => Command::Xlen,
            CountCommand::Get => Command::Get,
        },
        key: given.key.clone(),
        role: match given.role {
            spec::Role::Runnable => Role::Runnable,
            spec::Role::InFlight => Role::InFlight,
            spec::Role::Deferred => Role::Deferred,
        },
    }
}

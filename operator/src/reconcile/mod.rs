//! One pass over one TaskQueue: validate → observe → build → apply → publish.
//!
//! Each line of [`steps`] is one step, each step one file, each with an error of its own. What
//! comes out, good or bad, goes to the [`Index`], from which the autoscaler takes its orders and
//! the status is written. Nothing here talks to Redis.

pub mod apply;
pub mod build;
pub mod claim;
pub mod error;
pub mod memory;
pub mod observe;
mod template;
pub mod validate;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, policy::v1::PodDisruptionBudget};
use kube::{
    Client, Resource,
    core::DeserializeGuard,
    runtime::{controller::Action, reflector::Store},
};
use taskqueue_api::TaskQueue;
use taskqueue_queue::Policy;
use tokio::time::Instant;

use crate::{
    config::Config,
    events::Events,
    index::{Index, Orders, SourceOrders},
    key::Key,
    metrics::Metrics,
};
use error::Error;
use memory::Memory;
use validate::{RedisSource, Valid, ValidQueue, ValidSource};

/// The resource as it is watched: one that does not parse stops nothing.
pub type Guarded = DeserializeGuard<TaskQueue>;

/// How often a URL that lives in a Secret is read again.
const SECRET_REFRESH: Duration = Duration::from_mins(1);

/// What every pass shares.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// How the operator was installed.
    pub config: Config,
    /// All TaskQueues.
    pub resources: Store<Guarded>,
    /// All Deployments that carry our label.
    pub deployments: Store<Deployment>,
    /// All PodDisruptionBudgets that carry our label.
    pub budgets: Store<PodDisruptionBudget>,
    /// Where the outcome goes.
    pub index: Arc<Index>,
    /// Where Events go.
    pub events: Events,
    /// What was applied before.
    pub memory: Memory,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// Reconciles one TaskQueue and publishes the outcome.
pub async fn reconcile(resource: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let key = Key::of(resource.as_ref());
    if resource.meta().deletion_timestamp.is_some() {
        context.forget(&key);
        return Ok(Action::await_change());
    }
    let started = Instant::now();
    let outcome = Box::pin(steps(&resource, &context)).await;
    context
        .metrics
        .reconciled(outcome.as_ref().err().map(Error::reason), started.elapsed());
    match outcome {
        Ok(orders) => {
            let refresh = orders.from_secret;
            context.memory.succeeded(&key);
            context.index.order(&key, Ok(orders));
            Ok(if refresh {
                Action::requeue(SECRET_REFRESH)
            } else {
                Action::await_change()
            })
        }
        Err(error) => {
            let problem = error.problem(resource.meta().generation);
            context.index.order(&key, Err(problem));
            Err(error)
        }
    }
}

/// What the controller does after a failed pass. The signature is the controller's.
#[allow(clippy::needless_pass_by_value)]
pub fn error_policy(resource: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    let key = Key::of(resource.as_ref());
    let failures = context.memory.failed(&key);
    if error.is_news() {
        tracing::warn!(queue = %key, reason = error.reason(), failures, error = error.chain(), "reconcile failed");
        context.events.reconcile_failed(resource.as_ref(), error);
    }
    error::action(error, failures)
}

async fn steps(resource: &Guarded, context: &Context) -> Result<Orders, Error> {
    let resource = parsed(resource)?;
    let valid = validate::validate(resource, context.config.default_redis.is_some())?;
    match valid {
        Valid::Queue(valid) => Box::pin(queue(resource, *valid, context)).await,
        Valid::Source(valid) => source(resource, *valid, context).await,
    }
}

/// A queue of our own and its workers.
async fn queue(
    resource: &TaskQueue,
    valid: ValidQueue,
    context: &Context,
) -> Result<Orders, Error> {
    unclaimed(resource, &valid, &context.resources)?;
    let observed = observe::observe(context, &valid).await?;
    let children = build::build(&valid, &observed, &context.config.worker_image);
    if context.memory.differs(&valid.key, &children, &observed) {
        let applied = apply::apply(&context.client, &valid, &observed, children.clone()).await?;
        context.memory.applied(&valid.key, children, applied);
    }
    Ok(Orders {
        generation: valid.generation,
        queue: valid.queue,
        endpoint: observed.endpoint,
        policy: valid.policy,
        scaling: valid.scaling,
        shield: valid.worker.shield,
        from_secret: matches!(valid.redis, RedisSource::Secret { .. }),
        source: None,
    })
}

/// A queue of another system. Nothing is applied: its workers are not ours.
async fn source(
    resource: &TaskQueue,
    valid: ValidSource,
    context: &Context,
) -> Result<Orders, Error> {
    let all = context.resources.state();
    let parsed = all.iter().filter_map(|other| other.0.as_ref().ok());
    if let Some(holder) = claim::target_held_by_another(resource, parsed) {
        return Err(Error::TargetConflict {
            target: valid.target.to_string(),
            holder: holder.meta().name.clone().unwrap_or_default(),
        });
    }
    let endpoint = observe::endpoint(context, &valid.key.namespace, &valid.redis).await?;
    Ok(Orders {
        generation: valid.generation,
        queue: valid.queue,
        endpoint,
        policy: Policy::default(),
        scaling: valid.scaling,
        shield: None,
        from_secret: matches!(valid.redis, RedisSource::Secret { .. }),
        source: Some(SourceOrders {
            source: valid.source,
            seen: valid.seen,
            target: valid.target,
        }),
    })
}

fn parsed(resource: &Guarded) -> Result<&TaskQueue, Error> {
    resource
        .0
        .as_ref()
        .map_err(|invalid| Error::Malformed(invalid.error.clone()))
}

fn unclaimed(resource: &TaskQueue, valid: &ValidQueue, all: &Store<Guarded>) -> Result<(), Error> {
    let all = all.state();
    let parsed = all.iter().filter_map(|other| other.0.as_ref().ok());
    match claim::held_by_another(resource, parsed) {
        None => Ok(()),
        Some(holder) => Err(Error::Conflict {
            queue: valid.queue.to_string(),
            holder: holder.meta().name.clone().unwrap_or_default(),
        }),
    }
}

impl Context {
    /// Drops what is kept of a TaskQueue that is gone or going.
    pub fn forget(&self, key: &Key) {
        self.index.forget(key);
        self.memory.forget(key);
        self.metrics.forget(key);
    }
}

//! One pass over one TaskQueue: validate → observe → build → apply → publish.
//!
//! Each line of [`steps`] is one step, each step one file, each with an error of its own. What
//! comes out, good or bad, goes to the [`Index`], from which the autoscaler takes its orders and
//! the status is written. Nothing here talks to Redis.

pub mod apply;
pub mod build;
pub mod claim;
mod credentials;
pub mod error;
pub mod memory;
pub mod observe;
pub(crate) mod template;
pub mod validate;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{
    Client, Resource,
    core::DeserializeGuard,
    runtime::{
        controller::Action,
        reflector::{ObjectRef, Store},
    },
};
use taskqueue_api::TaskQueue;
use taskqueue_queue::Policy;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    config::Config,
    events::Events,
    index::{Index, Orders, SourceOrders},
    key::Key,
    metrics::Metrics,
    secrets::References,
    turns::Turns,
    watch,
    workload::Workload,
};
use claim::Claims;
use error::Error;
use memory::Memory;
use observe::Observed;
use validate::{Valid, ValidQueue, ValidSource};

/// The resource as it is watched: one that does not parse stops nothing.
pub type Guarded = DeserializeGuard<TaskQueue>;

/// What every pass shares.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// How the operator was installed.
    pub config: Config,
    /// Whether the API server knows the field `lifecycle.stopSignal` of a container.
    pub knows_stop_signals: bool,
    /// All TaskQueues.
    pub resources: Store<Guarded>,
    /// All Deployments that carry our label.
    pub workloads: Store<Workload>,
    /// All PodDisruptionBudgets that carry our label.
    pub budgets: Store<PodDisruptionBudget>,
    /// Where the outcome goes.
    pub index: Arc<Index>,
    /// Where Events go.
    pub events: Events,
    /// Who asks for which queue.
    pub claims: Claims,
    /// Who read which Secrets.
    pub secrets: Arc<References>,
    /// What was applied before.
    pub memory: Memory,
    /// How many passes may be under way.
    pub turns: Arc<Turns>,
    /// Starts passes for what no watch tells.
    pub triggers: mpsc::UnboundedSender<ObjectRef<Guarded>>,
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
    let Some(_turn) = context.turns.try_take(&key.namespace) else {
        return Ok(Action::requeue(put_off(&key)));
    };
    let started = Instant::now();
    let outcome = Box::pin(steps(&resource, &context)).await;
    context
        .metrics
        .reconciled(outcome.as_ref().err().map(Error::reason), started.elapsed());
    match outcome {
        Ok(orders) => {
            context.memory.succeeded(&key);
            context.index.order(&key, Ok(orders));
            Ok(Action::await_change())
        }
        Err(error) => {
            let problem = error.problem(resource.meta().generation);
            context.index.order(&key, Err(problem));
            Err(error)
        }
    }
}

/// When a pass is tried again whose namespace has its share of them under way. The controller's queue knows no namespaces: to
/// wait here would keep the passes of others out. Spread over a second, so that of thousands not all come back at once.
fn put_off(key: &Key) -> Duration {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    Duration::from_millis(100 + hasher.finish() % 900)
}

/// What the controller does after a failed pass. The signature is the controller's.
#[allow(clippy::needless_pass_by_value)]
pub fn error_policy(resource: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    let key = Key::of(resource.as_ref());
    let failed = context.memory.failed(&key, error);
    if failed.anew && error.is_news() {
        tracing::warn!(queue = %key, reason = error.reason(), error = error.chain(), "reconcile failed");
        context.events.reconcile_failed(resource.as_ref(), error);
    }
    error::action(error, failed.times)
}

async fn steps(resource: &Guarded, context: &Context) -> Result<Orders, Error> {
    let resource = parsed(resource)?;
    let valid = validate::validate(resource, &context.config.allowed)?;
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
    unclaimed(resource, &valid, context)?;
    let observed = observe::observe(context, &valid).await?;
    let children = build::build(&valid, &observed, &context.config.worker_image);
    let orders = orders(&valid, &observed);
    if observed.stands_for(&valid) {
        context.index.stand(&valid.key, &orders);
    }
    if context.memory.differs(&valid.key, &children, &observed) {
        let applied = apply::apply(&context.client, &valid, &observed, &children).await?;
        context.memory.applied(&valid.key, &children, applied);
    }
    Ok(orders)
}

fn orders(valid: &ValidQueue, observed: &Observed) -> Orders {
    Orders {
        generation: valid.generation,
        queue: valid.queue.clone(),
        endpoint: observed.endpoint.clone(),
        policy: valid.policy.clone(),
        scaling: valid.scaling.clone(),
        shield: valid.worker.shield,
        source: None,
    }
}

/// A queue of another system. Nothing is applied: its workers are not ours.
async fn source(
    resource: &TaskQueue,
    valid: ValidSource,
    context: &Context,
) -> Result<Orders, Error> {
    let rivals = rivals(resource, context);
    if let Some(holder) = claim::target_held_by_another(resource, parsed_of(&rivals)) {
        return Err(Error::TargetConflict {
            target: valid.target.to_string(),
            holder: holder.meta().name.clone().unwrap_or_default(),
        });
    }
    let (endpoint, _) = observe::endpoint(context, &valid.key, &valid.redis, &valid.tls).await?;
    Ok(Orders {
        generation: valid.generation,
        queue: valid.queue,
        endpoint,
        policy: Policy::default(),
        scaling: valid.scaling,
        shield: None,
        source: Some(SourceOrders {
            source: valid.source,
            seen: valid.seen,
            target: valid.target,
        }),
    })
}

fn parsed(resource: &Guarded) -> Result<&TaskQueue, Error> {
    resource.0.as_ref().map_err(|invalid| {
        if watch::is_too_large(invalid) {
            Error::TooLarge(invalid.error.clone())
        } else {
            Error::Malformed(invalid.error.clone())
        }
    })
}

fn unclaimed(resource: &TaskQueue, valid: &ValidQueue, context: &Context) -> Result<(), Error> {
    let rivals = rivals(resource, context);
    match claim::held_by_another(resource, parsed_of(&rivals)) {
        None => Ok(()),
        Some(holder) => Err(Error::Conflict {
            queue: valid.queue.to_string(),
            holder: holder.meta().name.clone().unwrap_or_default(),
        }),
    }
}

/// The other TaskQueues that may claim the same.
fn rivals(resource: &TaskQueue, context: &Context) -> Vec<Arc<Guarded>> {
    let rivals = context.claims.rivals(resource).into_iter();
    rivals
        .filter_map(|rival| context.resources.get(&rival.object_ref()))
        .collect()
}

fn parsed_of(all: &[Arc<Guarded>]) -> impl Iterator<Item = &TaskQueue> {
    all.iter().filter_map(|other| other.0.as_ref().ok())
}

impl Context {
    /// Has a TaskQueue reconciled soon.
    pub fn trigger(&self, key: &Key) {
        // Nobody listens any more once the operator stops.
        let _ = self.triggers.send(key.object_ref());
    }

    /// Drops what is kept of a TaskQueue that is gone or going.
    pub fn forget(&self, key: &Key) {
        self.index.forget(key);
        self.memory.forget(key);
        self.secrets.forget(key);
        self.metrics.forget(key);
    }
}

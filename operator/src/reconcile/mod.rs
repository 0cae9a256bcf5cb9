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
mod template;
pub mod validate;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Client, Resource,
    core::DeserializeGuard,
    runtime::{
        controller::Action,
        reflector::{ObjectRef, Store},
    },
};
use taskqueue_api::TaskQueue;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    config::Config,
    events::Events,
    index::{Index, Orders},
    key::Key,
    metrics::Metrics,
    secrets::References,
};
use claim::Claims;
use error::Error;
use memory::Memory;
use observe::Observed;
use validate::ValidQueue;

/// The resource as it is watched: one that does not parse stops nothing.
pub type Guarded = DeserializeGuard<TaskQueue>;

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
    let valid = validate::validate(resource, context.config.default_redis.is_some())?;
    unclaimed(resource, &valid, context)?;
    let observed = observe::observe(context, &valid).await?;
    let children = build::build(&valid, &observed, &context.config.worker_image);
    let orders = orders(&valid, &observed);
    if observed.stands_for(&valid) {
        context.index.stand(&valid.key, &orders);
    }
    if context
        .memory
        .differs(&valid.key, &children, observed.deployment.as_deref())
    {
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
    }
}

fn parsed(resource: &Guarded) -> Result<&TaskQueue, Error> {
    resource
        .0
        .as_ref()
        .map_err(|invalid| Error::Malformed(invalid.error.clone()))
}

fn unclaimed(resource: &TaskQueue, valid: &ValidQueue, context: &Context) -> Result<(), Error> {
    let rivals = context.claims.rivals(resource);
    let rivals: Vec<_> = rivals
        .iter()
        .filter_map(|rival| context.resources.get(&rival.object_ref()))
        .collect();
    let parsed = rivals.iter().filter_map(|other| other.0.as_ref().ok());
    match claim::held_by_another(resource, parsed) {
        None => Ok(()),
        Some(holder) => Err(Error::Conflict {
            queue: valid.queue.to_string(),
            holder: holder.meta().name.clone().unwrap_or_default(),
        }),
    }
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

//! Step 1, pure: from the resource as written to what it means.
//!
//! The one place where a spec becomes domain types and where defaults of the operator are filled
//! in. What CEL can check is checked again here only where a wrong value would do harm, since a
//! resource may be older than a rule.

mod allowed;
mod invalid;
mod policy;
mod scaling;
mod source;

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{PodTemplateSpec, ResourceRequirements},
    apimachinery::pkg::{apis::meta::v1::OwnerReference, util::intstr::IntOrString},
};
use kube::Resource;
use taskqueue_api::{
    TaskQueue,
    spec::{
        self, DisruptionBudget, Handler, PodCount, RedisEndpoint, SecretKeySelector, SecretSource,
    },
};
use taskqueue_queue::{Policy, QueueName};
use taskqueue_worker::config::{
    BatchConfig, Concurrency, HandlerConfig, HttpHandler, HttpProtocol,
};

use super::template;
use crate::key::Key;

pub use allowed::{Allowed, Own, Sources};
pub use invalid::Invalid;
pub use source::ValidSource;

/// What a TaskQueue stands for.
#[derive(Clone, Debug)]
pub enum Valid {
    /// A queue of our own and its workers.
    Queue(Box<ValidQueue>),
    /// A queue of another system, and workers that are not ours.
    Source(Box<ValidSource>),
}

/// A TaskQueue whose every part has a meaning.
#[derive(Clone, Debug)]
pub struct ValidQueue {
    /// Which resource it is.
    pub key: Key,
    /// Generation of the spec.
    pub generation: i64,
    /// Makes the resource the owner of its children.
    pub owner: OwnerReference,
    /// The queue in Redis.
    pub queue: QueueName,
    /// Where its Redis is.
    pub redis: RedisSource,
    /// Where the certificates for it come from.
    pub tls: TlsSource,
    /// What producers and workers read in Redis.
    pub policy: Policy,
    /// How it is scaled.
    pub scaling: taskqueue_scaling::Policy,
    /// The pods.
    pub worker: ValidWorker,
}

/// Where the URL of the Redis comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisSource {
    /// The Redis that the operator was installed with.
    Default,
    /// The spec itself; carries no password.
    Url(String),
    /// A key of a Secret in the TaskQueue's namespace.
    Secret(SecretKeySelector),
}

/// Where the certificates for a Redis come from: keys of Secrets in the TaskQueue's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSource {
    /// The authorities to trust.
    pub ca: Option<SecretKeySelector>,
    /// A certificate to show, and its private key.
    pub identity: Option<(SecretKeySelector, SecretKeySelector)>,
}

/// The worker pods.
#[derive(Clone, Debug)]
pub struct ValidWorker {
    /// Tasks at once.
    pub concurrency: Concurrency,
    /// What runs a task.
    pub handler: HandlerConfig,
    /// How long a stopped worker may go on.
    pub drain_timeout: Duration,
    /// The pod template as given; `None` runs the worker's own image.
    pub template: Option<PodTemplateSpec>,
    /// Resources of the container that the operator adds; `None` leaves them to the operator.
    pub resources: Option<ResourceRequirements>,
    /// How long a task must have run for its pod to be shielded; `None` shields none.
    pub shield: Option<Duration>,
    /// How many may be evicted at a time; `None` leaves that open.
    pub budget: Option<Budget>,
}

/// How many worker pods may be evicted at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Most that may be missing.
    MaxUnavailable(IntOrString),
    /// Fewest that must be left.
    MinAvailable(IntOrString),
}

/// Turns a TaskQueue into its meaning, where this installation allows what it asks for.
pub fn validate(resource: &TaskQueue, allowed: &Allowed) -> Result<Valid, Invalid> {
    let spec = &resource.spec;
    match (&spec.worker, &spec.source) {
        (Some(given), None) => {
            let valid = queue(resource, given, allowed)?;
            Ok(Valid::Queue(Box::new(valid)))
        }
        (None, Some(given)) => {
            let valid = source::validate(resource, given, allowed)?;
            Ok(Valid::Source(Box::new(valid)))
        }
        (None, None) | (Some(_), Some(_)) => Err(Invalid::WorkerOrSource),
    }
}

fn queue(
    resource: &TaskQueue,
    given: &spec::Worker,
    allowed: &Allowed,
) -> Result<ValidQueue, Invalid> {
    let spec = &resource.spec;
    let key = Key::of(resource);
    let queue =
        QueueName::new(&key.namespace, resource.queue_name()).map_err(Invalid::QueueName)?;
    let worker = worker(given)?;
    allowed.pods(&key.namespace, worker.template.as_ref())?;
    Ok(ValidQueue {
        generation: resource.meta().generation.unwrap_or_default(),
        owner: resource
            .controller_owner_ref(&())
            .ok_or(Invalid::Metadata("uid"))?,
        redis: redis_source(spec.redis.as_ref(), &key.namespace, allowed)?,
        tls: tls_source(spec.redis.as_ref())?,
        policy: policy::policy(spec)?,
        scaling: scaling::policy(resource)?,
        worker,
        key,
        queue,
    })
}

fn redis_source(
    redis: Option<&RedisEndpoint>,
    namespace: &str,
    allowed: &Allowed,
) -> Result<RedisSource, Invalid> {
    match redis {
        None => allowed.default_redis(namespace),
        Some(RedisEndpoint {
            url: Some(url),
            url_from: None,
            tls: _,
        }) => Ok(RedisSource::Url(url.clone())),
        Some(RedisEndpoint {
            url: None,
            url_from: Some(source),
            tls: _,
        }) => Ok(RedisSource::Secret(source.secret_key_ref.clone())),
        Some(_) => Err(Invalid::RedisSource),
    }
}

fn tls_source(redis: Option<&RedisEndpoint>) -> Result<TlsSource, Invalid> {
    let Some(tls) = redis.and_then(|redis| redis.tls.as_ref()) else {
        return Ok(TlsSource::default());
    };
    let selector = |source: &SecretSource| source.secret_key_ref.clone();
    Ok(TlsSource {
        ca: tls.ca_from.as_ref().map(selector),
        identity: match (&tls.cert_from, &tls.key_from) {
            (Some(cert), Some(key)) => Some((selector(cert), selector(key))),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(Invalid::TlsIdentity),
        },
    })
}

fn worker(worker: &spec::Worker) -> Result<ValidWorker, Invalid> {
    let concurrency = u32::try_from(worker.concurrency)
        .ok()
        .and_then(Concurrency::new)
        .ok_or(Invalid::Range {
            field: "spec.worker.concurrency",
            value: i64::from(worker.concurrency),
            range: "1 to 1000",
        })?;
    let handler = handler(&worker.handler, concurrency)?;
    let name = handler.name();
    let template = worker.template.as_ref().map(template::parse).transpose()?;
    if template.is_none() && !matches!(handler, HandlerConfig::Native {}) {
        return Err(Invalid::NoTemplate(name));
    }
    let valid = ValidWorker {
        concurrency,
        handler,
        drain_timeout: worker.drain_timeout.get(),
        template,
        resources: worker.resources.as_ref().map(ResourceRequirements::from),
        shield: worker.shield.as_ref().map(|shield| shield.after.get()),
        budget: worker.disruption_budget.as_ref().map(budget).transpose()?,
    };
    if let Some(template) = &valid.template {
        super::build::pod::check(template, &valid, name)?;
    }
    Ok(valid)
}

/// The handler as the worker will read it.
fn handler(handler: &Handler, concurrency: Concurrency) -> Result<HandlerConfig, Invalid> {
    let Handler {
        exec,
        stdio,
        http,
        native,
    } = handler;
    let config = match (exec, stdio, http, native) {
        (Some(exec), None, None, None) => HandlerConfig::Exec {
            command: exec.command.clone(),
            batch: exec.batch.as_ref().map(batch),
        },
        (None, Some(stdio), None, None) => HandlerConfig::Stdio {
            command: stdio.command.clone(),
            processes: u16::try_from(stdio.processes).unwrap_or_default(),
            batch: stdio.batch.as_ref().map(batch),
        },
        (None, None, Some(http), None) => HandlerConfig::Http(HttpHandler {
            port: http
                .port
                .map(|port| u16::try_from(port).unwrap_or_default()),
            socket: http.socket.clone(),
            path: http.path.clone(),
            protocol: match http.protocol {
                spec::HttpProtocol::Http1 => HttpProtocol::Http1,
                spec::HttpProtocol::H2c => HttpProtocol::H2c,
            },
            batch: http.batch.as_ref().map(batch),
        }),
        (None, None, None, Some(_)) => HandlerConfig::Native {},
        _ => return Err(Invalid::Handler),
    };
    config.check(concurrency).map_err(Invalid::BadHandler)?;
    Ok(config)
}

/// Numbers that are out of range stay so, to be told.
fn batch(batch: &spec::Batch) -> BatchConfig {
    BatchConfig {
        max: u16::try_from(batch.max).unwrap_or_default(),
        wait: batch.wait.get(),
    }
}

fn budget(budget: &DisruptionBudget) -> Result<Budget, Invalid> {
    let DisruptionBudget {
        max_unavailable,
        min_available,
    } = budget;
    let count = |count: &PodCount| match count {
        PodCount::Number(number) => IntOrString::Int(*number),
        // A number in quotes is one all the same.
        PodCount::Percent(text) => match text.parse() {
            Ok(number) => IntOrString::Int(number),
            Err(_) => IntOrString::String(text.clone()),
        },
    };
    match (max_unavailable, min_available) {
        (Some(most), None) => Ok(Budget::MaxUnavailable(count(most))),
        (None, Some(fewest)) => Ok(Budget::MinAvailable(count(fewest))),
        (None, None) | (Some(_), Some(_)) => Err(Invalid::Budget),
    }
}

fn within(
    field: &'static str,
    value: i32,
    range: &'static str,
    from: u32,
    to: u32,
) -> Result<u32, Invalid> {
    u32::try_from(value)
        .ok()
        .filter(|value| (from..=to).contains(value))
        .ok_or(Invalid::Range {
            field,
            value: i64::from(value),
            range,
        })
}

//! How the operator was installed: its flags and variables.

use std::{collections::BTreeSet, net::SocketAddr};

use clap::Args;
use k8s_openapi::api::core::v1::ResourceRequirements;
use serde_json::Value;
use taskqueue_api::spec::Resources;
use taskqueue_worker::config::LogFormat;

use crate::{
    allowed::AllowedRedis,
    endpoint::EndpointUrl,
    reconcile::{
        template,
        validate::{Allowed, Own, Sources},
    },
};

/// Flags of `taskqueue-operator run`, each also a variable.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Redis of the TaskQueues that name none.
    #[arg(
        long,
        env = "TASKQUEUE_REDIS_URL",
        hide_env_values = true,
        default_value = ""
    )]
    redis_url: String,

    /// Namespaces whose TaskQueues may use that Redis, with commas between them; all of them when empty.
    #[arg(
        long,
        env = "TASKQUEUE_REDIS_NAMESPACES",
        value_delimiter = ',',
        default_value = ""
    )]
    redis_namespaces: Vec<String>,

    /// Which TaskQueues with a source are served.
    #[arg(long, env = "TASKQUEUE_SOURCES", value_enum, default_value_t)]
    sources: Sources,

    /// Service account of this operator, which no TaskQueue of its namespace may name; unknown when
    /// empty.
    #[arg(long, env = "TASKQUEUE_OWN_ACCOUNT", default_value = "")]
    own_account: String,

    /// Deployments and StatefulSets of this operator's namespace that no TaskQueue may scale, with
    /// commas between them.
    #[arg(
        long,
        env = "TASKQUEUE_OWN_WORKLOADS",
        value_delimiter = ',',
        default_value = ""
    )]
    own_workloads: Vec<String>,

    /// Which Redis TaskQueues may name, with commas between: ends of host names (`example.com`) and ranges
    /// of addresses (`10.0.0.0/8`). Where none is given, any but the operator's own pod (loopback) and
    /// link-local addresses, which only a range can allow. `--redis-url` may name any.
    #[arg(
        long,
        env = "TASKQUEUE_REDIS_ALLOWED",
        default_value = "",
        value_parser = AllowedRedis::parse
    )]
    redis_allowed: AllowedRedis,

    /// Namespace to serve; all of them when empty.
    #[arg(long, env = "TASKQUEUE_WATCH_NAMESPACE", default_value = "")]
    watch_namespace: String,

    /// Image with the worker's binary.
    #[arg(long, env = "TASKQUEUE_WORKER_IMAGE")]
    worker_image: String,

    /// When the worker's image is pulled: `Always`, `IfNotPresent` or `Never`. Kubernetes' own
    /// default when empty.
    #[arg(long, env = "TASKQUEUE_WORKER_IMAGE_PULL_POLICY", default_value = "")]
    worker_image_pull_policy: String,

    /// Resources of the containers that the operator adds to worker pods, where the TaskQueue asks for
    /// none, as JSON: `{"requests": {"cpu": "50m"}, "limits": {"cpu": "1", "memory": "512Mi"}}`. The
    /// operator's own choice when empty.
    #[arg(
        long,
        env = "TASKQUEUE_WORKER_RESOURCES",
        default_value = "",
        value_parser = resources
    )]
    worker_resources: GivenResources,

    /// Address of the probes and metrics.
    #[arg(long, env = "TASKQUEUE_HTTP_ADDRESS", default_value = "0.0.0.0:8080")]
    http_address: SocketAddr,

    /// Namespace of the Lease by which several operators elect one; the pod's own.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,

    /// Name of this operator in the Lease and in Events; the pod's own.
    #[arg(long, env = "POD_NAME", default_value = "taskqueue-operator")]
    identity: String,

    /// Format of the log: `json` or `text`.
    #[arg(long, env = "TASKQUEUE_LOG_FORMAT", default_value = "json")]
    log_format: LogFormat,
}

/// What the operator needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Redis of the TaskQueues that name none.
    pub default_redis: Option<EndpointUrl>,
    /// What TaskQueues may ask for.
    pub allowed: Allowed,
    /// Which Redis TaskQueues may name.
    pub redis_allowed: AllowedRedis,
    /// The one namespace to serve; `None` for all.
    pub namespace: Option<String>,
    /// Image with the worker's binary.
    pub worker_image: WorkerImage,
    /// Address of the probes and metrics.
    pub http_address: SocketAddr,
    /// Namespace of the Lease.
    pub lease_namespace: String,
    /// Name of this operator.
    pub identity: String,
    /// Format of the log.
    pub log_format: LogFormat,
}

/// An image and when it is pulled.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerImage {
    /// Name with tag or digest.
    pub name: String,
    /// When it is pulled; `None` is Kubernetes' own default.
    pub pull_policy: Option<String>,
    /// Resources of the containers that are made of it, where the TaskQueue asks for none; `None`
    /// leaves them to the operator.
    pub resources: Option<ResourceRequirements>,
}

/// What becomes of that flag; by its name, since clap takes a field of type `Option` for a flag that
/// may be missing.
type GivenResources = Option<ResourceRequirements>;

/// Reads them. Nothing is dropped without a word: a misspelt limit is none.
fn resources(text: &str) -> Result<GivenResources, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let given: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let parsed: Resources =
        serde_json::from_value(given.clone()).map_err(|error| error.to_string())?;
    parsed.check()?;
    let kept = serde_json::to_value(&parsed).map_err(|error| error.to_string())?;
    match template::dropped(&given, &kept) {
        None => Ok(Some(ResourceRequirements::from(&parsed))),
        Some(path) => Err(format!(
            "{} is no field of it: there are requests and limits, with cpu, memory and ephemeral-storage each",
            path.trim_start_matches('.')
        )),
    }
}

/// A flag that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--redis-url (TASKQUEUE_REDIS_URL): {0}")]
pub struct BadRedisUrl(#[source] taskqueue_queue::Error);

impl TryFrom<RunArgs> for Config {
    type Error = BadRedisUrl;

    fn try_from(args: RunArgs) -> Result<Self, BadRedisUrl> {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let names =
            |all: Vec<String>| -> BTreeSet<_> { all.into_iter().filter_map(given).collect() };
        let default_redis = given(args.redis_url)
            .map(EndpointUrl::parse)
            .transpose()
            .map_err(BadRedisUrl)?;
        let allowed = Allowed {
            default_redis: default_redis.is_some(),
            redis_namespaces: names(args.redis_namespaces),
            sources: args.sources,
            own: Own {
                namespace: args.lease_namespace.clone(),
                account: given(args.own_account),
                workloads: names(args.own_workloads),
            },
        };
        Ok(Self {
            default_redis,
            allowed,
            redis_allowed: args.redis_allowed,
            namespace: given(args.watch_namespace),
            worker_image: WorkerImage {
                name: args.worker_image,
                pull_policy: given(args.worker_image_pull_policy),
                resources: args.worker_resources,
            },
            http_address: args.http_address,
            lease_namespace: args.lease_namespace,
            identity: args.identity,
            log_format: args.log_format,
        })
    }
}

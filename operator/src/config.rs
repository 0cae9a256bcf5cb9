//! How the operator was installed: its flags and variables.

use std::net::SocketAddr;

use clap::Args;
use taskqueue_worker::config::LogFormat;

use crate::endpoint::EndpointUrl;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerImage {
    /// Name with tag or digest.
    pub name: String,
    /// When it is pulled; `None` is Kubernetes' own default.
    pub pull_policy: Option<String>,
}

/// A flag that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--redis-url (TASKQUEUE_REDIS_URL): {0}")]
pub struct BadRedisUrl(#[source] taskqueue_queue::Error);

impl TryFrom<RunArgs> for Config {
    type Error = BadRedisUrl;

    fn try_from(args: RunArgs) -> Result<Self, BadRedisUrl> {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Self {
            default_redis: given(args.redis_url)
                .map(EndpointUrl::parse)
                .transpose()
                .map_err(BadRedisUrl)?,
            namespace: given(args.watch_namespace),
            worker_image: WorkerImage {
                name: args.worker_image,
                pull_policy: given(args.worker_image_pull_policy),
            },
            http_address: args.http_address,
            lease_namespace: args.lease_namespace,
            identity: args.identity,
            log_format: args.log_format,
        })
    }
}

//! What a worker is told when it starts: one type, rendered into environment variables by the operator and parsed from
//! them by the worker. The names of the variables live here and nowhere else; parsing is in [`env`].
//!
//! What must not live here: reading the real environment (the caller passes a lookup), and anything that runs tasks.

mod batch;
mod env;
mod handler;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use taskqueue_queue::{Bounds, Endpoint, MAX_PAYLOAD_BYTES, QueueName};

pub use batch::BatchConfig;
pub use env::ConfigError;
pub use handler::{HandlerConfig, HttpHandler, HttpProtocol};

/// The queue to consume, as `namespace/name`.
pub const QUEUE_VARIABLE: &str = "TASKQUEUE_QUEUE";
/// Where Redis is. Not rendered by [`WorkerConfig::to_env`], because its value may come from a Secret.
pub const REDIS_URL_VARIABLE: &str = "TASKQUEUE_REDIS_URL";
/// Certificates of the authorities to trust in TLS, as PEM; the system's without it. Not rendered by
/// [`WorkerConfig::to_env`], nor are the next two, because their values come from Secrets.
pub const REDIS_CA_VARIABLE: &str = "TASKQUEUE_REDIS_CA";
/// The certificate to show to Redis in TLS, as PEM.
pub const REDIS_CERT_VARIABLE: &str = "TASKQUEUE_REDIS_CERT";
/// The private key of that certificate, as PEM.
pub const REDIS_KEY_VARIABLE: &str = "TASKQUEUE_REDIS_KEY";
/// How many tasks the worker runs at once.
pub const CONCURRENCY_VARIABLE: &str = "TASKQUEUE_CONCURRENCY";
/// What runs a task, as JSON in the shape of the manifest's `spec.worker.handler`.
pub const HANDLER_VARIABLE: &str = "TASKQUEUE_HANDLER";
/// How long running tasks may go on after SIGTERM.
pub const DRAIN_TIMEOUT_VARIABLE: &str = "TASKQUEUE_DRAIN_TIMEOUT";
/// Where the probes and metrics are served.
pub const HTTP_ADDRESS_VARIABLE: &str = "TASKQUEUE_HTTP_ADDRESS";
/// The pod's name; in the cluster it comes from the downward API, so a template names the field, not a value.
pub const POD_NAME_VARIABLE: &str = "TASKQUEUE_POD_NAME";
/// The node's name, from the downward API as well.
pub const NODE_NAME_VARIABLE: &str = "TASKQUEUE_NODE_NAME";
/// What whoever asks for a drain over HTTP has to show. Without it nobody can.
pub const DRAIN_TOKEN_VARIABLE: &str = "TASKQUEUE_DRAIN_TOKEN";
/// `json` or `text`.
pub const LOG_FORMAT_VARIABLE: &str = "TASKQUEUE_LOG_FORMAT";

/// Where the probes and metrics are served when nothing else is said.
pub const DEFAULT_HTTP_ADDRESS: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8081);
/// How long running tasks may go on after SIGTERM when nothing else is said.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_mins(1);
/// Memory in bytes that the answers of Redis may take at a time, beside the largest payload for each slot:
/// one answer may fill all slots.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// The longest drain that can be asked for.
pub const MAX_DRAIN_TIMEOUT: Duration = Duration::from_hours(24);

/// Everything a worker is told. The operator makes it from a `TaskQueue`, the worker from its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// The queue to consume.
    pub queue: QueueName,
    /// Where Redis is, password included.
    pub redis_url: RedisUrl,
    /// Whom to trust and what to show of oneself where the URL says TLS.
    pub redis_tls: RedisTls,
    /// How many tasks run at once.
    pub concurrency: Concurrency,
    /// What runs a task.
    pub handler: HandlerConfig,
    /// How long running tasks may go on after SIGTERM; whole milliseconds, at most [`MAX_DRAIN_TIMEOUT`].
    pub drain_timeout: Duration,
    /// Where the probes and metrics are served.
    pub http_address: SocketAddr,
    /// The pod this worker is, if it is one.
    pub pod_name: Option<String>,
    /// The node this worker runs on, if it is known.
    pub node_name: Option<String>,
    /// What whoever asks for a drain over HTTP has to show; nobody can without it, nor with another handler than `http`.
    pub drain_token: Option<DrainToken>,
    /// The form of the log.
    pub log_format: LogFormat,
}

impl WorkerConfig {
    /// The environment that makes a worker parse this very configuration, the Redis URL apart: add
    /// [`REDIS_URL_VARIABLE`] as a value or as a reference to a Secret. In a pod template leave the pod's and the
    /// node's name empty here and add their variables as references to the downward API.
    pub fn to_env(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            (QUEUE_VARIABLE, self.queue.to_string()),
            (CONCURRENCY_VARIABLE, self.concurrency.to_string()),
            (HANDLER_VARIABLE, self.handler.to_string()),
            (
                DRAIN_TIMEOUT_VARIABLE,
                env::render_duration(self.drain_timeout),
            ),
            (HTTP_ADDRESS_VARIABLE, self.http_address.to_string()),
            (LOG_FORMAT_VARIABLE, self.log_format.to_string()),
        ];
        variables.extend(self.pod_name.clone().map(|name| (POD_NAME_VARIABLE, name)));
        variables.extend(
            self.node_name
                .clone()
                .map(|name| (NODE_NAME_VARIABLE, name)),
        );
        let token = self.drain_token.as_ref();
        variables.extend(token.map(|token| (DRAIN_TOKEN_VARIABLE, token.0.clone())));
        variables
    }

    /// Where Redis is, how to speak to it, and how much it may answer at a time.
    pub fn endpoint(&self) -> Result<Endpoint, taskqueue_queue::Error> {
        let payloads = usize::from(self.concurrency.get()) * MAX_PAYLOAD_BYTES;
        let bounds = Bounds {
            largest_answer: Some(LARGEST_ANSWER + payloads),
            ..Bounds::default()
        };
        let endpoint = Endpoint::parse(self.redis_url.expose())?.with_bounds(bounds);
        self.redis_tls.apply(endpoint)
    }

    /// Parses the configuration out of variables; `lookup` is the environment. An empty variable counts as missing.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        env::parse(&lookup)
    }
}

/// How many tasks a worker runs at once: 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Concurrency(u16);

impl Concurrency {
    /// The most tasks that one worker runs at once.
    pub const MAX: u16 = 1000;

    /// `None` when the number is out of 1 to 1000.
    pub fn new(tasks: u32) -> Option<Self> {
        u16::try_from(tasks)
            .ok()
            .filter(|tasks| (1..=Self::MAX).contains(tasks))
            .map(Self)
    }

    /// The number of tasks.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A Redis URL. It may hold a password, so `Debug` does not show it and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// Takes the URL as it stands; whether it can be used is found out by whoever connects.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL with its password: for connecting, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl(***)")
    }
}

/// What whoever asks for a drain over HTTP has to show, in the header `authorization`. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct DrainToken(String);

impl DrainToken {
    /// The most bytes of one.
    pub const MAX_BYTES: usize = 128;

    /// `None` unless it is 1 to 128 ASCII letters, digits and hyphens, as a uid of Kubernetes is.
    pub fn new(token: impl Into<String>) -> Option<Self> {
        let token = token.into();
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let fits = (1..=Self::MAX_BYTES).contains(&token.len());
        (fits && token.bytes().all(good)).then_some(Self(token))
    }

    /// The value of the header `authorization` that shows it.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for DrainToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DrainToken(***)")
    }
}

/// Certificates for TLS. `Debug` does not show them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedisTls {
    /// Authorities to trust instead of the system's, as PEM.
    pub ca: Option<String>,
    /// A certificate to show and its private key, both PEM.
    pub identity: Option<(String, String)>,
}

impl RedisTls {
    /// The endpoint with these certificates.
    pub fn apply(&self, mut endpoint: Endpoint) -> Result<Endpoint, taskqueue_queue::Error> {
        if let Some(ca) = &self.ca {
            endpoint = endpoint.with_ca(ca)?;
        }
        if let Some((cert, key)) = &self.identity {
            endpoint = endpoint.with_client_cert(cert, key)?;
        }
        Ok(endpoint)
    }
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ca, identity) = (self.ca.is_some(), self.identity.is_some());
        write!(f, "RedisTls(ca: {ca}, identity: {identity})")
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Plain lines, for people.
    Text,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("no such format: it is json or text"),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

//! The worker pod: the user's template with the worker put in.
//!
//! Everything the template says stays as given. Added are the worker's configuration, its port
//! and probes in the first container, and with `exec` and `stdio` an init container that brings the
//! worker in ([`installer`]), so that any image can run tasks. With `http` all that is in a
//! container of the worker's own ([`sidecar`]).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
        ObjectFieldSelector, PodOS, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
        SeccompProfile, SecurityContext,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::core::ObjectMeta;
use taskqueue_api::{WORKER_CONTAINER, WORKER_CONTAINER_ANNOTATION};
use taskqueue_worker::config::{
    DEFAULT_HTTP_ADDRESS, DrainToken, HandlerConfig, LogFormat, NODE_NAME_VARIABLE,
    POD_NAME_VARIABLE, REDIS_URL_VARIABLE, RedisTls, RedisUrl, WorkerConfig,
};

use super::super::observe::Observed;
use super::super::validate::{Invalid, ValidQueue, ValidWorker};
use super::deployment;
use super::installer;
use super::resources;
use super::secret::{self, PodRedis};
use super::sidecar;
use crate::config::WorkerImage;

/// Name of the worker's port for probes and metrics.
const PORT: &str = "taskqueue";
/// What the kubelet grants beyond the drain, for the last acknowledgements.
const GRACE_AFTER_DRAIN: i64 = 10;
/// Seconds until the kubelet kills a worker that hangs, after it told it to stop.
const GRACE_OF_A_HUNG_WORKER: i64 = 10;
/// How a worker is told to stop.
const STOP_SIGNAL: &str = "SIGTERM";
/// Annotation of the pods: the mark of the credentials and certificates that they started with.
const CREDENTIALS: &str = "taskqueue.dev/redis-credentials";
/// Annotation by which `kubectl logs` and `kubectl exec` choose among the containers of a pod.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Prefix of the variables that configure the worker.
const VARIABLES: &str = "TASKQUEUE_";

/// Says what in a template would get in the worker's way.
pub fn check(
    template: &PodTemplateSpec,
    worker: &ValidWorker,
    handler: &'static str,
) -> Result<(), Invalid> {
    let conflict = |field: String, reason| {
        Err(Invalid::TemplateConflict {
            field,
            handler,
            reason,
        })
    };
    let path = "spec.worker.template.spec";
    let Some(pod) = &template.spec else {
        return Err(Invalid::Template("it has no spec".to_owned()));
    };
    let Some(container) = pod.containers.first() else {
        return Err(Invalid::Template("spec.containers is empty".to_owned()));
    };
    let own = runs_inside(&worker.handler);
    if own && (container.command.is_some() || container.args.is_some()) {
        return conflict(
            format!("{path}.containers[0].command and args"),
            "the worker runs there and starts the handler's command",
        );
    }
    let variables = container.env.iter().flatten();
    if let Some(variable) = variables
        .map(|env| &env.name)
        .find(|name| name.starts_with(VARIABLES))
    {
        return conflict(
            format!("{path}.containers[0].env {variable}"),
            "the operator sets the variables that begin with TASKQUEUE_",
        );
    }
    let mut volumes = pod.volumes.iter().flatten();
    if own && volumes.any(|volume| volume.name == installer::VOLUME) {
        return conflict(
            format!("{path}.volumes {}", installer::VOLUME),
            "the operator adds a volume of that name for the worker's binary",
        );
    }
    // A worker in the first container may have the name that the worker's own would have.
    let free = usize::from(!matches!(worker.handler, HandlerConfig::Http(_)));
    let init = pod.init_containers.iter().flatten();
    let mut others = pod.containers.iter().skip(free).chain(init);
    if others.any(|container| container.name == WORKER_CONTAINER) {
        return conflict(
            format!("{path}.containers {WORKER_CONTAINER}"),
            "by that name the operator knows the worker's container",
        );
    }
    if let HandlerConfig::Http(http) = &worker.handler {
        sidecar::check(pod, http)?;
    }
    let given = pod.termination_grace_period_seconds;
    match given {
        Some(given) if given < grace_period(worker) => Err(Invalid::GracePeriod {
            given,
            needed: grace_period(worker),
        }),
        _ => Ok(()),
    }
}

/// Builds the pod template.
pub fn build(
    valid: &ValidQueue,
    image: &WorkerImage,
    redis: PodRedis,
    observed: &Observed,
) -> PodTemplateSpec {
    let worker = &valid.worker;
    let mut template = worker.template.clone().unwrap_or_default();
    label(&mut template.metadata, valid);
    if let Some(mark) = &observed.credentials {
        mark_credentials(&mut template, mark);
    }
    let pod = template.spec.get_or_insert_with(|| demo_pod(worker, image));
    pod.automount_service_account_token.get_or_insert(false);
    // A Service named taskqueue-redis would give every pod a variable TASKQUEUE_REDIS_PORT.
    pod.enable_service_links.get_or_insert(false);
    pod.termination_grace_period_seconds
        .get_or_insert(grace_period(worker));
    if runs_inside(&worker.handler) {
        installer::add(pod, worker, image);
        if observed.knows_stop_signals {
            stop_by_sigterm(pod);
        }
    }
    if let HandlerConfig::Http(http) = &worker.handler {
        let mut container = sidecar::container(pod, worker, http, image);
        let token = sidecar::drain_token(valid);
        configure(&mut container, valid, redis, token.clone());
        sidecar::add(pod, container, token.as_ref());
    } else if let Some(container) = pod.containers.first_mut() {
        configure(container, valid, redis, None);
    }
    name_containers(&mut template, &worker.handler);
    template
}

/// Names on the pod the container that the worker runs in, and to kubectl the first one, which has the
/// user's own code: in a pod they may stand elsewhere, behind those that admission puts in front.
fn name_containers(template: &mut PodTemplateSpec, handler: &HandlerConfig) {
    let pod = template.spec.as_ref();
    let Some(first) = pod.and_then(|pod| pod.containers.first()) else {
        return;
    };
    let first = first.name.clone();
    let worker = match handler {
        HandlerConfig::Http(_) => WORKER_CONTAINER.to_owned(),
        HandlerConfig::Exec { .. } | HandlerConfig::Stdio { .. } | HandlerConfig::Native {} => {
            first.clone()
        }
    };
    let metadata = template.metadata.get_or_insert_default();
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(WORKER_CONTAINER_ANNOTATION.to_owned(), worker);
    annotations
        .entry(DEFAULT_CONTAINER.to_owned())
        .or_insert(first);
}

/// Has the first container stopped by the signal that a worker expects: what its image says is for
/// another program. Kubernetes wants to know the system then, and the worker's binary runs on Linux
/// alone.
fn stop_by_sigterm(pod: &mut PodSpec) {
    let system = pod.os.get_or_insert_with(|| PodOS {
        name: "linux".to_owned(),
    });
    if system.name != "linux" {
        return;
    }
    if let Some(container) = pod.containers.first_mut() {
        let lifecycle = container.lifecycle.get_or_insert_default();
        lifecycle.stop_signal.get_or_insert(STOP_SIGNAL.to_owned());
    }
}

/// Whether the worker is brought into the user's container and starts the user's command there.
fn runs_inside(handler: &HandlerConfig) -> bool {
    match handler {
        HandlerConfig::Exec { .. } | HandlerConfig::Stdio { .. } => true,
        HandlerConfig::Http(_) | HandlerConfig::Native {} => false,
    }
}

fn grace_period(worker: &ValidWorker) -> i64 {
    let drain = worker.drain_timeout.as_secs_f64().ceil();
    // At most an hour by the rules of the resource, so nothing is cut off.
    #[allow(clippy::cast_possible_truncation)]
    let drain = drain as i64;
    drain + GRACE_AFTER_DRAIN
}

/// Adds our labels. Those that select the pods must be ours; the others may be the template's.
fn label(metadata: &mut Option<ObjectMeta>, valid: &ValidQueue) {
    let labels = metadata
        .get_or_insert_with(ObjectMeta::default)
        .labels
        .get_or_insert_with(BTreeMap::new);
    for (name, value) in deployment::labels(valid) {
        labels.entry(name).or_insert(value);
    }
    labels.extend(deployment::selector(&valid.key.name));
}

/// Pods with another mark are other pods, so that a changed Secret rolls them out: a variable keeps
/// its value for as long as its pod lives.
pub fn mark_credentials(template: &mut PodTemplateSpec, mark: &str) {
    let metadata = template.metadata.get_or_insert_default();
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(CREDENTIALS.to_owned(), mark.to_owned());
}

/// The pod of a TaskQueue without a template: the worker's own image with its demo handlers.
fn demo_pod(worker: &ValidWorker, image: &WorkerImage) -> PodSpec {
    PodSpec {
        containers: vec![Container {
            name: "worker".to_owned(),
            image: Some(image.name.clone()),
            image_pull_policy: image.pull_policy.clone(),
            resources: resources::of_demo(worker, image),
            security_context: Some(restricted()),
            ..Container::default()
        }],
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

/// Configures the worker in its container.
fn configure(
    container: &mut Container,
    valid: &ValidQueue,
    redis: PodRedis,
    drain_token: Option<DrainToken>,
) {
    let config = WorkerConfig {
        queue: valid.queue.clone(),
        // Rendered apart, since it may come from a Secret.
        redis_url: RedisUrl::new(""),
        redis_tls: RedisTls::default(),
        concurrency: valid.worker.concurrency,
        handler: valid.worker.handler.clone(),
        drain_timeout: valid.worker.drain_timeout,
        http_address: DEFAULT_HTTP_ADDRESS,
        pod_name: None,
        node_name: None,
        drain_token,
        log_format: LogFormat::Json,
    };
    let env = container.env.get_or_insert_with(Vec::new);
    env.extend(config.to_env().into_iter().map(|(name, value)| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        value_from: None,
    }));
    let (value, value_from) = match redis {
        PodRedis::Value(url) => (Some(url), None),
        PodRedis::From(source) => (None, Some(*source)),
    };
    env.push(EnvVar {
        name: REDIS_URL_VARIABLE.to_owned(),
        value,
        value_from,
    });
    let certificates = secret::certificates(valid).into_iter();
    env.extend(certificates.map(|(name, source)| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(source),
    }));
    env.push(from_field(POD_NAME_VARIABLE, "metadata.name"));
    env.push(from_field(NODE_NAME_VARIABLE, "spec.nodeName"));

    expose(container);
    container
        .readiness_probe
        .get_or_insert_with(|| probe("/readyz", 1));
    container.liveness_probe.get_or_insert_with(|| Probe {
        // A loaded node may keep it waiting; one that hangs will not answer at all.
        timeout_seconds: Some(5),
        // And it can finish nothing: its tasks have been elsewhere since their leases lapsed.
        termination_grace_period_seconds: Some(GRACE_OF_A_HUNG_WORKER),
        ..probe("/livez", 10)
    });
}

/// Declares the worker's port, unless the template does: a port may be declared once only.
fn expose(container: &mut Container) {
    let port = i32::from(DEFAULT_HTTP_ADDRESS.port());
    let ports = container.ports.get_or_insert_with(Vec::new);
    let tcp = |protocol: Option<&str>| protocol.is_none_or(|protocol| protocol == "TCP");
    let declared = ports
        .iter()
        .any(|given| given.container_port == port && tcp(given.protocol.as_deref()));
    if !declared {
        ports.push(ContainerPort {
            name: Some(PORT.to_owned()),
            container_port: port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        });
    }
}

fn from_field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: path.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    }
}

fn probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            // By number: a template may declare the port under another name.
            port: IntOrString::Int(i32::from(DEFAULT_HTTP_ADDRESS.port())),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

pub(super) fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            add: None,
            drop: Some(vec!["ALL".to_owned()]),
        }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        seccomp_profile: Some(runtime_default()),
        ..SecurityContext::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        localhost_profile: None,
    }
}

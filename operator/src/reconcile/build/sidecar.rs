//! The worker as a container of its own, beside a server that handles tasks over HTTP.

use std::path::Path;

use k8s_openapi::{
    api::core::v1::{
        Container, HTTPGetAction, HTTPHeader, Lifecycle, LifecycleHandler, PodSpec,
        SecurityContext, VolumeMount,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use taskqueue_api::WORKER_CONTAINER;
use taskqueue_worker::config::{DEFAULT_HTTP_ADDRESS, DrainToken, HttpHandler};

use super::{
    super::validate::{Invalid, ValidQueue, ValidWorker},
    pod, resources,
};
use crate::config::WorkerImage;

/// Says what in a template would get in the way of the worker's container.
pub(super) fn check(pod: &PodSpec, http: &HttpHandler) -> Result<(), Invalid> {
    let conflict = |field: String, reason| {
        Err(Invalid::TemplateConflict {
            field: format!("spec.worker.template.spec.{field}"),
            handler: "http",
            reason,
        })
    };
    let own = i32::from(DEFAULT_HTTP_ADDRESS.port());
    for (place, container) in pod.containers.iter().enumerate() {
        let mut ports = container.ports.iter().flatten();
        if ports.any(|port| port.container_port == own) {
            return conflict(
                format!("containers[{place}].ports {own}"),
                "the worker's own probes and metrics are there",
            );
        }
    }
    let lifecycle = pod
        .containers
        .first()
        .and_then(|one| one.lifecycle.as_ref());
    if lifecycle.is_some_and(|lifecycle| lifecycle.pre_stop.is_some()) {
        return conflict(
            "containers[0].lifecycle.preStop".to_owned(),
            "the operator sets it, so that the server is stopped only after its last task",
        );
    }
    match &http.socket {
        Some(socket) if mount_of(pod, socket).is_none() => {
            Err(Invalid::SocketVolume(socket.clone()))
        }
        _ => Ok(()),
    }
}

/// The worker's container, not configured yet.
pub(super) fn container(
    pod: &PodSpec,
    worker: &ValidWorker,
    http: &HttpHandler,
    image: &WorkerImage,
) -> Container {
    let mount = http
        .socket
        .as_ref()
        .and_then(|socket| mount_of(pod, socket));
    // A socket belongs to whoever made it: the worker is that user too, if the template says who.
    let first = pod.containers.first();
    let context = first.and_then(|first| first.security_context.as_ref());
    let shared = context.filter(|_| mount.is_some());
    Container {
        name: WORKER_CONTAINER.to_owned(),
        image: Some(image.name.clone()),
        image_pull_policy: image.pull_policy.clone(),
        volume_mounts: mount.map(|mount| vec![mount]),
        resources: Some(resources::of_sidecar(worker, image)),
        security_context: Some(SecurityContext {
            run_as_user: shared.and_then(|shared| shared.run_as_user),
            run_as_group: shared.and_then(|shared| shared.run_as_group),
            ..pod::restricted()
        }),
        ..Container::default()
    }
}

/// What the hook of the server shows to the worker: the TaskQueue's uid. No pod that has no rights in the API can know it,
/// and it is the same in every pass, so that nothing has to be kept for it. Who may read TaskQueues, Deployments or pods of
/// the namespace can read it. In a header, since a path is in logs and Events of the kubelet, and a worker from before there
/// was a token passes over it.
pub(super) fn drain_token(valid: &ValidQueue) -> Option<DrainToken> {
    DrainToken::new(&valid.owner.uid)
}

/// Adds the worker's container, and has the server's wait for its last task before it is stopped.
pub(super) fn add(pod: &mut PodSpec, worker: Container, token: Option<&DrainToken>) {
    if let Some(server) = pod.containers.first_mut() {
        let hook = LifecycleHandler {
            http_get: Some(HTTPGetAction {
                path: Some("/drain".to_owned()),
                port: IntOrString::Int(i32::from(DEFAULT_HTTP_ADDRESS.port())),
                http_headers: token.map(|token| {
                    vec![HTTPHeader {
                        name: "Authorization".to_owned(),
                        value: token.authorization(),
                    }]
                }),
                ..HTTPGetAction::default()
            }),
            ..LifecycleHandler::default()
        };
        server
            .lifecycle
            .get_or_insert_with(Lifecycle::default)
            .pre_stop = Some(hook);
    }
    pod.containers.push(worker);
}

/// How the first container mounts the volume that the socket is on.
fn mount_of(pod: &PodSpec, socket: &str) -> Option<VolumeMount> {
    let mounts = pod.containers.first()?.volume_mounts.iter().flatten();
    let holds = |mount: &&VolumeMount| Path::new(socket).starts_with(&mount.mount_path);
    let nearest = mounts
        .filter(holds)
        .max_by_key(|mount| mount.mount_path.len())?;
    Some(VolumeMount {
        read_only: None,
        ..nearest.clone()
    })
}

//! The init container that brings the worker's static binary into the user's first container, where
//! the worker then runs, so that any image can run tasks.

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, PodSpec, SecurityContext, Volume, VolumeMount,
};

use super::super::validate::ValidWorker;
use super::{pod, resources};
use crate::config::WorkerImage;

/// Name of the volume that carries the worker's binary into the user's container.
pub(super) const VOLUME: &str = "taskqueue";
/// Where that volume is mounted.
const MOUNT: &str = "/taskqueue";
/// The worker's binary on that volume.
const BINARY: &str = "/taskqueue/taskqueue-worker";
/// Name of the init container that copies the binary.
const NAME: &str = "taskqueue-install";

/// Puts the worker's binary on a volume that the first container sees, and starts it there.
pub(super) fn add(pod: &mut PodSpec, worker: &ValidWorker, image: &WorkerImage) {
    let mount = |read_only| VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: MOUNT.to_owned(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    };
    pod.volumes.get_or_insert_with(Vec::new).push(Volume {
        name: VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    });
    let installer = Container {
        name: NAME.to_owned(),
        image: Some(image.name.clone()),
        image_pull_policy: image.pull_policy.clone(),
        args: Some(vec!["install".to_owned(), BINARY.to_owned()]),
        volume_mounts: Some(vec![mount(false)]),
        resources: Some(resources::of_installer(pod, worker, image)),
        security_context: Some(SecurityContext {
            // The image's own user and group, whatever the pod's: it only writes to the volume.
            run_as_user: Some(65532),
            run_as_group: Some(65532),
            ..pod::restricted()
        }),
        ..Container::default()
    };
    pod.init_containers
        .get_or_insert_with(Vec::new)
        .insert(0, installer);
    if let Some(container) = pod.containers.first_mut() {
        container.command = Some(vec![BINARY.to_owned()]);
        container
            .volume_mounts
            .get_or_insert_with(Vec::new)
            .push(mount(true));
    }
}

//! The resources of the containers that the operator adds to a worker pod: those that the TaskQueue
//! asks for, or else what is chosen here.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::super::validate::ValidWorker;
use crate::config::WorkerImage;

/// What a container that only copies a file needs. Devices and claims are none of it: they would be
/// set up for the user's image, and not for ours.
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Of the container that brings the worker in. By default those of the first container: what the
/// namespace asks of that one (a minimum, a quota that wants limits) it asks of every container, and an
/// init container that wants no more than another adds nothing to what the pod does.
pub(super) fn of_installer(
    pod: &PodSpec,
    worker: &ValidWorker,
    image: &WorkerImage,
) -> ResourceRequirements {
    let given = worker.resources.clone();
    given
        .or_else(|| of_first(pod))
        .or_else(|| image.resources.clone())
        .unwrap_or_else(|| at_least("10m", "16Mi", "64Mi"))
}

/// Of the worker in a container of its own beside a server.
pub(super) fn of_sidecar(worker: &ValidWorker, image: &WorkerImage) -> ResourceRequirements {
    let given = worker.resources.clone();
    given
        .or_else(|| image.resources.clone())
        .unwrap_or_else(|| at_least("20m", "32Mi", "512Mi"))
}

/// Of the worker's own image in a pod without a template.
pub(super) fn of_demo(worker: &ValidWorker, image: &WorkerImage) -> Option<ResourceRequirements> {
    worker.resources.clone().or_else(|| image.resources.clone())
}

fn of_first(pod: &PodSpec) -> Option<ResourceRequirements> {
    let given = pod.containers.first()?.resources.as_ref()?;
    let compute = |amounts: Option<&BTreeMap<String, Quantity>>| {
        let mut amounts = amounts?.clone();
        amounts.retain(|name, _| COMPUTE.contains(&name.as_str()));
        (!amounts.is_empty()).then_some(amounts)
    };
    let (requests, limits) = (
        compute(given.requests.as_ref()),
        compute(given.limits.as_ref()),
    );
    (requests.is_some() || limits.is_some()).then_some(ResourceRequirements {
        requests,
        limits,
        claims: None,
    })
}

/// No limit of the CPU: it would only make a start take longer.
fn at_least(cpu: &str, memory: &str, most_memory: &str) -> ResourceRequirements {
    let amount = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
    ResourceRequirements {
        requests: Some([amount("cpu", cpu), amount("memory", memory)].into()),
        limits: Some([amount("memory", most_memory)].into()),
        claims: None,
    }
}

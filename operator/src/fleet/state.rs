//! A worker pod, read: from what the API server says to the few things that count. Pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ContainerStatus, PodCondition, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Resource, ResourceExt, core::ObjectMeta};
use serde::Deserialize;
use taskqueue_api::{NAME_LABEL, WORKER_CONTAINER, WORKER_CONTAINER_ANNOTATION};
use taskqueue_queue::Cause;

use super::{
    obstacle::{self, Obstacle},
    shield::{self, Shielded},
};
use crate::key::Key;

/// Annotation by which Kubernetes chooses whom a smaller `ReplicaSet` loses: the lowest goes first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// A pod as it is watched: without most of its spec, which would be read only to be dropped.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = k8s_openapi::api::core::v1::Pod)]
pub struct WorkerPod {
    /// Name, labels, annotations and owner.
    pub metadata: ObjectMeta,
    /// Which containers it has.
    #[serde(default)]
    pub spec: Containers,
    /// What became of them.
    #[serde(default)]
    pub status: PodStatus,
}

/// What counts of a pod's spec.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct Containers {
    node_name: Option<String>,
    containers: Vec<Named>,
}

#[derive(Deserialize, Clone, Debug)]
struct Named {
    name: String,
}

/// How far a pod has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No node has it, so that there was never a worker in it.
    Unplaced,
    /// A node has it: there may be a worker in it, whatever is known of its containers, of which a
    /// busy node tells seconds late.
    Placed,
    /// It has come to its end and will not run again; Kubernetes keeps it for a look at it.
    Ended,
}

/// A worker pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState {
    /// Its name.
    pub name: String,
    /// No other pod ever has it.
    pub uid: String,
    /// When it was made, to the second.
    pub created: Timestamp,
    /// How far it has come.
    pub stage: Stage,
    /// Since when its worker runs, to the second; `None` while it does not.
    pub started: Option<Timestamp>,
    /// Whether it is ready.
    pub ready: bool,
    /// Since when, to the second.
    pub ready_since: Option<Timestamp>,
    /// It is being deleted: it takes no part in the fleet any more, but may still run tasks.
    pub deleting: bool,
    /// What it costs to delete it, where that was said.
    pub deletion_cost: Option<i32>,
    /// Whether node autoscalers are asked to leave it alone.
    pub shielded: Shielded,
    /// What keeps it from working.
    pub obstacle: Option<Obstacle>,
    /// Somebody other than its worker ends it.
    pub disruption: Option<Disruption>,
    /// How its worker ended last.
    pub termination: Option<Termination>,
}

/// Why somebody else ends a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disruption {
    /// What that is for its tasks.
    pub cause: Cause,
    /// Kubernetes' own words.
    pub detail: String,
}

/// The end of one run of the worker's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination {
    /// Which run it was: no two have the same.
    pub container_id: String,
    /// When it ended, to the second, by the clock of the node; `None` when that was lost.
    pub finished: Option<Timestamp>,
    /// Exit code, 128 and the number of the signal when one ended it.
    pub exit_code: i32,
    /// Kubernetes' reason, such as `OOMKilled`, `Error` or `Completed`.
    pub reason: String,
}

impl PodState {
    /// Whether it takes part in the fleet: it is not about to go, and has not come to its end.
    pub fn takes_part(&self) -> bool {
        !self.deleting && self.stage != Stage::Ended
    }
}

impl WorkerPod {
    /// The TaskQueue that the pod works for, if it is one of a Deployment's.
    pub fn key(&self) -> Option<Key> {
        let of_replica_set = |owner: &&_| {
            let owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference = owner;
            owner.controller == Some(true) && owner.kind == "ReplicaSet"
        };
        self.owner_references().iter().find(of_replica_set)?;
        Some(Key {
            namespace: self.namespace()?,
            name: self.labels().get(NAME_LABEL)?.clone(),
        })
    }

    /// What the pod says of itself.
    pub fn state(&self) -> PodState {
        let ready = self.condition("Ready").filter(|ready| holds(ready));
        let worker = self.worker();
        PodState {
            name: self.name_any(),
            uid: self.uid().unwrap_or_default(),
            created: self
                .creation_timestamp()
                .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            stage: self.stage(),
            started: worker.and_then(running_since),
            ready: ready.is_some(),
            ready_since: ready.and_then(|ready| when(ready.last_transition_time.as_ref())),
            deleting: self.metadata.deletion_timestamp.is_some(),
            deletion_cost: self
                .annotations()
                .get(DELETION_COST)
                .and_then(|cost| cost.parse().ok()),
            shielded: self.shielded(),
            obstacle: obstacle::of_pod(&self.status, self.worker_container()),
            disruption: self.disruption(),
            termination: worker.and_then(termination),
        }
    }

    fn stage(&self) -> Stage {
        match (self.status.phase.as_deref(), &self.spec.node_name) {
            (Some("Succeeded" | "Failed"), _) => Stage::Ended,
            (_, Some(_)) => Stage::Placed,
            (_, None) => Stage::Unplaced,
        }
    }

    /// The state of the container that the worker runs in. Kubernetes lists them by name.
    fn worker(&self) -> Option<&ContainerStatus> {
        let name = self.worker_container()?;
        let states = self.status.container_statuses.iter().flatten();
        states.into_iter().find(|state| state.name == name)
    }

    /// Its name, as the operator wrote it on the pod. On one that is older than that annotation: the
    /// worker's own container, or else the first one.
    fn worker_container(&self) -> Option<&str> {
        let containers = &self.spec.containers;
        let told = self.annotations().get(WORKER_CONTAINER_ANNOTATION);
        let named = |name: &str| containers.iter().find(|one| one.name == name);
        let found = told
            .and_then(|name| named(name))
            .or_else(|| named(WORKER_CONTAINER))
            .or_else(|| containers.first())?;
        Some(&found.name)
    }

    fn shielded(&self) -> Shielded {
        let annotations = self.annotations();
        if annotations.contains_key(shield::OURS) {
            Shielded::ByUs
        } else if shield::ASKED_FOR
            .iter()
            .any(|(name, _)| annotations.contains_key(*name))
        {
            Shielded::ByAnother
        } else {
            Shielded::No
        }
    }

    fn condition(&self, kind: &str) -> Option<&PodCondition> {
        condition(&self.status, kind)
    }

    fn disruption(&self) -> Option<Disruption> {
        let condition = self.condition("DisruptionTarget").filter(|it| holds(it));
        let (reason, message) = match (condition, self.status.reason.as_deref()) {
            (Some(condition), _) => (condition.reason.as_deref()?, condition.message.as_deref()),
            // The kubelet says so when it evicts or shuts down, the node's controller when it is lost.
            (None, Some(reason @ ("Evicted" | "Preempting" | "Terminated" | "NodeLost"))) => {
                (reason, self.status.message.as_deref())
            }
            (None, _) => return None,
        };
        let cause = match reason {
            // The node is gone, and whatever ran there with it.
            "DeletionByPodGC" | "NodeLost" => Cause::WorkerLost,
            _ => Cause::Evicted,
        };
        let detail = match message {
            Some(message) if !message.is_empty() => format!("{reason}: {message}"),
            _ => reason.to_owned(),
        };
        Some(Disruption { cause, detail })
    }
}

/// A condition of a pod.
pub(super) fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == kind)
}

fn holds(condition: &PodCondition) -> bool {
    condition.status == "True"
}

fn when(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

fn running_since(container: &ContainerStatus) -> Option<Timestamp> {
    let running = container.state.as_ref()?.running.as_ref()?;
    when(running.started_at.as_ref())
}

/// The last end: that of this run, or that of the one before.
fn termination(container: &ContainerStatus) -> Option<Termination> {
    let states = [container.state.as_ref(), container.last_state.as_ref()];
    let ended = states
        .into_iter()
        .flatten()
        .find_map(|state| state.terminated.as_ref())?;
    let id = ended.container_id.clone().unwrap_or_default();
    Some(Termination {
        container_id: if id.is_empty() {
            // One that never began has none; it is told apart by which try it was.
            format!("{}", container.restart_count)
        } else {
            id
        },
        finished: when(ended.finished_at.as_ref()),
        exit_code: ended.exit_code,
        reason: ended.reason.clone().unwrap_or_default(),
    })
}

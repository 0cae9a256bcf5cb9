//! The shield: pods that run a long task are marked, so that node autoscalers leave them alone, and
//! the mark is taken away when they run none any more. [`Shield`] plans, purely; [`keep`] reads, and
//! writes what was planned.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use taskqueue_queue::{Error, Queue, TaskId, WorkerId};
use tokio::time::Instant;

use super::{pods::Pods, state::PodState};
use crate::{key::Key, reconcile::apply::MANAGER};

/// What Karpenter and the cluster autoscaler heed.
pub(super) const ASKED_FOR: [(&str, &str); 2] = [
    ("karpenter.sh/do-not-disrupt", "true"),
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
];
/// Tells our mark from one that the pod's template sets for good.
pub(super) const OURS: &str = "taskqueue.dev/shielded";

/// Whether node autoscalers are asked to leave a pod alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shielded {
    /// They are not.
    #[default]
    No,
    /// By us.
    ByUs,
    /// By somebody else, in whose way we must not get.
    ByAnother,
}

/// How long the tasks of a queue have been held, as far as that was seen.
#[derive(Debug, Default)]
pub struct Shield {
    held: HashMap<(TaskId, WorkerId), Held>,
    looked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    /// When it was first seen.
    since: Instant,
    /// It was held before that, nobody knows for how long.
    before: bool,
}

/// What is to be done to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// Whether it is to be shielded, or to be so no more.
    pub shield: bool,
}

impl Shield {
    /// Plans after a look at who holds what. A pod is to be shielded while one of its tasks has been
    /// held for `after` or longer. How long those of the first look had been held is not known: they
    /// count from that look, and keep a shield that is there.
    pub fn plan(
        &mut self,
        leases: &[(TaskId, WorkerId)],
        pod_of: &HashMap<WorkerId, String>,
        pods: &[PodState],
        after: Duration,
        now: Instant,
    ) -> Vec<Step> {
        let (mut old, mut unknown) = (HashSet::new(), HashSet::new());
        let first = !std::mem::replace(&mut self.looked, true);
        let mut all = HashMap::with_capacity(leases.len());
        for lease in leases {
            let new = Held {
                since: now,
                before: first,
            };
            let held = self.held.get(lease).copied().unwrap_or(new);
            all.insert(*lease, held);
            if let Some(pod) = pod_of.get(&lease.1) {
                if now - held.since >= after {
                    old.insert(pod.as_str());
                } else if held.before {
                    unknown.insert(pod.as_str());
                }
            }
        }
        self.held = all;
        let step = |pod: &PodState, shield| Step {
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            shield,
        };
        let plan = pods.iter().filter(|pod| !pod.deleting).filter_map(|pod| {
            let name = pod.name.as_str();
            match pod.shielded {
                Shielded::No if old.contains(name) => Some(step(pod, true)),
                Shielded::ByUs if !old.contains(name) && !unknown.contains(name) => {
                    Some(step(pod, false))
                }
                Shielded::No | Shielded::ByUs | Shielded::ByAnother => None,
            }
        });
        plan.collect()
    }
}

/// Brings the shields of a queue's pods up to date: reads who holds what, and writes what has
/// changed. `after` is how long a task must have run; `None` takes every shield away.
pub async fn keep(
    client: &Client,
    queue: &Queue,
    pods: &Pods,
    key: &Key,
    shield: &mut Shield,
    after: Option<Duration>,
) -> Result<(), Error> {
    let present = pods.of(key);
    let steps = match after {
        None => {
            *shield = Shield::default();
            shield.plan(
                &[],
                &HashMap::new(),
                &present,
                Duration::ZERO,
                Instant::now(),
            )
        }
        Some(after) => {
            let workers = queue.workers().await?.into_iter();
            let pod_of = workers.map(|worker| (worker.id, worker.pod)).collect();
            let leases = queue.leases().await?;
            shield.plan(&leases, &pod_of, &present, after, Instant::now())
        }
    };
    let api: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
    for step in steps {
        write(&api, key, &step).await;
    }
    Ok(())
}

/// A write that fails is planned again by the next look.
async fn write(api: &Api<Pod>, key: &Key, step: &Step) {
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let Step { pod, uid, shield } = step;
    match api
        .patch_metadata(pod, &params, &Patch::Merge(patch(uid, *shield)))
        .await
    {
        Ok(_) => tracing::info!(queue = %key, pod, shield, "a pod's shield was changed"),
        // It went, or there is another one of its name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => {
            tracing::warn!(queue = %key, pod, shield, %error, "cannot change a pod's shield");
        }
    }
}

fn patch(uid: &str, shield: bool) -> Value {
    let value = |value: &str| if shield { json!(value) } else { Value::Null };
    let mut annotations = serde_json::Map::new();
    annotations.insert(OURS.to_owned(), value("true"));
    for (name, asked) in ASKED_FOR {
        annotations.insert(name.to_owned(), value(asked));
    }
    // Under another uid it is refused.
    json!({ "metadata": { "uid": uid, "annotations": annotations } })
}

//! A node that is this program: it reports pods as running as soon as they are bound to it, and
//! runs a real worker for each.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use taskqueue_api::NAME_LABEL;
use taskqueue_e2e::Story;
use taskqueue_queue::worker::{LeasedTask, Probe, Worker, WorkerInfo};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::load::{Tally, Work};

/// What pods are taken by, lowest first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Label and taint of simulated nodes, so that their pods and no others are bound to them.
pub(crate) const LABEL: &str = "taskqueue.dev/simulated";
/// Tasks that one worker runs at once.
pub(crate) const CONCURRENCY: usize = 2;
/// How often the node says that it is alive; it is taken for dead after 40 s.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The node, until it leaves.
pub(crate) struct Node {
    name: String,
    api: Api<NodeObject>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// Joins the cluster.
    pub(crate) async fn join(story: &Arc<Story>, tally: Arc<Tally>) -> Self {
        let name = format!("simulated-{}", story.namespace);
        let api: Api<NodeObject> = Api::all(story.client.clone());
        let node: NodeObject = serde_json::from_value(json!({
            "metadata": { "name": name, "labels": { LABEL: name, "kubernetes.io/hostname": name } },
            "spec": { "taints": [{ "key": LABEL, "effect": "NoSchedule" }] }
        }))
        .expect("a node");
        api.create(&PostParams::default(), &node)
            .await
            .expect("the API server takes the node");
        beat(&api, &name).await;
        let stop = CancellationToken::new();
        let heart = tokio::spawn({
            let (api, name, stop) = (api.clone(), name.clone(), stop.clone());
            async move {
                let mut tick = tokio::time::interval(HEARTBEAT);
                while stop.run_until_cancelled(tick.tick()).await.is_some() {
                    beat(&api, &name).await;
                }
            }
        });
        let kubelet = Kubelet {
            story: Arc::clone(story),
            pods: Api::namespaced(story.client.clone(), &story.namespace),
            tally,
            running: HashMap::new(),
        };
        let kubelet = tokio::spawn(kubelet.run(name.clone(), stop.clone()));
        Self {
            name,
            api,
            stop,
            tasks: vec![heart, kubelet],
        }
    }

    /// Its name, which is also the value of its label.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Leaves the cluster; its pods go with their namespace.
    pub(crate) async fn leave(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("the node runs to its end");
        }
        let gone = self.api.delete(&self.name, &DeleteParams::default()).await;
        gone.expect("the API server deletes the node");
    }
}

/// Says that the node is ready and has room.
async fn beat(api: &Api<NodeObject>, name: &str) {
    let room = json!({ "cpu": "1000", "memory": "4Ti", "pods": "10000" });
    let now = jiff::Timestamp::now().to_string();
    let status = json!({ "status": {
        "capacity": room,
        "allocatable": room,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Simulated", "message": "",
            "lastHeartbeatTime": now, "lastTransitionTime": now
        }]
    }});
    let patched = api
        .patch_status(name, &PatchParams::default(), &Patch::Strategic(status))
        .await;
    if let Err(error) = patched {
        eprintln!("scale-in: the node's heartbeat failed: {error}");
    }
}

/// Runs the pods of the node.
struct Kubelet {
    story: Arc<Story>,
    pods: Api<Pod>,
    tally: Arc<Tally>,
    running: HashMap<String, Running>,
}

/// A pod's worker.
struct Running {
    stop: CancellationToken,
    probe: Probe,
    ending: bool,
}

impl Kubelet {
    async fn run(mut self, node: String, stop: CancellationToken) {
        let bound = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let mut pods = watcher(self.pods.clone(), bound)
            .default_backoff()
            .touched_objects()
            .boxed();
        while let Some(Ok(Some(pod))) = stop.run_until_cancelled(pods.try_next()).await {
            self.take(&pod);
        }
        for running in self.running.values() {
            running.stop.cancel();
        }
    }

    fn take(&mut self, pod: &Pod) {
        let name = pod.name_any();
        if pod.metadata.deletion_timestamp.is_some() {
            self.end(pod, name);
        } else if !self.running.contains_key(&name) {
            self.begin(pod, name);
        }
    }

    /// Starts the worker and says that the pod is ready.
    fn begin(&mut self, pod: &Pod, name: String) {
        let Some(queue) = pod.labels().get(NAME_LABEL) else {
            return;
        };
        let work = Work::new(Arc::clone(&self.tally));
        let handler = move |task: LeasedTask| {
            let work = work.clone();
            async move { work.run(task).await }
        };
        let worker = Worker::new(self.story.queue(queue), handler)
            .concurrency(CONCURRENCY)
            .info(WorkerInfo {
                pod: name.clone(),
                node: String::new(),
            });
        let running = Running {
            stop: CancellationToken::new(),
            probe: worker.probe(),
            ending: false,
        };
        let stop = running.stop.clone();
        self.running.insert(name.clone(), running);
        let (client, namespace) = (self.story.client.clone(), self.story.namespace.clone());
        let (pods, pod, tally) = (self.pods.clone(), pod.clone(), Arc::clone(&self.tally));
        tokio::spawn(async move {
            if say_ready(&pods, &pod, &name).await {
                let ended = worker.run(stop, CancellationToken::new()).await;
                let report = ended.expect("Redis lets the worker in");
                tally.worker_ended(&report);
            }
            gone(client, &namespace, &name).await;
        });
    }

    /// The pod is deleted: what the worker runs at this moment is interrupted, though it may finish
    /// within the grace period.
    fn end(&mut self, pod: &Pod, name: String) {
        let Some(running) = self.running.get_mut(&name) else {
            // Deleted before it was seen to run.
            let (client, namespace) = (self.story.client.clone(), self.story.namespace.clone());
            tokio::spawn(async move { gone(client, &namespace, &name).await });
            return;
        };
        if std::mem::replace(&mut running.ending, true) {
            return;
        }
        let held = running.probe.running() as u64;
        self.tally.pod_deleted(held);
        if held > 0 {
            let cost = pod.annotations().get(DELETION_COST);
            eprintln!("scale-in: pod {name} was deleted with {held} tasks, its cost {cost:?}");
        }
        running.stop.cancel();
    }
}

/// Returns whether the pod is to run: it may have been deleted meanwhile.
async fn say_ready(pods: &Api<Pod>, pod: &Pod, name: &str) -> bool {
    let now = jiff::Timestamp::now().to_string();
    let ready = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now });
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers: Vec<_> = containers
        .map(|container| {
            json!({
                "name": container.name, "image": "simulated", "imageID": "simulated", "ready": true,
                "started": true, "restartCount": 0, "containerID": "simulated://1",
                "state": { "running": { "startedAt": now } }
            })
        })
        .collect();
    let status = json!({ "status": {
        "phase": "Running",
        "startTime": now,
        "conditions": [ready("Initialized"), ready("ContainersReady"), ready("Ready")],
        "containerStatuses": containers
    }});
    let patched = pods
        .patch_status(name, &PatchParams::default(), &Patch::Strategic(status))
        .await;
    match patched {
        Ok(pod) => pod.metadata.deletion_timestamp.is_none(),
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => false,
        Err(error) => {
            eprintln!("scale-in: pod {name} was not reported ready: {error}");
            false
        }
    }
}

/// Says that nothing of the pod is left.
async fn gone(client: Client, namespace: &str, name: &str) {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let now = DeleteParams::default().grace_period(0);
    if let Err(error) = pods.delete(name, &now).await
        && !matches!(&error, kube::Error::Api(status) if status.code == 404)
    {
        eprintln!("scale-in: pod {name} was not removed: {error}");
    }
}

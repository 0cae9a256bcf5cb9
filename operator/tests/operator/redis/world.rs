//! The autoscaler, what it is told and what it writes.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, Response};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use kube::{
    Client,
    client::Body,
    runtime::{
        reflector::{self, store::Writer},
        watcher::Event,
    },
};
use serde_json::{Value, json};
use taskqueue_operator::{
    allowed::AllowedRedis,
    autoscaler::{self, Shared, shrink::COST},
    dialing::Dialing,
    events,
    fleet::{DELETION_COST, Pods, WorkerPod},
    index::{Index, Sight},
    key::Key,
    metrics::Metrics,
    workload::Workload,
};
use taskqueue_queue::{
    NewTask, Payload, Queue, QueueName,
    testing::{RedisServer, eventually},
    worker::WorkerInfo,
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tower_test::mock::{Handle, pair};

use crate::fixtures::{Edit, endpoint, orders, standing};

/// Time between two looks.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// Far longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn key(name: &str) -> Key {
    Key {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

pub(crate) async fn queue(redis: &RedisServer, name: &str) -> Queue {
    let name = QueueName::new("shop", name).unwrap();
    redis.client().await.queue(name)
}

pub(crate) fn task() -> NewTask {
    NewTask::new("resize", Payload::json("{}").unwrap())
}

/// What a worker in this pod says of itself.
pub(crate) fn pod(name: &str) -> WorkerInfo {
    WorkerInfo {
        pod: name.to_owned(),
        ..WorkerInfo::default()
    }
}

/// A running autoscaler. Its API server does what it is asked, so that a Deployment has the
/// replicas that were written last and pods have their costs.
pub(crate) struct World {
    pub(crate) index: Arc<Index>,
    pub(crate) metrics: Arc<Metrics>,
    writes: mpsc::UnboundedReceiver<(Key, u32)>,
    costs: mpsc::UnboundedReceiver<(String, Option<i32>)>,
    cluster: Arc<Cluster>,
    stop: CancellationToken,
    running: JoinHandle<()>,
    server: JoinHandle<()>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_failing_writes(0)
    }

    /// TaskQueues may name these Redis alone.
    pub(crate) fn with_allowed(list: &str) -> Self {
        Self::with(0, list)
    }

    /// The first so many scale writes fail.
    pub(crate) fn with_failing_writes(failures: usize) -> Self {
        Self::with(failures, "127.0.0.0/8")
    }

    fn with(failures: usize, allowed: &str) -> Self {
        let (service, handle) = pair();
        let client = Client::new(service, "default");
        let (resources, _) = reflector::store();
        let (workloads, cache) = reflector::store();
        let (tell, writes) = mpsc::unbounded_channel();
        let (tell_cost, costs) = mpsc::unbounded_channel();
        let cluster = Arc::new(Cluster {
            workloads: Arc::new(Mutex::new(cache)),
            pods: Arc::default(),
            fleet: Mutex::default(),
            writes: tell,
            costs: tell_cost,
            failures: Mutex::new(failures),
            silent: Mutex::default(),
        });
        let server = tokio::spawn(Arc::clone(&cluster).serve(handle));
        let index = Arc::new(Index::default());
        let metrics = Arc::new(Metrics::default());
        let (events, _) = events::channel(client.clone(), "operator-0", resources);
        let shared = Shared {
            client,
            index: Arc::clone(&index),
            workloads,
            targets: Arc::default(),
            dialing: Dialing::new(None, AllowedRedis::parse(allowed).unwrap()),
            pods: Arc::clone(&cluster.pods),
            events,
            metrics: Arc::clone(&metrics),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(autoscaler::run(Arc::new(shared), stop.clone()));
        Self {
            index,
            metrics,
            writes,
            costs,
            cluster,
            stop,
            running,
            server,
        }
    }

    /// A TaskQueue of this name with its queue in the Redis at `url`.
    pub(crate) fn orders(&self, name: &str, url: &str, edits: &[Edit]) {
        let mut orders = orders(edits);
        orders.queue = QueueName::new("shop", name).unwrap();
        orders.endpoint = endpoint(url);
        self.index.order(&key(name), Ok(orders));
    }

    /// Its Deployment has so many replicas.
    pub(crate) fn stands(&self, name: &str, replicas: i32) {
        stands(&self.cluster.workloads, name, replicas);
    }

    /// A HorizontalPodAutoscaler has given it so many.
    pub(crate) fn autoscales(&self, name: &str, replicas: i32) {
        let mut deployment = deployment(name, replicas);
        let by = json!({
            "manager": "kube-controller-manager", "operation": "Update", "subresource": "scale",
            "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:replicas": {} } }
        });
        deployment.metadata.managed_fields = Some(vec![serde_json::from_value(by).unwrap()]);
        shows_deployment(&self.cluster.workloads, deployment);
    }

    /// It has these pods, all ready and the only ones that there are.
    pub(crate) fn runs(&self, name: &str, pods: &[&str]) {
        let pods = pods.iter().map(|pod| Pod {
            name: (*pod).to_owned(),
            ready: true,
            cost: None,
        });
        self.cluster.runs(name, pods.collect());
    }

    /// The watch of the pods shows this.
    pub(crate) fn shows(&self, event: Event<WorkerPod>) {
        self.cluster.shows(event);
    }

    /// A pod of it is gone.
    pub(crate) fn loses(&self, name: &str, pod: &str) {
        self.cluster.loses(name, pod);
    }

    /// Its pods that are left.
    pub(crate) fn left(&self, name: &str) -> Vec<String> {
        let fleet = self.cluster.fleet.lock().unwrap();
        let mut left: Vec<_> = fleet[name].iter().map(|pod| pod.name.clone()).collect();
        left.sort();
        left
    }

    /// A pod carries our deletion cost.
    pub(crate) fn marks(&self, pod: &str) {
        self.cluster.costs(pod, Some(COST));
    }

    /// Writes of its replicas get no answer.
    pub(crate) fn silences(&self, name: &str) {
        self.cluster.silent.lock().unwrap().insert(name.to_owned());
    }

    /// The next write of a deletion cost.
    pub(crate) async fn cost(&mut self) -> (String, Option<i32>) {
        let cost = timeout(PATIENCE, self.costs.recv()).await;
        cost.expect("no cost was written")
            .expect("the API server failed")
    }

    pub(crate) fn sight(&self, name: &str) -> Option<Arc<Sight>> {
        self.index.get(&key(name))?.sight
    }

    /// The next sight of the queue that `fits`.
    pub(crate) async fn sees(
        &self,
        name: &str,
        what: &str,
        fits: impl Fn(&Sight) -> bool,
    ) -> Arc<Sight> {
        let before = self.sight(name);
        let is_news = |sight: &Arc<Sight>| {
            before
                .as_ref()
                .is_none_or(|before| !Arc::ptr_eq(before, sight))
        };
        eventually(PATIENCE, what, async || {
            self.sight(name)
                .filter(|sight| is_news(sight) && fits(sight))
        })
        .await
    }

    /// The next look at the queue.
    pub(crate) async fn looks(&self, name: &str) -> Arc<Sight> {
        self.sees(name, "a look", |_| true).await
    }

    /// The next write of replicas.
    pub(crate) async fn write(&mut self) -> (Key, u32) {
        let write = timeout(PATIENCE, self.writes.recv()).await;
        write
            .expect("nothing was written")
            .expect("the API server failed")
    }

    /// Ends the autoscaler; returns the writes that were not taken yet.
    pub(crate) async fn end(mut self) -> Vec<(Key, u32)> {
        self.stop.cancel();
        timeout(PATIENCE, self.running)
            .await
            .expect("it does not stop")
            .unwrap();
        self.server.await.unwrap();
        let mut left = Vec::new();
        while let Ok(write) = self.writes.try_recv() {
            left.push(write);
        }
        left
    }
}

fn stands(workloads: &Mutex<Writer<Workload>>, name: &str, replicas: i32) {
    shows_deployment(workloads, deployment(name, replicas));
}

fn deployment(name: &str, replicas: i32) -> Deployment {
    let mut deployment = standing(1, replicas);
    deployment.metadata.name = Some(name.to_owned());
    deployment.status = Some(DeploymentStatus {
        observed_generation: Some(1),
        ..DeploymentStatus::default()
    });
    deployment
}

fn shows_deployment(workloads: &Mutex<Writer<Workload>>, deployment: Deployment) {
    workloads
        .lock()
        .unwrap()
        .apply_watcher_event(&Event::Apply(deployment.into()));
}

/// A pod of the Deployment `name` as the watch shows it.
fn worker_pod(name: &str, pod: &Pod) -> WorkerPod {
    let cost = pod.cost.map(|cost| cost.to_string());
    let ready = if pod.ready { "True" } else { "False" };
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod.name, "namespace": "shop", "uid": pod.name,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": { "taskqueue.dev/name": name },
            "annotations": { DELETION_COST: cost.unwrap_or_default() },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "0", "controller": true
            }]
        },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "worker" }] },
        "status": {
            "phase": "Running",
            "conditions": [{ "type": "Ready", "status": ready }],
            "containerStatuses": [{
                "name": "worker", "image": "", "imageID": "", "ready": pod.ready, "restartCount": 0,
                "state": { "running": { "startedAt": "2026-01-02T03:04:07Z" } }
            }]
        }
    }))
    .unwrap()
}

/// A pod of the mock.
#[derive(Clone, Debug)]
struct Pod {
    name: String,
    ready: bool,
    cost: Option<i32>,
}

/// What the mock API server knows, and the controllers behind it.
struct Cluster {
    workloads: Arc<Mutex<Writer<Workload>>>,
    /// The autoscaler's view of the pods.
    pods: Arc<Pods>,
    /// Pods by the name of their Deployment.
    fleet: Mutex<HashMap<String, Vec<Pod>>>,
    writes: mpsc::UnboundedSender<(Key, u32)>,
    costs: mpsc::UnboundedSender<(String, Option<i32>)>,
    failures: Mutex<usize>,
    /// Deployments whose scale writes get no answer.
    silent: Mutex<BTreeSet<String>>,
}

impl Cluster {
    fn shows(&self, event: Event<WorkerPod>) {
        self.pods.see(event, Instant::now(), Timestamp::now());
    }

    /// The pods of a Deployment, and no others.
    fn runs(&self, name: &str, pods: Vec<Pod>) {
        self.shows(Event::Init);
        for pod in &pods {
            self.shows(Event::InitApply(worker_pod(name, pod)));
        }
        self.shows(Event::InitDone);
        self.fleet.lock().unwrap().insert(name.to_owned(), pods);
    }

    fn loses(&self, name: &str, pod: &str) {
        let mut fleet = self.fleet.lock().unwrap();
        let pods = fleet.get_mut(name).unwrap();
        let place = pods.iter().position(|it| it.name == pod).unwrap();
        let pod = pods.remove(place);
        self.shows(Event::Delete(worker_pod(name, &pod)));
    }

    /// Takes pods as a `ReplicaSet` does, as far as its order is known.
    fn scaled(&self, name: &str, replicas: u32) {
        stands(&self.workloads, name, i32::try_from(replicas).unwrap());
        let taken: Vec<_> = {
            let mut fleet = self.fleet.lock().unwrap();
            let pods = fleet.entry(name.to_owned()).or_default();
            pods.sort_by_key(|pod| (pod.ready, pod.cost.unwrap_or(0)));
            let surplus = pods
                .len()
                .saturating_sub(usize::try_from(replicas).unwrap());
            pods[..surplus].iter().map(|pod| pod.name.clone()).collect()
        };
        for pod in taken {
            self.loses(name, &pod);
        }
    }

    fn costs(&self, pod: &str, cost: Option<i32>) {
        let mut fleet = self.fleet.lock().unwrap();
        for (name, pods) in fleet.iter_mut() {
            for it in pods.iter_mut().filter(|it| it.name == pod) {
                it.cost = cost;
                self.shows(Event::Apply(worker_pod(name, it)));
            }
        }
        let _ = self.costs.send((pod.to_owned(), cost));
    }

    async fn serve(self: Arc<Self>, mut handle: Handle<Request<Body>, Response<Body>>) {
        let mut unanswered = Vec::new();
        while let Some((request, sender)) = handle.next_request().await {
            let (parts, body) = request.into_parts();
            if parts.method == Method::GET {
                // Nobody may list autoscalers here.
                let path = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers";
                assert_eq!(parts.uri.path(), path);
                let status =
                    json!({ "kind": "Status", "status": "Failure", "code": 403, "message": "no" });
                sender.send_response(response(403, &status));
                continue;
            }
            assert_eq!(parts.method, Method::PATCH);
            let query = parts.uri.query().unwrap_or_default();
            assert!(
                query.contains("fieldManager=taskqueue-autoscaler"),
                "{query}"
            );
            let body = body.collect_bytes().await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let path = parts.uri.path();
            if let Some(pod) = path.strip_prefix("/api/v1/namespaces/shop/pods/") {
                let cost = &body["metadata"]["annotations"][DELETION_COST];
                let cost = cost.as_str().map(|cost| cost.parse().unwrap());
                self.costs(pod, cost);
                let answer = json!({
                    "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                    "metadata": { "name": pod }
                });
                sender.send_response(response(200, &answer));
                continue;
            }
            let name = path.strip_prefix("/apis/apps/v1/namespaces/shop/deployments/");
            let Some(name) = name.and_then(|rest| rest.strip_suffix("/scale")) else {
                panic!("{} {}", parts.method, parts.uri);
            };
            if self.silent.lock().unwrap().contains(name) {
                unanswered.push(sender);
                continue;
            }
            if self.fails() {
                let status = json!({ "kind": "Status", "status": "Failure", "code": 500, "message": "no leader" });
                sender.send_response(response(500, &status));
                continue;
            }
            let replicas = u32::try_from(body["spec"]["replicas"].as_u64().unwrap()).unwrap();
            self.scaled(name, replicas);
            let _ = self.writes.send((key(name), replicas));
            sender.send_response(response(200, &body));
        }
    }

    fn fails(&self) -> bool {
        let mut failures = self.failures.lock().unwrap();
        let fails = *failures > 0;
        *failures = failures.saturating_sub(1);
        fails
    }
}

fn response(code: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(serde_json::to_vec(body).unwrap()));
    *response.status_mut() = code.try_into().unwrap();
    response
}

//! A namespace with a TaskQueue in it, for the length of one story.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret},
};
use kube::{Api, Client, api::ListParams};
use taskqueue_api::{NAME_LABEL, TaskQueue, TaskQueueStatus};
use taskqueue_queue::{
    Endpoint, Enqueued, NewTask, Payload, Queue, QueueName, Snapshot, Task, TaskId,
};
use tokio::time::{Instant, sleep};

use crate::{SYSTEM, forward::Route, kubectl, tq, try_kubectl};

/// How long a condition is awaited.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub Duration);

impl Patience {
    /// For what takes seconds.
    pub const NORMAL: Self = Self(Duration::from_mins(1));
    /// For what waits for leases, backoffs or many pods.
    pub const LONG: Self = Self(Duration::from_secs(150));
}

/// Awaits a condition: `look` returns `Ok` when it holds, else what there is instead.
pub async fn eventually<T, E: Debug>(
    what: &str,
    patience: Patience,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + patience.0;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) if Instant::now() > deadline => {
                panic!("{what}: not within {:?}; at last: {instead:?}", patience.0)
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// What a server answers, asked again where it did not: a look that fails is no end of a story.
async fn answered<T, E: Debug>(who: &str, ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    eventually(&format!("an answer of {who}"), Patience::NORMAL, ask).await
}

async fn connected(redis: &str) -> taskqueue_queue::Client {
    let endpoint = Endpoint::parse(redis).expect("the address of a Service makes a URL");
    eventually("a connection to Redis", Patience::NORMAL, async || {
        taskqueue_queue::Client::connect(&endpoint).await
    })
    .await
}

async fn admin() -> Client {
    let client = Client::try_default().await;
    client.expect("a kubeconfig: run make test-cluster")
}

/// A namespace of its own, deleted when the story ends.
pub struct Story {
    /// The API server.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
    /// The queue's Redis, as this machine reaches it.
    pub redis: String,
    queues: taskqueue_queue::Client,
    _route: Route,
}

impl Story {
    /// A story on the Redis of the release.
    pub async fn begin(name: &str) -> Self {
        let namespace = fresh_namespace(name);
        let client = admin().await;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
        let secret = secrets.get("taskqueue-redis-auth").await;
        let data = secret
            .expect("the release has a Redis: run make install")
            .data;
        let password = data.and_then(|mut data| data.remove("password"));
        let password = String::from_utf8(password.expect("there is a password").0);
        let login = format!(":{}@", password.expect("the password is text"));
        Self::on(client, namespace, &login, SYSTEM, "taskqueue-redis").await
    }

    /// A story on a Redis of its own, which the story may stop. The TaskQueue must name
    /// `redis://redis:6379`... of this namespace; see [`Story::own_redis_url`].
    pub async fn begin_with_own_redis(name: &str) -> Self {
        let namespace = fresh_namespace(name);
        let manifest = OWN_REDIS.replace("NAMESPACE", &namespace);
        kubectl(&["apply", "-n", &namespace, "-f", "-"], &manifest);
        let rollout = [
            "rollout",
            "status",
            "-n",
            &namespace,
            "deployment/redis",
            "--timeout=60s",
        ];
        kubectl(&rollout, "");
        let service = namespace.clone();
        Self::on(admin().await, namespace, "", &service, "redis").await
    }

    /// `login` is what stands before the host in the URL of the Redis.
    async fn on(
        client: Client,
        namespace: String,
        login: &str,
        redis_namespace: &str,
        service: &str,
    ) -> Self {
        let route = Route::to(redis_namespace, service, 6379);
        let redis = format!("redis://{login}{}", route.address);
        let queues = connected(&redis).await;
        Self {
            client,
            namespace,
            redis,
            queues,
            _route: route,
        }
    }

    /// URL of the story's own Redis inside the cluster.
    pub fn own_redis_url(&self) -> String {
        format!("redis://redis.{}.svc:6379", self.namespace)
    }

    /// `kubectl apply` of a manifest in the story's namespace.
    pub fn apply(&self, manifest: &str) -> String {
        kubectl(&["apply", "-n", &self.namespace, "-f", "-"], manifest)
    }

    /// `kubectl` in the story's namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend(arguments);
        kubectl(&all, "")
    }

    /// `kubectl` in the story's namespace: what it printed, or its error. For looks at a condition that
    /// is awaited, of which one may fail.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend(arguments);
        try_kubectl(&all, "")
    }

    /// `tq` on the story's Redis and namespace.
    pub fn tq(&self, arguments: &[&str], input: &str) -> String {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend(arguments);
        tq(&self.redis, &all, input)
    }

    /// A queue of this namespace.
    pub fn queue(&self, name: &str) -> Queue {
        let name = QueueName::new(&self.namespace, name).expect("a valid name");
        self.queues.queue(name)
    }

    /// Adds `count` tasks of one type and payload.
    pub async fn enqueue(
        &self,
        queue: &str,
        count: usize,
        kind: &str,
        payload: &str,
    ) -> Vec<TaskId> {
        let task = || {
            let payload = Payload::json(payload.as_bytes().to_vec()).expect("the payload is JSON");
            NewTask::new(kind, payload)
        };
        let enqueued = self
            .queue(queue)
            .enqueue_all((0..count).map(|_| task()))
            .await
            .expect("Redis takes the tasks");
        enqueued.iter().map(Enqueued::id).collect()
    }

    /// Connects to Redis anew: after an outage that is sooner than when the old connection finds it
    /// back.
    pub async fn reconnect(&mut self) {
        self.queues = connected(&self.redis).await;
    }

    /// The figures of a queue.
    pub async fn snapshot(&self, queue: &str) -> Result<Snapshot, String> {
        let mut all = self.queues.snapshot(&[self.queue(queue)]).await;
        match all.pop() {
            Some(snapshot) => snapshot.map_err(|error| error.to_string()),
            None => Err("no snapshot".to_owned()),
        }
    }

    /// Awaits that a queue has completed `count` tasks and holds none any more.
    pub async fn drained(&self, queue: &str, count: u64, patience: Patience) -> Snapshot {
        eventually(
            &format!("{count} tasks done in {queue}"),
            patience,
            async || {
                let snapshot = self.snapshot(queue).await?;
                let left = snapshot.backlog() + snapshot.scheduled + snapshot.active;
                if left == 0 && snapshot.counters.completed == count {
                    Ok(snapshot)
                } else {
                    Err(format!("{snapshot:?}"))
                }
            },
        )
        .await
    }

    /// A task by its id.
    pub async fn task(&self, queue: &str, id: &TaskId) -> Task {
        let holder = self.queue(queue);
        let found = answered("Redis", async || holder.get(id).await).await;
        found.unwrap_or_else(|| panic!("task {id} is gone from {queue}"))
    }

    /// The status of a TaskQueue.
    pub async fn status(&self, name: &str) -> TaskQueueStatus {
        let api: Api<TaskQueue> = Api::namespaced(self.client.clone(), &self.namespace);
        let resource = answered("the API server", async || api.get(name).await).await;
        resource.status.unwrap_or_default()
    }

    /// Awaits a condition of a TaskQueue's status.
    pub async fn status_until(
        &self,
        name: &str,
        what: &str,
        patience: Patience,
        holds: impl Fn(&TaskQueueStatus) -> bool,
    ) -> TaskQueueStatus {
        eventually(what, patience, async || {
            let status = self.status(name).await;
            if holds(&status) {
                Ok(status)
            } else {
                Err(status)
            }
        })
        .await
    }

    /// Replicas that the Deployment of a TaskQueue asks for; `None` without a Deployment.
    pub async fn replicas(&self, name: &str) -> Option<i32> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let deployment = answered("the API server", async || api.get_opt(name).await).await?;
        deployment.spec.replicas
    }

    /// The worker pods of a TaskQueue that are not being deleted.
    pub async fn pods(&self, name: &str) -> Vec<Pod> {
        let mut pods = self.all_pods(name).await;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods
    }

    /// The worker pods of a TaskQueue, those that are being deleted included.
    pub async fn all_pods(&self, name: &str) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let selector = ListParams::default().labels(&format!("{NAME_LABEL}={name}"));
        let listed = answered("the API server", async || api.list(&selector).await).await;
        listed.items
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("namespace {} is left for a look at it", self.namespace);
            return;
        }
        kubectl(
            &["delete", "namespace", &self.namespace, "--wait=false"],
            "",
        );
        // What a Redis of its own kept on the node, where the node is this machine.
        let _ = std::fs::remove_dir_all(format!("/tmp/taskqueue-{}", self.namespace));
    }
}

fn fresh_namespace(name: &str) -> String {
    let namespace = format!("e2e-{name}-{:06x}", rand::random::<u32>() & 0xff_ffff);
    kubectl(&["create", "namespace", &namespace], "");
    namespace
}

const OWN_REDIS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: redis}
spec:
  selector: {app: redis}
  ports: [{port: 6379}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec:
      terminationGracePeriodSeconds: 5
      # The folder on the node belongs to root.
      securityContext: {runAsUser: 0}
      containers:
        - name: redis
          image: localhost/taskqueue/redis:dev
          imagePullPolicy: IfNotPresent
          args: ["--protected-mode", "no", "--bind", "0.0.0.0", "--dir", "/data", "--appendonly", "yes"]
          readinessProbe: {tcpSocket: {port: 6379}, periodSeconds: 1}
          volumeMounts: [{name: data, mountPath: /data}]
      volumes:
        # It outlives the pod, as a persistent volume does, so that a restart keeps the tasks.
        - name: data
          hostPath: {path: /tmp/taskqueue-NAMESPACE, type: DirectoryOrCreate}
"#;

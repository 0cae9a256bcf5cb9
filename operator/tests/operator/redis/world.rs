//! The autoscaler, what it is told and what it writes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, Response};
use k8s_openapi::api::apps::v1::Deployment;
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
    autoscaler::{self, Shared},
    events,
    index::{Index, Sight},
    key::Key,
    metrics::Metrics,
};
use taskqueue_queue::{
    NewTask, Payload, Queue, QueueName,
    testing::{RedisServer, eventually},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tower_test::mock::{Handle, pair};

use crate::fixtures::{Edit, endpoint, orders, standing};

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

/// A running autoscaler. Its API server does what it is asked, so that a Deployment has the
/// replicas that were written last.
pub(crate) struct World {
    pub(crate) index: Arc<Index>,
    pub(crate) metrics: Arc<Metrics>,
    writes: mpsc::UnboundedReceiver<(Key, u32)>,
    deployments: Arc<Mutex<Writer<Deployment>>>,
    stop: CancellationToken,
    running: JoinHandle<()>,
    server: JoinHandle<()>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_failing_writes(0)
    }

    /// The first so many scale writes fail.
    pub(crate) fn with_failing_writes(failures: usize) -> Self {
        let (service, handle) = pair();
        let client = Client::new(service, "default");
        let (resources, _) = reflector::store();
        let (deployments, cache) = reflector::store();
        let cache = Arc::new(Mutex::new(cache));
        let (tell, writes) = mpsc::unbounded_channel();
        let server = tokio::spawn(serve(handle, Arc::clone(&cache), tell, failures));
        let index = Arc::new(Index::default());
        let metrics = Arc::new(Metrics::default());
        let (events, _) = events::channel(client.clone(), "operator-0", resources);
        let shared = Shared {
            client,
            index: Arc::clone(&index),
            deployments,
            targets: Arc::default(),
            events,
            metrics: Arc::clone(&metrics),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(autoscaler::run(Arc::new(shared), stop.clone()));
        Self {
            index,
            metrics,
            writes,
            deployments: cache,
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
        stands(&self.deployments, name, replicas);
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

fn stands(deployments: &Mutex<Writer<Deployment>>, name: &str, replicas: i32) {
    let mut deployment = standing(1, replicas);
    deployment.metadata.name = Some(name.to_owned());
    deployments
        .lock()
        .unwrap()
        .apply_watcher_event(&Event::Apply(deployment));
}

async fn serve(
    mut handle: Handle<Request<Body>, Response<Body>>,
    deployments: Arc<Mutex<Writer<Deployment>>>,
    writes: mpsc::UnboundedSender<(Key, u32)>,
    mut failures: usize,
) {
    while let Some((request, sender)) = handle.next_request().await {
        let (parts, body) = request.into_parts();
        let name = parts
            .uri
            .path()
            .strip_prefix("/apis/apps/v1/namespaces/shop/deployments/");
        let Some(name) = name.and_then(|rest| rest.strip_suffix("/scale")) else {
            panic!("{} {}", parts.method, parts.uri);
        };
        assert_eq!(parts.method, Method::PATCH);
        let query = parts.uri.query().unwrap_or_default();
        assert!(
            query.contains("fieldManager=taskqueue-autoscaler"),
            "{query}"
        );
        if failures > 0 {
            failures -= 1;
            let status = json!({ "kind": "Status", "status": "Failure", "code": 500, "message": "no leader" });
            sender.send_response(response(500, &status));
            continue;
        }
        let body = body.collect_bytes().await.unwrap();
        let scale: Value = serde_json::from_slice(&body).unwrap();
        let replicas = u32::try_from(scale["spec"]["replicas"].as_u64().unwrap()).unwrap();
        stands(&deployments, name, i32::try_from(replicas).unwrap());
        let _ = writes.send((key(name), replicas));
        sender.send_response(response(200, &scale));
    }
}

fn response(code: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(serde_json::to_vec(body).unwrap()));
    *response.status_mut() = code.try_into().unwrap();
    response
}

//! `TaskQueues` and what is made of them.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, policy::v1::PodDisruptionBudget};
use serde_json::{Value, json};
use taskqueue_api::TaskQueue;
use taskqueue_operator::{
    config::WorkerImage,
    endpoint::EndpointUrl,
    index::{Changes, Orders, Reading, Sight, SourceOrders},
    key::Key,
    rates::Rates,
    reconcile::{
        build::{self, Children},
        observe::Observed,
        validate::{Allowed, Own, Valid, ValidQueue, ValidSource, validate},
    },
};
use taskqueue_queue::{
    Counters, Policy, Snapshot,
    server::{Role, Safety, ServerReport},
};
use taskqueue_scaling::{Decision, Reason};

/// The uid of [`resource`].
pub(crate) const UID: &str = "5cf0a1de-0000-0000-0000-000000000001";

/// A field of the manifest and what it is set to.
pub(crate) type Edit = (&'static str, Value);

/// The TaskQueue `shop/thumbnails` as the API server stores it, with these fields set.
pub(crate) fn resource(edits: &[Edit]) -> TaskQueue {
    let mut manifest = json!({
        "apiVersion": "taskqueue.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {
            "name": "thumbnails",
            "namespace": "shop",
            "uid": UID,
            "generation": 3,
            "creationTimestamp": "2026-01-02T03:04:05Z"
        },
        "spec": {
            "redis": { "url": "redis://redis:6379" },
            "worker": { "handler": { "native": {} } }
        }
    });
    for (path, value) in edits {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let mut place = &mut manifest;
        for part in parent.split('/').skip(1) {
            place = match part.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[part],
            };
        }
        place[name] = value.clone();
    }
    serde_json::from_value(manifest).unwrap()
}

pub(crate) fn key() -> Key {
    Key {
        namespace: "shop".to_owned(),
        name: "thumbnails".to_owned(),
    }
}

/// With the exec handler and this pod template.
pub(crate) fn exec(template: Value) -> Vec<Edit> {
    let handler = json!({ "exec": { "command": ["sha256sum", "-"] } });
    vec![
        ("/spec/worker/handler", handler),
        ("/spec/worker/template", template),
    ]
}

/// A pod template that holds nothing but a container.
pub(crate) fn template() -> Value {
    json!({ "spec": { "containers": [{ "name": "app", "image": "app:1" }] } })
}

/// An installation with a Redis, in the namespace of [`resource`].
pub(crate) fn allowed() -> Allowed {
    Allowed {
        default_redis: true,
        own: Own {
            namespace: "shop".to_owned(),
            account: Some("operator".to_owned()),
            workloads: ["operator", "redis"].map(ToOwned::to_owned).into(),
        },
        ..Allowed::default()
    }
}

pub(crate) fn valid(edits: &[Edit]) -> ValidQueue {
    match validate(&resource(edits), &allowed()).unwrap() {
        Valid::Queue(valid) => *valid,
        Valid::Source(valid) => panic!("a source: {valid:?}"),
    }
}

/// The TaskQueue with a BullMQ queue as its source, and these fields set besides.
pub(crate) fn sourced(edits: &[Edit]) -> Vec<Edit> {
    let mut all = vec![
        ("/spec/worker", Value::Null),
        ("/spec/source", json!({ "bullmq": { "queue": "emails" } })),
        (
            "/spec/targetRef",
            json!({ "kind": "Deployment", "name": "mailer" }),
        ),
    ];
    all.extend_from_slice(edits);
    all
}

pub(crate) fn valid_source(edits: &[Edit]) -> ValidSource {
    match validate(&resource(&sourced(edits)), &allowed()).unwrap() {
        Valid::Source(valid) => *valid,
        Valid::Queue(valid) => panic!("no source: {valid:?}"),
    }
}

/// What the autoscaler is told to do with a source.
pub(crate) fn source_orders(edits: &[Edit]) -> Orders {
    let valid = valid_source(edits);
    Orders {
        generation: valid.generation,
        queue: valid.queue,
        endpoint: endpoint("redis://redis:6379"),
        policy: Policy::default(),
        scaling: valid.scaling,
        shield: None,
        source: Some(SourceOrders {
            source: valid.source,
            seen: valid.seen,
            target: valid.target,
        }),
    }
}

pub(crate) fn endpoint(url: &str) -> EndpointUrl {
    EndpointUrl::parse(url.to_owned()).unwrap()
}

pub(crate) fn image() -> WorkerImage {
    WorkerImage {
        name: "registry.example/taskqueue-worker:1.2.3".to_owned(),
        pull_policy: Some("IfNotPresent".to_owned()),
        resources: None,
    }
}

/// What is built for a TaskQueue whose Redis is at `url`.
pub(crate) fn build(edits: &[Edit], url: &str) -> Children {
    let observed = Observed {
        endpoint: endpoint(url),
        credentials: None,
        workload: None,
        budget: None,
        knows_stop_signals: true,
    };
    build::build(&valid(edits), &observed, &image())
}

/// The Deployment of a TaskQueue, as JSON.
pub(crate) fn deployment(edits: &[Edit]) -> Value {
    serde_json::to_value(build(edits, "redis://redis:6379").deployment).unwrap()
}

/// The Deployment as it stands in the cluster after the autoscaler has got its replicas.
pub(crate) fn standing(generation: i64, replicas: i32) -> Deployment {
    let mut deployment = build(&[], "redis://redis:6379").deployment;
    deployment.metadata.generation = Some(generation);
    deployment.metadata.uid = Some("deployment".to_owned());
    deployment.metadata.managed_fields = Some(vec![
        serde_json::from_value(json!({
            "manager": "taskqueue-autoscaler", "operation": "Apply", "subresource": "scale"
        }))
        .unwrap(),
    ]);
    deployment.spec.replicas = Some(replicas);
    deployment
}

/// What the cluster holds of a TaskQueue: its Deployment, and a budget of this generation.
pub(crate) fn observed(deployment: Option<Deployment>, budget: Option<i64>) -> Observed {
    Observed {
        endpoint: endpoint("redis://redis:6379"),
        credentials: None,
        workload: deployment.map(|deployment| Arc::new(deployment.into())),
        budget: budget.map(|generation| Arc::new(standing_budget(generation))),
        knows_stop_signals: true,
    }
}

/// The budget as it stands in the cluster.
pub(crate) fn standing_budget(generation: i64) -> PodDisruptionBudget {
    let asked = [(
        "/spec/worker/disruptionBudget",
        json!({ "maxUnavailable": 1 }),
    )];
    let mut budget = build(&asked, "redis://redis:6379").budget.unwrap();
    budget.metadata.generation = Some(generation);
    budget.metadata.uid = Some("budget".to_owned());
    budget
}

/// What the autoscaler is told to do.
pub(crate) fn orders(edits: &[Edit]) -> Orders {
    let valid = valid(edits);
    Orders {
        generation: valid.generation,
        queue: valid.queue,
        endpoint: endpoint("redis://redis:6379"),
        policy: valid.policy,
        scaling: valid.scaling,
        shield: valid.worker.shield,
        source: None,
    }
}

/// A reading with a different number in each figure.
pub(crate) fn snapshot() -> Snapshot {
    let waiting = [("high", 0), ("normal", 2), ("low", 0)];
    Snapshot {
        now: Timestamp::from_second(1_700_000_000).unwrap(),
        waiting: waiting
            .map(|(level, tasks)| (level.to_owned(), tasks))
            .to_vec(),
        scheduled: 5,
        due: 1,
        active: 6,
        lost: 0,
        dead: 7,
        blocked: 8,
        oldest_waiting: Some(Duration::from_secs(12)),
        next_due: None,
        workers: 3,
        expired_workers: 0,
        tidy_at: None,
        fault: None,
        counters: Counters::default(),
        version: 1,
    }
}

/// A Redis that evicts any key, of which nothing else is known but that it is a primary.
pub(crate) fn evicting() -> Arc<Safety> {
    let report = ServerReport {
        role: Some(Role::Primary),
        eviction_policy: Some("allkeys-lru".to_owned()),
        max_memory: Some(1 << 30),
        ..ServerReport::new("redis:6379")
    };
    Arc::new(Safety::of(&[report]))
}

/// What the autoscaler saw, and that it decided on five workers.
pub(crate) fn sight(queue: Result<Snapshot, String>) -> Sight {
    let reason = match &queue {
        Ok(_) => Reason::Backlog,
        Err(_) => Reason::RedisUnreachable,
    };
    Sight {
        queue: queue.map(|snapshot| Reading {
            snapshot,
            rates: Rates::default(),
        }),
        decision: Decision {
            replicas: 5,
            wanted: 5,
            reason,
            limit: None,
            inputs: Vec::new(),
            clamps: Vec::new(),
            equation: "5 = 5".to_owned(),
        },
        decided_at: Timestamp::from_second(1_700_000_000).unwrap(),
        waits_for: None,
        refused: None,
        another_writer: None,
        obstacle: None,
        changes: Changes::default(),
        missing: 0,
        source: None,
    }
}

//! The operator and the API server of a pass over one TaskQueue.

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::Deployment, policy::v1::PodDisruptionBudget};
use kube::{
    core::DeserializeGuard,
    runtime::{
        controller::Action,
        reflector::{self, store::Writer},
        watcher::Event,
    },
};
use serde_json::{Value, json};
use taskqueue_api::TaskQueue;
use taskqueue_operator::{
    allowed::AllowedRedis,
    config::Config,
    events,
    index::{Index, Problem},
    metrics::Metrics,
    reconcile::{
        Context, Guarded, claim::Claims, error::Error, error_policy, memory::Memory, reconcile,
    },
    turns::Turns,
    workload::{APPLIED, Workload},
};
use taskqueue_worker::config::LogFormat;
use tokio::sync::mpsc;

use super::server::{Call, Played, playing};
use crate::fixtures::{Edit, UID, allowed, endpoint, image, key, resource};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/thumbnails";
const SCALE: &str = "/apis/apps/v1/namespaces/shop/deployments/thumbnails/scale";
const SECRET: &str = "/api/v1/namespaces/shop/secrets/thumbnails-redis";
const BUDGET: &str = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/thumbnails";
const USERS_SECRET: &str = "/api/v1/namespaces/shop/secrets/cache";
const OPERATOR: &str = "taskqueue-operator";
const AUTOSCALER: &str = "taskqueue-autoscaler";

/// What the API server is asked and what it answers.
pub(super) enum Scenario {
    ANewDeploymentGetsReplicasThatAreHandedOver { replicas: i32 },
    ADeploymentWithAnOwnerOfItsReplicasIsAppliedWithoutThem,
    ADeploymentWithoutAnOwnerOfItsReplicasKeepsThem { replicas: i32 },
    ADeploymentOfSomebodyElseIsOnlyRead,
    ADeploymentOfSomebodyElseComesInBetween,
    AnotherDeploymentComesInItsPlace,
    TheSecretThatWasSeenIsApplied,
    TheUsersSecretIsMissing,
    TheUsersSecretHas { data: Value },
    TheSecretComesBeforeTheDeployment,
    ASecretOfSomebodyElseIsOnlyRead,
    ABudgetIsAppliedAfterTheDeployment,
    ABudgetOfSomebodyElseIsOnlyRead,
    ABudgetThatNobodyAsksForIsDeleted { uid: &'static str },
    TheDeploymentIsRefused { code: u16, message: &'static str },
    TheDeploymentIsRefusedTwice,
    NobodyCalls,
}

impl Scenario {
    pub(super) fn calls(self) -> Vec<Call> {
        match self {
            Self::ANewDeploymentGetsReplicasThatAreHandedOver { replicas } => {
                let mut calls = vec![Call::get(DEPLOYMENT).not_found()];
                calls.extend(made_with(replicas, true));
                calls
            }
            Self::ADeploymentOfSomebodyElseComesInBetween => vec![
                Call::get(DEPLOYMENT).not_found(),
                Call::make(DEPLOYMENT, OPERATOR).refuse(409, "conflict with \"kubectl\""),
                Call::get(DEPLOYMENT).answer(of_somebody_else("apps/v1", "Deployment")),
            ],
            Self::AnotherDeploymentComesInItsPlace => vec![
                Call::apply(DEPLOYMENT, OPERATOR)
                    .checked(|deployment| assert_eq!(deployment["metadata"]["uid"], "deployment"))
                    .refuse(409, "the UID in the precondition does not match"),
            ],
            Self::ADeploymentWithAnOwnerOfItsReplicasIsAppliedWithoutThem => {
                vec![without_replicas()]
            }
            Self::ADeploymentWithoutAnOwnerOfItsReplicasKeepsThem { replicas } => {
                applied_with(replicas, true).into()
            }
            Self::ADeploymentOfSomebodyElseIsOnlyRead => {
                vec![Call::get(DEPLOYMENT).answer(of_somebody_else("apps/v1", "Deployment"))]
            }
            Self::TheUsersSecretIsMissing => vec![Call::get(USERS_SECRET).not_found()],
            Self::TheUsersSecretHas { data } => vec![Call::get(USERS_SECRET).answer(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cache" }, "data": data
            }))],
            Self::TheSecretComesBeforeTheDeployment => {
                let mut calls = vec![
                    Call::get(DEPLOYMENT).not_found(),
                    Call::get(SECRET).not_found(),
                    Call::make(SECRET, OPERATOR).checked(|secret| {
                        // redis://:hunter2@redis
                        assert_eq!(secret["data"]["url"], "cmVkaXM6Ly86aHVudGVyMkByZWRpcw==");
                        assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], UID);
                    }),
                ];
                calls.extend(made_with(0, false));
                calls
            }
            Self::TheSecretThatWasSeenIsApplied => {
                let mut seen = of_somebody_else("v1", "Secret");
                seen["metadata"]["uid"] = json!("secret");
                seen["metadata"]["ownerReferences"][0]["uid"] = json!(UID);
                vec![
                    Call::get(SECRET).answer(seen),
                    Call::apply(SECRET, OPERATOR)
                        .checked(|secret| assert_eq!(secret["metadata"]["uid"], "secret")),
                    without_replicas(),
                ]
            }
            Self::ASecretOfSomebodyElseIsOnlyRead => vec![
                Call::get(DEPLOYMENT).not_found(),
                Call::get(SECRET).answer(of_somebody_else("v1", "Secret")),
            ],
            Self::ABudgetIsAppliedAfterTheDeployment => {
                let mut calls = vec![
                    Call::get(DEPLOYMENT).not_found(),
                    Call::get(BUDGET).not_found(),
                ];
                calls.extend(made_with(0, false));
                calls.push(Call::make(BUDGET, OPERATOR).checked(|budget| {
                    assert_eq!(budget["spec"]["maxUnavailable"], "25%");
                    assert_eq!(budget["metadata"]["ownerReferences"][0]["uid"], UID);
                }));
                calls
            }
            Self::ABudgetOfSomebodyElseIsOnlyRead => vec![
                Call::get(DEPLOYMENT).not_found(),
                Call::get(BUDGET).answer(of_somebody_else("policy/v1", "PodDisruptionBudget")),
            ],
            Self::ABudgetThatNobodyAsksForIsDeleted { uid } => vec![
                without_replicas(),
                Call::delete(BUDGET)
                    .checked(move |options| {
                        assert_eq!(
                            options["preconditions"]["uid"], uid,
                            "this one and no other"
                        );
                    })
                    .answer(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })),
            ],
            Self::TheDeploymentIsRefused { code, message } => vec![
                Call::get(DEPLOYMENT).not_found(),
                Call::make(DEPLOYMENT, OPERATOR).refuse(code, message),
            ],
            Self::TheDeploymentIsRefusedTwice => (0..2)
                .flat_map(|_| {
                    Self::TheDeploymentIsRefused {
                        code: 500,
                        message: "etcd has no leader",
                    }
                    .calls()
                })
                .collect(),
            Self::NobodyCalls => vec![],
        }
    }
}

fn made_with(replicas: i32, alone: bool) -> [Call; 2] {
    with(replicas, Call::make(DEPLOYMENT, OPERATOR), None, alone)
}

fn applied_with(replicas: i32, alone: bool) -> [Call; 2] {
    let call = Call::apply(DEPLOYMENT, OPERATOR);
    with(replicas, call, Some("deployment"), alone)
}

/// The fingerprint of what was applied is on a Deployment without further children alone.
fn with(replicas: i32, call: Call, uid: Option<&'static str>, alone: bool) -> [Call; 2] {
    [
        call.checked(move |deployment| {
            assert_eq!(deployment["metadata"]["uid"].as_str(), uid);
            assert_eq!(deployment["spec"]["replicas"], replicas);
            let annotations = &deployment["metadata"]["annotations"];
            assert_eq!(annotations.get(APPLIED).is_some(), alone, "{annotations}");
            let text = deployment.to_string();
            assert!(!text.contains("hunter2"), "{text}");
        }),
        Call::apply(SCALE, AUTOSCALER).checked(move |scale| {
            assert_eq!(scale["spec"], json!({ "replicas": replicas }));
        }),
    ]
}

pub(super) fn without_replicas() -> Call {
    Call::apply(DEPLOYMENT, OPERATOR)
        .checked(|deployment| assert_eq!(deployment["spec"].get("replicas"), None))
}

fn of_somebody_else(version: &str, kind: &str) -> Value {
    json!({
        "apiVersion": version, "kind": kind,
        "metadata": {
            "name": "thumbnails", "namespace": "shop",
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "of somebody else"
            }]
        },
        "spec": { "selector": {}, "template": {} }
    })
}

/// The operator's side of a scenario.
pub(super) struct World {
    pub(super) context: Arc<Context>,
    pub(super) resources: Writer<Guarded>,
    pub(super) workloads: Writer<Workload>,
    pub(super) budgets: Writer<PodDisruptionBudget>,
    pub(super) played: Played,
}

impl World {
    pub(super) fn new(scenario: Scenario) -> Self {
        Self::with_default_redis(scenario, "redis://redis")
    }

    pub(super) fn with_default_redis(scenario: Scenario, url: &str) -> Self {
        let (client, played) = playing(scenario.calls());
        let (resources, resource_writer) = reflector::store();
        let (workloads, workload_writer) = reflector::store();
        let (budgets, budget_writer) = reflector::store();
        let (triggers, _) = mpsc::unbounded_channel();
        // Events are told to nobody here: their publisher is dropped.
        let (events, _) = events::channel(client.clone(), "operator-0", resources.clone());
        let context = Context {
            client,
            config: Config {
                default_redis: Some(endpoint(url)),
                allowed: allowed(),
                redis_allowed: AllowedRedis::default(),
                namespace: None,
                worker_image: image(),
                http_address: ([127, 0, 0, 1], 0).into(),
                lease_namespace: "taskqueue".to_owned(),
                identity: "operator-0".to_owned(),
                log_format: LogFormat::Text,
            },
            knows_stop_signals: true,
            resources,
            workloads,
            budgets,
            index: Arc::new(Index::default()),
            events,
            claims: Claims::default(),
            secrets: Arc::default(),
            memory: Memory::default(),
            turns: Turns::new(2, 1),
            triggers,
            metrics: Arc::new(Metrics::default()),
        };
        Self {
            context: Arc::new(context),
            resources: resource_writer,
            workloads: workload_writer,
            budgets: budget_writer,
            played,
        }
    }

    /// The cache holds this Deployment.
    pub(super) fn stands(&mut self, deployment: Deployment) {
        self.workloads
            .apply_watcher_event(&Event::Apply(deployment.into()));
    }

    /// The cache holds this budget.
    pub(super) fn has_budget(&mut self, budget: PodDisruptionBudget) {
        self.budgets.apply_watcher_event(&Event::Apply(budget));
    }

    /// The cache holds this TaskQueue.
    pub(super) fn exists(&mut self, resource: TaskQueue) {
        let event = Event::Apply(DeserializeGuard(Ok(resource)));
        self.context.claims.follow(&event);
        self.resources.apply_watcher_event(&event);
    }

    pub(super) async fn pass(&self, edits: &[Edit]) -> Result<Action, Error> {
        let guarded = Arc::new(DeserializeGuard(Ok(resource(edits))));
        reconcile(guarded, Arc::clone(&self.context)).await
    }

    /// A pass that fails, and what the controller does about it.
    pub(super) async fn failing_pass(&self, edits: &[Edit]) -> (Problem, Action) {
        let guarded = Arc::new(DeserializeGuard(Ok(resource(edits))));
        let outcome = reconcile(Arc::clone(&guarded), Arc::clone(&self.context)).await;
        let action = match outcome {
            Err(error) => error_policy(guarded, &error, Arc::clone(&self.context)),
            Ok(action) => panic!("the pass came to its end: {action:?}"),
        };
        let entry = self.context.index.get(&key()).unwrap();
        (entry.orders.unwrap().unwrap_err(), action)
    }

    pub(super) fn has_orders(&self) -> bool {
        !self.context.index.orders().is_empty()
    }

    pub(super) async fn end(self) {
        let Self {
            context, played, ..
        } = self;
        drop(context);
        played.end().await;
    }
}

pub(super) const DEFAULT_REDIS: Edit = ("/spec/redis", Value::Null);

pub(super) fn users_secret() -> Edit {
    let source = json!({ "urlFrom": { "secretKeyRef": { "name": "cache", "key": "url" } } });
    ("/spec/redis", source)
}

//! `tq doctor` beside an API server: what is wrong in the cluster is told with what to do.

use std::{path::Path, process::Command};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use taskqueue_api::TaskQueue;
use taskqueue_e2e::{Patience, alone::ApiServer, eventually};

/// What `tq doctor` says.
struct Seen {
    code: Option<i32>,
    text: String,
}

impl Seen {
    /// Its lines of a level about something, without both.
    fn lines(&self, level: &str, check: &str) -> Vec<&str> {
        let rows = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix(level));
        let rows = rows.filter_map(|line| line.trim_start().strip_prefix(check));
        rows.map(str::trim_start).collect()
    }

    /// That there is one such line, with these words.
    #[track_caller]
    fn told(&self, level: &str, check: &str, words: &[&str]) {
        let lines = self.lines(level, check);
        assert_eq!(lines.len(), 1, "{level} {check}:\n{}", self.text);
        for word in words {
            assert!(
                lines[0].contains(word),
                "{:?} should contain {word:?}",
                lines[0]
            );
        }
        println!("{level} {check} {}", lines[0]);
    }
}

/// Looks at the cluster of a kubeconfig and at no Redis.
async fn doctor(kubeconfig: &Path, more: &[&str]) -> Seen {
    let program = std::env::var("TQ").expect("TQ must name the tq binary: run make test-alone");
    let mut command = Command::new(program);
    command
        .arg("doctor")
        .args(more)
        .env("KUBECONFIG", kubeconfig)
        .env_remove("TASKQUEUE_REDIS_URL");
    // Apart from this thread, which may have connections to keep up.
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.unwrap().expect("tq can be run");
    Seen {
        code: output.status.code(),
        text: String::from_utf8(output.stdout).unwrap(),
    }
}

#[tokio::test]
async fn what_is_wrong_in_a_cluster_is_told_with_its_fix() {
    let server = ApiServer::start_bare().await;
    let client = server.client().await;
    let kubeconfig = server.kubeconfig();

    // Nothing is installed.
    let seen = doctor(&kubeconfig, &[]).await;
    assert_eq!(seen.code, Some(1));
    seen.told("ok", "cluster", &["Kubernetes v1."]);
    seen.told(
        "problem",
        "definition",
        &["no definition of TaskQueues", "install the chart"],
    );
    seen.told("problem", "operator", &["no operator", "helm install"]);

    // A definition of an older version.
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let made = definitions.create(&PostParams::default(), &older()).await;
    let name = made.expect("an older definition is sound").name_any();
    established(&definitions, &name).await;
    let seen = doctor(&kubeconfig, &[]).await;
    let words = [
        "older than this tq",
        "spec.worker.shield would be refused or dropped",
        "Upgrade the chart",
    ];
    seen.told("problem", "definition", &words);
    seen.told("ok", "taskqueues", &["there are none"]);
    definitions
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    eventually(
        "the definition is gone",
        Patience::NORMAL,
        async || match definitions.get_opt(&name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;

    // The right one.
    server.define().await;
    let seen = doctor(&kubeconfig, &[]).await;
    seen.told("ok", "definition", &["as this tq"]);
    seen.told("problem", "operator", &["no operator"]);

    operators(&client, &kubeconfig).await;
    queues(&client, &kubeconfig).await;

    // Somebody who may do nothing, and a server that is away.
    let mut config: Value =
        serde_json::from_str(&std::fs::read_to_string(&kubeconfig).unwrap()).unwrap();
    config["users"][0]["user"]["as"] = json!("nobody");
    let nobody = server.folder().join("nobody");
    std::fs::write(&nobody, config.to_string()).unwrap();
    let seen = doctor(&nobody, &[]).await;
    assert_eq!(seen.code, Some(0), "{}", seen.text);
    for check in ["definition", "operator", "taskqueues"] {
        seen.told("unknown", check, &["you may not look at"]);
    }
    config["users"][0]["user"] = json!({"token": "wrong"});
    std::fs::write(&nobody, config.to_string()).unwrap();
    let seen = doctor(&nobody, &[]).await;
    assert_eq!(seen.code, Some(1));
    seen.told("problem", "cluster", &["refuses the user", "Log in again"]);
}

/// A definition that lacks a field of today's.
fn older() -> CustomResourceDefinition {
    let mut definition = serde_json::to_value(taskqueue_api::definition()).unwrap();
    let worker = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/worker";
    let worker = definition.pointer_mut(worker).unwrap();
    let fields = worker["properties"].as_object_mut().unwrap();
    assert!(fields.remove("shield").is_some());
    serde_json::from_value(definition).unwrap()
}

async fn established(definitions: &Api<CustomResourceDefinition>, name: &str) {
    eventually("the definition", Patience::NORMAL, async || {
        let found = definitions
            .get(name)
            .await
            .map_err(|error| error.to_string())?;
        let conditions = found
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        let is_there = conditions
            .iter()
            .any(|it| it.type_ == "Established" && it.status == "True");
        is_there
            .then_some(())
            .ok_or_else(|| format!("{conditions:?}"))
    })
    .await;
}

/// An operator that is down, one that leads, and one that has gone.
async fn operators(client: &Client, kubeconfig: &Path) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "taskqueue-system"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &system)
        .await
        .unwrap();
    let labels = json!({
        "app.kubernetes.io/part-of": "taskqueue", "app.kubernetes.io/component": "operator",
        "app.kubernetes.io/version": "0.1.0"
    });
    let deployment = json!({
        "metadata": {"name": "taskqueue-operator", "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "operator", "image": "none"}]}
            }
        }
    });
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "taskqueue-system");
    let deployment = serde_json::from_value(deployment).unwrap();
    deployments
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    let seen = doctor(kubeconfig, &[]).await;
    let words = [
        "no pod of the operator taskqueue-system/taskqueue-operator is ready",
        "kubectl logs deployment/taskqueue-operator -n taskqueue-system",
    ];
    seen.told("problem", "operator", &words);

    let status = json!({"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1}});
    let (how, patch) = (PatchParams::default(), Patch::Merge(status));
    let patched = deployments.patch_status("taskqueue-operator", &how, &patch);
    patched.await.unwrap();
    let leases: Api<Lease> = Api::namespaced(client.clone(), "taskqueue-system");
    let lease = |renewed: Timestamp| -> Lease {
        let spec = json!({
            "holderIdentity": "taskqueue-operator-1", "leaseDurationSeconds": 60,
            "renewTime": format!("{renewed:.6}")
        });
        serde_json::from_value(json!({"metadata": {"name": "taskqueue-operator"}, "spec": spec}))
            .unwrap()
    };
    let old = lease(Timestamp::now() - SignedDuration::from_mins(3 * 60 + 5));
    leases.create(&PostParams::default(), &old).await.unwrap();
    let seen = doctor(kubeconfig, &[]).await;
    seen.told(
        "problem",
        "operator",
        &[
            "no operator leads since 3h",
            "kubectl get pods -n taskqueue-system",
        ],
    );

    let now = lease(Timestamp::now());
    let patch = Patch::Merge(&now);
    let renewed = leases.patch("taskqueue-operator", &how, &patch);
    renewed.await.unwrap();
    let seen = doctor(kubeconfig, &[]).await;
    assert_eq!(seen.code, Some(0), "{}", seen.text);
    seen.told(
        "ok",
        "operator",
        &["taskqueue-operator-1 in namespace taskqueue-system leads, version 0.1.0"],
    );
}

/// TaskQueues that are ready, and that are not.
async fn queues(client: &Client, kubeconfig: &Path) {
    let queues: Api<TaskQueue> = Api::namespaced(client.clone(), "default");
    let queue = |name: &str| -> TaskQueue {
        let queue = json!({
            "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": name},
            "spec": {"worker": {"handler": {"native": {}}}}
        });
        serde_json::from_value(queue).unwrap()
    };
    let set = async |name: &str, status: Value| {
        let patch = Patch::Merge(json!({ "status": status }));
        queues
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    };
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-02T03:04:05Z"
        })
    };
    for name in ["fine", "broken", "stuck"] {
        queues
            .create(&PostParams::default(), &queue(name))
            .await
            .unwrap();
        set(
            name,
            json!({"conditions": [condition("Ready", "True", "InPlace", "")]}),
        )
        .await;
    }
    let seen = doctor(kubeconfig, &[]).await;
    assert_eq!(seen.code, Some(0), "{}", seen.text);
    seen.told("ok", "taskqueues", &["3, all ready"]);

    let message = "spec.redis.urlFrom: there is no Secret redis";
    set(
        "broken",
        json!({"conditions": [condition("Ready", "False", "SecretMissing", message)]}),
    )
    .await;
    set(
        "stuck",
        json!({"depth": {"waiting": 12}, "oldestWaitingSeconds": 300, "readyReplicas": 0}),
    )
    .await;
    let seen = doctor(kubeconfig, &[]).await;
    assert_eq!(seen.code, Some(1));
    let words = [
        "default/broken: Ready=False (SecretMissing): spec.redis.urlFrom: there is no Secret redis",
    ];
    seen.told("problem", "taskqueues", &words);
    let words = [
        "default/stuck: 12 tasks wait, the oldest for 5m",
        "kubectl tq explain stuck -n default",
    ];
    seen.told("warning", "taskqueues", &words);
    // Of one namespace alone.
    let elsewhere = doctor(kubeconfig, &["-n", "taskqueue-system"]).await;
    assert_eq!(elsewhere.code, Some(0), "{}", elsewhere.text);
}

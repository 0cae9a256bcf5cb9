//! The children of a TaskQueue.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use taskqueue_operator::endpoint::EndpointUrl;
use taskqueue_worker::config::{BatchConfig, HandlerConfig, WorkerConfig};

use crate::fixtures::{Edit, UID, build, deployment, exec, template};

/// A template that uses what templates can say.
pub(super) fn rich() -> Value {
    json!({
        "metadata": {
            "labels": { "team": "images", "app.kubernetes.io/name": "resizer" },
            "annotations": { "prometheus.io/scrape": "true" }
        },
        "spec": {
            "serviceAccountName": "resizer",
            "automountServiceAccountToken": true,
            "enableServiceLinks": true,
            "terminationGracePeriodSeconds": 600,
            "nodeSelector": { "disk": "ssd" },
            "tolerations": [{ "key": "spot", "operator": "Exists" }],
            "securityContext": { "runAsUser": 1000, "fsGroup": 1000 },
            "initContainers": [{ "name": "warm", "image": "warm:1" }],
            "containers": [
                {
                    "name": "app",
                    "image": "app:1",
                    "env": [{ "name": "MODE", "value": "fast" }],
                    "ports": [{ "name": "debug", "containerPort": 9000 }],
                    "resources": { "limits": { "memory": "1Gi" } },
                    "volumeMounts": [{ "name": "cache", "mountPath": "/cache" }],
                    "livenessProbe": { "exec": { "command": ["alive"] } },
                    "readinessProbe": { "exec": { "command": ["ready"] } }
                },
                { "name": "sidecar", "image": "sidecar:1", "args": ["--quiet"] }
            ],
            "volumes": [{ "name": "cache", "emptyDir": { "sizeLimit": "1Gi" } }]
        }
    })
}

pub(super) fn pod(edits: &[Edit]) -> Value {
    deployment(edits)["spec"]["template"]["spec"].clone()
}

pub(super) fn http(handler: &Value, template: Value) -> Vec<Edit> {
    vec![
        ("/spec/worker/handler", json!({ "http": handler })),
        ("/spec/worker/template", template),
    ]
}

pub(super) fn native(template: Value) -> Vec<Edit> {
    vec![("/spec/worker/template", template)]
}

/// Where `built` lacks something of `given`. The elements of a list are found wherever they are.
fn lost(given: &Value, built: &Value, path: &str) -> Option<String> {
    match (given, built) {
        (Value::Object(given), Value::Object(built)) => given.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match built.get(name) {
                Some(built) => lost(value, built, &path),
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(built)) => given
            .iter()
            .find(|value| !built.iter().any(|built| lost(value, built, path).is_none()))
            .map(|value| format!("{path}: {value}")),
        _ => (given != built).then(|| format!("{path}: {given} became {built}")),
    }
}

#[test]
fn everything_that_the_template_says_survives() {
    for edits in [exec(rich()), native(rich())] {
        let built = deployment(&edits)["spec"]["template"].clone();
        assert_eq!(lost(&rich(), &built, ""), None);
    }
}

#[test]
fn probes_of_the_template_are_not_overwritten() {
    let container = pod(&exec(rich()))["containers"][0].clone();
    assert_eq!(
        container["livenessProbe"],
        json!({ "exec": { "command": ["alive"] } })
    );
    assert_eq!(
        container["readinessProbe"],
        json!({ "exec": { "command": ["ready"] } })
    );
}

#[test]
fn a_template_without_probes_gets_the_workers() {
    let container = pod(&exec(template()))["containers"][0].clone();
    for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(
            container[probe]["httpGet"]["port"],
            container["ports"][0]["containerPort"]
        );
    }
    let hung = &container["livenessProbe"]["terminationGracePeriodSeconds"];
    assert_eq!(hung, 10, "no drain to wait for");
}

#[test]
fn exec_brings_the_workers_binary_into_the_first_container() {
    let pod = pod(&exec(rich()));
    let installer = &pod["initContainers"][0];
    assert_eq!(
        installer["image"],
        "registry.example/taskqueue-worker:1.2.3"
    );
    assert_eq!(installer["imagePullPolicy"], "IfNotPresent");
    let binary = &pod["containers"][0]["command"][0];
    assert_eq!(installer["args"], json!(["install", binary]));
    // Before the template's own init containers, which may be slow.
    assert_eq!(pod["initContainers"][1]["name"], "warm");
    let mount_of = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().unwrap().clone();
        mounts
            .into_iter()
            .find(|mount| mount["name"] == "taskqueue")
            .unwrap()
    };
    assert_eq!(mount_of(installer)["readOnly"], false);
    let mount = mount_of(&pod["containers"][0]);
    assert_eq!(mount["readOnly"], true);
    assert!(
        binary
            .as_str()
            .unwrap()
            .starts_with(mount["mountPath"].as_str().unwrap())
    );
    let volumes = pod["volumes"].as_array().unwrap();
    assert!(volumes.contains(&json!({ "name": "taskqueue", "emptyDir": {} })));
}

#[test]
fn the_installer_passes_the_restricted_pod_security_standard_as_the_images_own_user() {
    let context = pod(&exec(template()))["initContainers"][0]["securityContext"].clone();
    assert_eq!(
        context,
        json!({
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": { "type": "RuntimeDefault" }
        })
    );
}

#[test]
fn native_adds_no_binary_and_leaves_the_command_alone() {
    let mut template = template();
    template["spec"]["containers"][0]["command"] = json!(["serve"]);
    let pod = pod(&native(template));
    assert_eq!(pod["containers"][0]["command"], json!(["serve"]));
    assert_eq!(pod["initContainers"], Value::Null);
    assert_eq!(pod["volumes"], Value::Null);
}

#[test]
fn without_a_template_the_workers_own_image_runs_restricted() {
    let pod = pod(&[]);
    let container = &pod["containers"][0];
    assert_eq!(
        container["image"],
        "registry.example/taskqueue-worker:1.2.3"
    );
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
}

#[test]
fn a_pod_gets_no_token_and_no_service_variables_and_time_to_drain_unless_it_says_otherwise() {
    let pod = pod(&exec(template()));
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["enableServiceLinks"], false);
    // 60 s to drain and 10 s for the last acknowledgements.
    assert_eq!(pod["terminationGracePeriodSeconds"], 70);
}

#[test]
fn the_grace_period_follows_the_drain_timeout() {
    for (drain, seconds) in [("0s", 10), ("500ms", 11), ("1h", 3610)] {
        let pod = pod(&[("/spec/worker/drainTimeout", json!(drain))]);
        assert_eq!(pod["terminationGracePeriodSeconds"], seconds, "{drain}");
    }
}

#[test]
fn a_port_that_the_template_declares_already_is_not_declared_twice() {
    let ports = |given: Value| {
        let mut template = template();
        template["spec"]["containers"][0]["ports"] = given;
        pod(&native(template))["containers"][0]["ports"].clone()
    };
    let ours = json!({ "name": "taskqueue", "containerPort": 8081, "protocol": "TCP" });
    let same = json!([{ "name": "metrics", "containerPort": 8081 }]);
    assert_eq!(ports(same.clone()), same);
    let udp = json!({ "name": "dns", "containerPort": 8081, "protocol": "UDP" });
    assert_eq!(ports(json!([udp])), json!([udp, ours]));
    assert_eq!(ports(json!([])), json!([ours]));
}

#[test]
fn the_replicas_are_left_out() {
    for edits in [exec(rich()), native(rich()), vec![]] {
        assert_eq!(deployment(&edits)["spec"].get("replicas"), None);
    }
}

#[test]
fn the_selector_selects_the_pods_and_the_label_tells_the_operators_objects() {
    for edits in [exec(rich()), vec![]] {
        let deployment = deployment(&edits);
        let selector = &deployment["spec"]["selector"]["matchLabels"];
        assert_eq!(*selector, json!({ "taskqueue.dev/name": "thumbnails" }));
        let pods = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(lost(selector, pods, ""), None);
        let own = &deployment["metadata"]["labels"];
        assert_eq!(own["app.kubernetes.io/managed-by"], "taskqueue-operator");
    }
}

#[test]
fn a_template_cannot_take_its_pods_out_of_the_selector() {
    let mut template = template();
    template["metadata"]["labels"] = json!({ "taskqueue.dev/name": "another" });
    let deployment = deployment(&native(template));
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["taskqueue.dev/name"], "thumbnails");
}

#[test]
fn each_child_goes_with_its_task_queue() {
    let budget = json!({ "minAvailable": 1 });
    let edits = [
        ("/spec/redis", Value::Null),
        ("/spec/worker/disruptionBudget", budget),
    ];
    let children = build(&edits, "redis://:secret@redis");
    let secret = children.redis_secret.unwrap().metadata;
    let budget = children.budget.unwrap().metadata;
    for metadata in [children.deployment.metadata, secret, budget] {
        let owner = &metadata.owner_references.unwrap()[0];
        assert_eq!((owner.uid.as_str(), owner.controller), (UID, Some(true)));
        // It would need a right on the finalizers, and hold up a namespace that is deleted.
        assert_ne!(owner.block_owner_deletion, Some(true));
        assert_eq!(metadata.namespace.as_deref(), Some("shop"));
    }
}

#[test]
fn a_budget_selects_the_workers_and_never_holds_those_that_are_not_ready() {
    assert_eq!(build(&[], "redis://redis:6379").budget, None);
    let edits = [(
        "/spec/worker/disruptionBudget",
        json!({ "minAvailable": "50%" }),
    )];
    let budget = build(&edits, "redis://redis:6379").budget.unwrap();
    assert_eq!(budget.metadata.name.as_deref(), Some("thumbnails"));
    assert_eq!(
        serde_json::to_value(budget.spec).unwrap(),
        json!({
            "minAvailable": "50%",
            "selector": { "matchLabels": { "taskqueue.dev/name": "thumbnails" } },
            "unhealthyPodEvictionPolicy": "AlwaysAllow"
        })
    );
}

/// The variables of the first container as the pod would see them, with this URL in the Secret.
fn environment(deployment: &Value, secret: &str) -> HashMap<String, String> {
    let env = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
    let resolve = |variable: &Value| match &variable["value"] {
        Value::String(value) => value.clone(),
        _ if !variable["valueFrom"]["secretKeyRef"].is_null() => secret.to_owned(),
        _ => variable["valueFrom"]["fieldRef"]["fieldPath"]
            .as_str()
            .unwrap()
            .to_owned(),
    };
    let pair = |variable: &Value| {
        let name = variable["name"].as_str().unwrap().to_owned();
        (name, resolve(variable))
    };
    env.as_array().unwrap().iter().map(pair).collect()
}

#[test]
fn the_worker_reads_what_the_operator_wrote() {
    let mut edits = exec(rich());
    let batch = json!({ "max": 17, "wait": "50ms" });
    let handler = json!({ "exec": { "command": ["sha256sum", "-"], "batch": batch } });
    edits.push(("/spec/worker/handler", handler));
    edits.push(("/spec/worker/concurrency", json!(17)));
    edits.push(("/spec/worker/drainTimeout", json!("1500ms")));
    let variables = environment(&deployment(&edits), "");
    let config = WorkerConfig::from_env(|name| variables.get(name).cloned()).unwrap();
    assert_eq!(config.queue.to_string(), "shop/thumbnails");
    assert_eq!(config.redis_url.expose(), "redis://redis:6379");
    assert_eq!(config.concurrency.get(), 17);
    assert_eq!(config.drain_timeout.as_millis(), 1500);
    let command = vec!["sha256sum".to_owned(), "-".to_owned()];
    let batch = Some(BatchConfig {
        max: 17,
        wait: Duration::from_millis(50),
    });
    assert_eq!(config.handler, HandlerConfig::Exec { command, batch });
    assert_eq!(config.pod_name.as_deref(), Some("metadata.name"));
    assert_eq!(config.node_name.as_deref(), Some("spec.nodeName"));
    assert_eq!(config.http_address.port(), 8081);
    assert_eq!(variables["MODE"], "fast");
}

#[test]
fn a_url_from_a_secret_is_read_from_that_very_secret() {
    let source = json!({ "urlFrom": { "secretKeyRef": { "name": "cache", "key": "dsn" } } });
    let children = build(&[("/spec/redis", source)], "redis://:secret@redis");
    assert_eq!(children.redis_secret, None);
    let deployment = serde_json::to_value(children.deployment).unwrap();
    let env = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
    let reference = json!({ "name": "cache", "key": "dsn" });
    let variables = env.as_array().unwrap();
    let url = variables
        .iter()
        .find(|variable| variable["name"] == "TASKQUEUE_REDIS_URL");
    assert_eq!(url.unwrap()["valueFrom"]["secretKeyRef"], reference);
}

#[test]
fn certificates_are_variables_from_the_secrets_that_the_spec_names() {
    let from = |key: &str| json!({ "secretKeyRef": { "name": "tls", "key": key } });
    let tls = json!({ "caFrom": from("ca.crt"), "certFrom": from("tls.crt"), "keyFrom": from("tls.key") });
    let redis = json!({ "url": "rediss://redis", "tls": tls });
    let deployment = deployment(&[("/spec/redis", redis)]);
    let env = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
    for (name, key) in [
        ("TASKQUEUE_REDIS_CA", "ca.crt"),
        ("TASKQUEUE_REDIS_CERT", "tls.crt"),
        ("TASKQUEUE_REDIS_KEY", "tls.key"),
    ] {
        let mut variables = env.as_array().unwrap().iter();
        let variable = variables.find(|variable| variable["name"] == name).unwrap();
        let reference = json!({ "name": "tls", "key": key });
        assert_eq!(variable["valueFrom"]["secretKeyRef"], reference);
    }
}

#[test]
fn a_default_redis_without_a_password_needs_no_secret() {
    let children = build(&[("/spec/redis", Value::Null)], "redis://redis:6379/2");
    assert_eq!(children.redis_secret, None);
    let deployment = serde_json::to_value(children.deployment).unwrap();
    let variables = environment(&deployment, "");
    assert_eq!(variables["TASKQUEUE_REDIS_URL"], "redis://redis:6379/2");
}

fn any_source() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!({ "url": "from before the rule" })),
        Just(json!({ "urlFrom": { "secretKeyRef": { "name": "a", "key": "b" } } })),
    ]
}

proptest! {
    #[test]
    fn no_password_is_ever_in_a_deployment(
        source in any_source(),
        scheme in "rediss?",
        user in "[a-z]{0,8}",
        password in "[a-zA-Z0-9._~!$&'()*+,;=%/?#@: -]{0,12}",
        host in "[a-z]{1,10}",
        rest in "(:[1-9][0-9]{0,3})?(/[0-9])?",
    ) {
        let password = format!("hunter2{password}");
        let url = format!("{scheme}://{user}:{password}@{host}{rest}");
        // Some characters end the password early; such a URL is refused, or means another password.
        let Ok(parsed) = EndpointUrl::parse(url.clone()) else { return Ok(()) };
        let mut edits = vec![("/spec/redis", source.clone())];
        if source["url"].is_string() {
            edits = vec![("/spec/redis", json!({ "url": url }))];
        }
        let children = build(&edits, &url);
        let deployment = serde_json::to_string(&children.deployment).unwrap();
        prop_assert!(!deployment.contains("hunter2"), "{deployment}");
        // The worker still gets the very URL.
        if source["urlFrom"].is_null() {
            let secret = children.redis_secret.unwrap().data.unwrap();
            prop_assert_eq!(&secret["url"].0, &url.clone().into_bytes());
        }
        for shown in [parsed.to_string(), format!("{parsed:?}")] {
            prop_assert!(!shown.contains("hunter2"), "{}", shown);
        }
    }
}

#[test]
fn an_http_server_gets_a_worker_beside_it_and_is_stopped_after_its_last_task() {
    let given = rich();
    let pod = pod(&http(
        &json!({ "port": 9000, "path": "/tasks" }),
        given.clone(),
    ));
    assert_eq!(lost(&given["spec"], &pod, "spec"), None, "nothing is lost");
    let containers = pod["containers"].as_array().expect("a list");
    let names: Vec<_> = containers.iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["app", "sidecar", "taskqueue-worker"]);
    let (app, worker) = (&containers[0], &containers[2]);
    assert_eq!(
        app["lifecycle"]["preStop"]["httpGet"],
        json!({
            "path": "/drain", "port": 8081,
            "httpHeaders": [{ "name": "Authorization", "value": format!("Bearer {UID}") }]
        })
    );
    assert_eq!(
        app["env"], given["spec"]["containers"][0]["env"],
        "no secret of the worker"
    );
    assert_eq!(worker["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(worker["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(worker["securityContext"]["runAsUser"], Value::Null);
    let variables = worker["env"].as_array().expect("a list");
    let token = json!({ "name": "TASKQUEUE_DRAIN_TOKEN", "value": UID });
    assert!(variables.contains(&token), "the hook's");
    let handler = variables
        .iter()
        .find(|variable| variable["name"] == "TASKQUEUE_HANDLER")
        .and_then(|variable| variable["value"].as_str())
        .expect("the handler");
    let handler: Value = serde_json::from_str(handler).expect("JSON");
    assert_eq!(handler["http"]["port"], 9000);
    assert_eq!(handler["http"]["path"], "/tasks");
    assert!(
        pod["initContainers"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    );
}

#[test]
fn the_worker_of_a_socket_sees_the_volume_and_is_the_same_user() {
    let mut given = rich();
    given["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 1234 });
    let pod = pod(&http(&json!({ "socket": "/cache/app/app.sock" }), given));
    let worker = &pod["containers"][2];
    assert_eq!(
        worker["volumeMounts"],
        json!([{ "name": "cache", "mountPath": "/cache" }])
    );
    assert_eq!(worker["securityContext"]["runAsUser"], 1234);
}

#[test]
fn stdio_brings_the_worker_in_as_exec_does() {
    let edits = vec![
        (
            "/spec/worker/handler",
            json!({ "stdio": { "command": ["node", "worker.js"], "processes": 2 } }),
        ),
        ("/spec/worker/template", rich()),
    ];
    let pod = pod(&edits);
    assert_eq!(
        pod["containers"][0]["command"],
        json!(["/taskqueue/taskqueue-worker"])
    );
    assert_eq!(pod["initContainers"][0]["name"], "taskqueue-install");
}

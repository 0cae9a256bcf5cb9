//! The containers of a worker pod: which one is the worker's, how it is told to stop, and what those
//! that the operator adds ask for.

use serde_json::{Value, json};
use taskqueue_operator::{
    reconcile::{build, observe::Observed},
    server::has_stop_signals,
};

use super::build::{http, native, pod, rich};
use crate::fixtures::{Edit, deployment, endpoint, exec, image, template, valid};

fn stdio(template: Value) -> Vec<Edit> {
    let handler = json!({ "stdio": { "command": ["node", "worker.js"] } });
    vec![
        ("/spec/worker/handler", handler),
        ("/spec/worker/template", template),
    ]
}

fn annotations(edits: &[Edit]) -> Value {
    deployment(edits)["spec"]["template"]["metadata"]["annotations"].clone()
}

#[test]
fn the_pod_names_the_workers_container_and_to_kubectl_that_of_the_template() {
    let table = [
        (exec(rich()), "app", "app"),
        (stdio(rich()), "app", "app"),
        (native(rich()), "app", "app"),
        (http(&json!({}), rich()), "taskqueue-worker", "app"),
        (vec![], "worker", "worker"),
    ];
    for (edits, worker, shown) in table {
        let annotations = annotations(&edits);
        assert_eq!(annotations["taskqueue.dev/worker-container"], worker);
        assert_eq!(
            annotations["kubectl.kubernetes.io/default-container"],
            shown
        );
    }
}

#[test]
fn a_template_may_choose_what_kubectl_shows_but_not_where_the_worker_is() {
    let mut template = rich();
    template["metadata"]["annotations"] = json!({
        "kubectl.kubernetes.io/default-container": "sidecar",
        "taskqueue.dev/worker-container": "sidecar"
    });
    let annotations = annotations(&exec(template));
    assert_eq!(
        annotations["kubectl.kubernetes.io/default-container"],
        "sidecar"
    );
    assert_eq!(annotations["taskqueue.dev/worker-container"], "app");
}

/// A template whose first container has these fields.
fn with(fields: &[(&str, Value)]) -> Value {
    let mut template = template();
    for (name, value) in fields {
        template["spec"]["containers"][0][name] = value.clone();
    }
    template
}

#[test]
fn a_worker_in_an_image_of_the_users_is_stopped_by_the_signal_that_it_expects() {
    for edits in [exec(template()), stdio(template())] {
        let pod = pod(&edits);
        assert_eq!(
            pod["containers"][0]["lifecycle"],
            json!({ "stopSignal": "SIGTERM" })
        );
        // Without it the API server refuses the field.
        assert_eq!(pod["os"], json!({ "name": "linux" }));
    }
}

#[test]
fn programs_and_servers_of_the_users_are_stopped_as_their_images_say() {
    for edits in [native(template()), http(&json!({}), template()), vec![]] {
        let pod = pod(&edits);
        assert_eq!(pod["os"], Value::Null);
        for container in pod["containers"].as_array().unwrap() {
            assert_eq!(container["lifecycle"]["stopSignal"], Value::Null);
        }
    }
}

#[test]
fn what_the_template_says_of_a_stop_is_kept() {
    let hook = json!({ "exec": { "command": ["bye"] } });
    let kept = pod(&exec(with(&[("lifecycle", json!({ "preStop": hook }))])));
    assert_eq!(
        kept["containers"][0]["lifecycle"],
        json!({ "preStop": hook, "stopSignal": "SIGTERM" })
    );
    let kept = pod(&exec(with(&[(
        "lifecycle",
        json!({ "stopSignal": "SIGINT" }),
    )])));
    assert_eq!(kept["containers"][0]["lifecycle"]["stopSignal"], "SIGINT");
    let mut windows = template();
    windows["spec"]["os"] = json!({ "name": "windows" });
    let kept = pod(&exec(windows));
    assert_eq!(kept["containers"][0]["lifecycle"], Value::Null);
    assert_eq!(kept["os"]["name"], "windows");
}

#[test]
fn an_api_server_that_does_not_know_the_field_is_not_sent_it() {
    let observed = Observed {
        endpoint: endpoint("redis://redis:6379"),
        credentials: None,
        workload: None,
        budget: None,
        knows_stop_signals: false,
    };
    let children = build::build(&valid(&exec(template())), &observed, &image());
    let text = serde_json::to_string(&children.deployment).unwrap();
    for part in ["stopSignal", "\"os\""] {
        assert!(!text.contains(part), "{text}");
    }
}

#[test]
fn the_field_is_known_from_1_33_on() {
    let version = |major: &str, minor: &str| {
        let info = json!({
            "major": major, "minor": minor, "gitVersion": "", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": ""
        });
        has_stop_signals(&serde_json::from_value(info).unwrap())
    };
    for (minor, known) in [
        ("32", false),
        ("33", true),
        ("33+", true),
        ("29+", false),
        ("100", true),
    ] {
        assert_eq!(version("1", minor), known, "{minor}");
    }
    assert!(version("2", "0"));
    assert!(!version("", ""));
}

/// The resources of the container that the operator adds, with these of the first container, of the
/// TaskQueue and of the installation.
fn added(handler: fn(Value) -> Vec<Edit>, first: Value, own: Value, installed: Value) -> Value {
    let mut edits = handler(with(&[("resources", first)]));
    edits.push(("/spec/worker/resources", own));
    let observed = Observed {
        endpoint: endpoint("redis://redis:6379"),
        credentials: None,
        workload: None,
        budget: None,
        knows_stop_signals: true,
    };
    let mut image = image();
    image.resources = serde_json::from_value(installed).unwrap();
    let children = build::build(&valid(&edits), &observed, &image);
    let deployment = serde_json::to_value(children.deployment).unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let ours = |container: &&Value| container["image"].as_str() == Some(image.name.as_str());
    let all = [&pod["initContainers"], &pod["containers"]].into_iter();
    let mut all = all.filter_map(Value::as_array).flatten();
    all.find(ours).unwrap()["resources"].clone()
}

fn amounts(cpu: &str, memory: &str) -> Value {
    json!({
        "requests": { "cpu": cpu, "memory": memory },
        "limits": { "cpu": cpu, "memory": memory, "ephemeral-storage": "1Gi" }
    })
}

#[test]
fn an_added_container_has_the_resources_that_the_task_queue_asks_for() {
    let (first, own, installed) = (
        amounts("1", "1Gi"),
        amounts("2", "2Gi"),
        amounts("3", "3Gi"),
    );
    for handler in [exec, stdio, |template| http(&json!({}), template)] {
        let given = added(handler, first.clone(), own.clone(), installed.clone());
        assert_eq!(given, own);
    }
    let none = added(exec, first, json!({}), installed);
    assert_eq!(none, json!({}), "none at all is a wish too");
}

#[test]
fn what_brings_the_worker_in_asks_for_as_much_as_the_first_container() {
    for handler in [exec, stdio] {
        let first = amounts("1", "1Gi");
        let given = added(handler, first.clone(), Value::Null, amounts("3", "3Gi"));
        assert_eq!(given, first);
    }
    let limits = json!({ "limits": { "cpu": "1" } });
    assert_eq!(
        added(exec, limits.clone(), Value::Null, Value::Null),
        limits
    );
}

#[test]
fn it_asks_for_no_devices_and_no_claims() {
    let devices = json!({ "nvidia.com/gpu": "1", "hugepages-2Mi": "2Mi" });
    let with_gpu = json!({
        "claims": [{ "name": "gpu" }], "requests": devices,
        "limits": { "nvidia.com/gpu": "1", "memory": "1Gi" }
    });
    let given = added(exec, with_gpu, Value::Null, Value::Null);
    assert_eq!(given, json!({ "limits": { "memory": "1Gi" } }));
    let only = json!({ "requests": devices, "limits": devices });
    let given = added(exec, only, Value::Null, Value::Null);
    assert_eq!(given["limits"], json!({ "memory": "64Mi" }), "its own");
}

#[test]
fn what_the_operator_was_installed_with_comes_before_its_own_choice() {
    let beside = |template| http(&json!({}), template);
    let installed = amounts("3", "3Gi");
    for handler in [exec, stdio, beside] {
        let given = added(handler, Value::Null, Value::Null, installed.clone());
        assert_eq!(given, installed);
    }
    // A container beside the server adds to what the pod needs, so that it is not made its equal.
    let given = added(beside, amounts("1", "1Gi"), Value::Null, Value::Null);
    let own =
        json!({ "requests": { "cpu": "20m", "memory": "32Mi" }, "limits": { "memory": "512Mi" } });
    assert_eq!(given, own);
    let given = added(exec, Value::Null, Value::Null, Value::Null);
    let own =
        json!({ "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": "64Mi" } });
    assert_eq!(given, own);
}

#[test]
fn without_a_template_the_workers_own_image_has_them() {
    let bare = |_| vec![];
    let (own, installed) = (amounts("2", "2Gi"), amounts("3", "3Gi"));
    let given = added(bare, Value::Null, own.clone(), installed.clone());
    assert_eq!(given, own);
    let given = added(bare, Value::Null, Value::Null, installed.clone());
    assert_eq!(given, installed);
    assert_eq!(
        added(bare, Value::Null, Value::Null, Value::Null),
        Value::Null
    );
}

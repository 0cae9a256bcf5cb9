use taskqueue_e2e::{SYSTEM, kubectl};

#[test]
fn helm_install_leaves_a_ready_operator_and_a_documented_resource() {
    let rollout = [
        "rollout",
        "status",
        "-n",
        SYSTEM,
        "deployment/taskqueue-operator",
        "--timeout=60s",
    ];
    kubectl(&rollout, "");
    let definition = kubectl(
        &[
            "get",
            "crd",
            "taskqueues.taskqueue.dev",
            "-o",
            "jsonpath={.metadata.annotations}",
        ],
        "",
    );
    assert!(
        definition.contains("\"helm.sh/resource-policy\":\"keep\""),
        "{definition}"
    );
    let explained = kubectl(&["explain", "tq.spec.retry.backoff"], "");
    for words in [
        "jitter",
        "Share of the wait that is random",
        "Exponential, Linear, Fixed",
    ] {
        assert!(explained.contains(words), "{explained}");
    }
}

#[test]
fn the_operator_is_restricted() {
    let pod = kubectl(
        &[
            "get",
            "pods",
            "-n",
            SYSTEM,
            "-l",
            "app.kubernetes.io/component=operator",
            "-o",
            "json",
        ],
        "",
    );
    let pods: serde_json::Value = serde_json::from_str(&pod).unwrap();
    let container = &pods["items"][0]["spec"]["containers"][0]["securityContext"];
    assert_eq!(container["readOnlyRootFilesystem"], true, "{container}");
    assert_eq!(container["allowPrivilegeEscalation"], false, "{container}");
    assert_eq!(container["capabilities"]["drop"][0], "ALL", "{container}");
}

//! What the policies ask of budgets, Events, Leases and statuses.

use serde_json::{Value, json};

use super::{Place, Row, Verdict, apply, delete, owner, post};

const YES: Verdict = Verdict::Passes;

fn no(words: &'static str) -> Verdict {
    Verdict::Policy(words)
}

pub(super) fn rows(
    Place {
        release, tenant, ..
    }: &Place,
) -> Vec<Row> {
    let budgets = format!("/apis/policy/v1/namespaces/{tenant}/poddisruptionbudgets");
    let budget = |owners: Value| {
        json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": { "name": "jobs", "ownerReferences": owners },
            "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "taskqueue.dev/name": "jobs" } } } })
    };
    let events = format!("/apis/events.k8s.io/v1/namespaces/{tenant}/events");
    let event = |kind: &str, api: &str, by: &str| {
        json!({ "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": { "name": "made", "namespace": tenant }, "eventTime": "2026-01-02T03:04:05.000000Z",
            "reportingController": by, "reportingInstance": "operator-0", "action": "Scale",
            "reason": "ScaledUp", "type": "Normal",
            "regarding": { "apiVersion": api, "kind": kind, "name": "jobs", "namespace": tenant } })
    };
    let (ours, queues) = ("taskqueue-operator", "taskqueue.dev/v1alpha1");
    let alone = "tells of TaskQueues alone";
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "another" } });
    let status = json!({ "apiVersion": queues, "kind": "TaskQueue", "status": { "replicas": 0 } });
    vec![
        apply(
            "make the budget of a TaskQueue",
            &format!("{budgets}/jobs"),
            budget(owner("jobs")),
            YES,
        ),
        apply(
            "make a budget that nobody owns",
            &format!("{budgets}/jobs"),
            budget(json!([])),
            no("has the name of the TaskQueue that owns it"),
        ),
        delete(
            "delete a budget of others",
            format!("{budgets}/theirs"),
            no("deletes no PodDisruptionBudget that no TaskQueue owns"),
        ),
        post(
            "tell of a TaskQueue",
            events.clone(),
            event("TaskQueue", queues, ours),
            YES,
        ),
        post(
            "tell of a pod",
            events.clone(),
            event("Pod", "v1", ours),
            no(alone),
        ),
        post(
            "tell something as the kubelet",
            events,
            event("TaskQueue", queues, "kubelet"),
            no(alone),
        ),
        post(
            "make another Lease",
            format!("/apis/coordination.k8s.io/v1/namespaces/{release}/leases"),
            lease,
            no("the operator has one Lease"),
        ),
        apply(
            "write a TaskQueue's status",
            &format!("/apis/taskqueue.dev/v1alpha1/namespaces/{tenant}/taskqueues/held/status"),
            status,
            YES,
        ),
    ]
}

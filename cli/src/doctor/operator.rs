//! Whether an operator runs and leads, by its Deployments and its Leases. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use kube::ResourceExt;

use super::report::Finding;
use crate::table;

/// What these findings are about.
pub(super) const CHECK: &str = "operator";
/// Name of the Lease that the operator leads by.
pub(super) const LEASE: &str = "taskqueue-operator";
/// What the chart's Deployment of an operator has for labels.
pub(super) const LABELS: &str =
    "app.kubernetes.io/part-of=taskqueue,app.kubernetes.io/component=operator";

/// Nobody is there.
pub(super) fn missing() -> Finding {
    Finding::problem(
        CHECK,
        "the cluster has no operator, so nothing makes or scales workers: helm install taskqueue charts/taskqueue \
         --namespace taskqueue-system --create-namespace",
    )
}

/// A Deployment of operators in which none is available.
pub(super) fn unavailable(deployment: &Deployment) -> Option<Finding> {
    let (namespace, name) = (
        deployment.namespace().unwrap_or_default(),
        deployment.name_any(),
    );
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let available = deployment
        .status
        .as_ref()
        .and_then(|it| it.available_replicas);
    if available.unwrap_or(0) > 0 {
        return None;
    }
    let text = match wanted {
        0 => format!(
            "the operator {namespace}/{name} is scaled to zero: kubectl scale deployment {name} -n {namespace} --replicas 1"
        ),
        _ => format!(
            "no pod of the operator {namespace}/{name} is ready: kubectl logs deployment/{name} -n {namespace}, and \
             kubectl describe deployment {name} -n {namespace} tell why"
        ),
    };
    Some(Finding::problem(CHECK, text))
}

/// What a Lease says of its holder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// It was renewed within its duration.
    Now,
    /// It was not, by these clocks; whether it still is renewed tells more.
    Perhaps,
    /// Nobody holds it.
    Nobody,
}

/// Whether somebody leads. `now` is by the clock of the API server; the time in the Lease is by that of
/// the operator's node.
pub(super) fn leads(lease: &Lease, now: Timestamp) -> Leads {
    let spec = lease.spec.clone().unwrap_or_default();
    let held = spec
        .holder_identity
        .is_some_and(|holder| !holder.is_empty());
    let duration = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(0).into());
    match spec.renew_time {
        Some(renewed) if held && now.duration_since(renewed.0).abs() <= duration => Leads::Now,
        Some(_) if held => Leads::Perhaps,
        _ => Leads::Nobody,
    }
}

/// The line about an operator that leads.
pub(super) fn well(lease: &Lease, deployment: Option<&Deployment>) -> Finding {
    let spec = lease.spec.as_ref();
    let holder = spec
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or("?");
    let namespace = lease.namespace().unwrap_or_default();
    let version = deployment.and_then(|it| it.labels().get("app.kubernetes.io/version"));
    let version = version.map_or_else(String::new, |version| format!(", version {version}"));
    Finding::ok(
        CHECK,
        format!("{holder} in namespace {namespace} leads{version}"),
    )
}

/// The line about a Lease that nobody renews.
pub(super) fn stale(lease: &Lease, now: Timestamp) -> Finding {
    let namespace = lease.namespace().unwrap_or_default();
    let renewed = lease
        .spec
        .as_ref()
        .and_then(|spec| spec.renew_time.as_ref());
    let since = renewed.map_or_else(String::new, |renewed| {
        format!(" since {}", table::age(renewed.0, now))
    });
    Finding::problem(
        CHECK,
        format!(
            "no operator leads{since}, so nothing makes or scales workers: kubectl get pods -n {namespace} -l {LABELS} \
             shows whether one runs"
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lease(spec: &Value) -> Lease {
        let lease = json!({"metadata": {"name": LEASE, "namespace": "system"}, "spec": spec});
        serde_json::from_value(lease).unwrap()
    }

    #[test]
    fn a_lease_is_held_within_its_duration_and_told_when_it_is_not() {
        let held = json!({"holderIdentity": "pod-1", "leaseDurationSeconds": 10,
            "renewTime": "2026-01-02T03:04:05.000000Z"});
        let now = |second: i64| -> Timestamp {
            let renewed: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
            renewed + SignedDuration::from_secs(second)
        };
        assert_eq!(leads(&lease(&held), now(3)), Leads::Now);
        // A clock that is a little behind.
        assert_eq!(leads(&lease(&held), now(-5)), Leads::Now);
        assert_eq!(leads(&lease(&held), now(60)), Leads::Perhaps);
        assert_eq!(leads(&lease(&held), now(-7200)), Leads::Perhaps);
        for free in [
            json!({}),
            json!({"holderIdentity": ""}),
            json!({"holderIdentity": "a"}),
        ] {
            assert_eq!(leads(&lease(&free), now(0)), Leads::Nobody, "{free}");
        }
        let text = stale(&lease(&held), now(7200)).text;
        assert!(
            text.starts_with("no operator leads since 2h, so nothing"),
            "{text}"
        );
        let text = well(&lease(&held), None).text;
        assert_eq!(text, "pod-1 in namespace system leads");
    }

    #[test]
    fn a_deployment_says_why_no_operator_is_there() {
        let deployment = |replicas: i32, status: Value| -> Deployment {
            let deployment = json!({
                "metadata": {"name": "taskqueue-operator", "namespace": "system"},
                "spec": {"replicas": replicas, "selector": {}, "template": {}}, "status": status
            });
            serde_json::from_value(deployment).unwrap()
        };
        assert_eq!(
            unavailable(&deployment(1, json!({"availableReplicas": 1}))),
            None
        );
        let text = unavailable(&deployment(1, json!({}))).unwrap().text;
        assert!(
            text.contains("kubectl logs deployment/taskqueue-operator -n system"),
            "{text}"
        );
        let text = unavailable(&deployment(0, json!({}))).unwrap().text;
        assert!(text.contains("--replicas 1"), "{text}");
    }
}

//! What the roles of the chart allow, and what nothing allows.

use serde_json::{Value, json};

use super::{Place, Row, Verdict, delete, get, patch, post};

const NO: Verdict = Verdict::NoRole;
const YES: Verdict = Verdict::Passes;

#[allow(clippy::too_many_lines, reason = "a table is as long as it has rows")]
pub(super) fn rows(place: &Place) -> Vec<Row> {
    let Place {
        release,
        account,
        tenant,
    } = place;
    let core = |rest: &str| format!("/api/v1/namespaces/{tenant}/{rest}");
    let apps = |rest: &str| format!("/apis/apps/v1/namespaces/{tenant}/{rest}");
    let queues = |rest: &str| format!("/apis/taskqueue.dev/v1alpha1/namespaces/{tenant}/{rest}");
    let rbac = |rest: &str| format!("/apis/rbac.authorization.k8s.io/v1/{rest}");
    let admission = |rest: &str| format!("/apis/admissionregistration.k8s.io/v1/{rest}");
    let leases =
        |namespace: &str| format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    let named = |kind: &str, api: &str| json!({ "apiVersion": api, "kind": kind, "metadata": { "name": "made" } });
    let admin = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": "made" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": release }] });
    let everything =
        json!({ "rules": [{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }] });
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "made" },
        "spec": { "containers": [{ "name": "a", "image": "a:1" }] } });
    let token = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": [] } });
    let kube_system = |rest: &str| format!("/api/v1/namespaces/kube-system/{rest}");
    vec![
        // Secrets, of which the names must be known.
        get("list Secrets", core("secrets"), NO),
        get(
            "watch Secrets",
            core("secrets?watch=true&timeoutSeconds=1"),
            NO,
        ),
        get("list all Secrets", "/api/v1/secrets".to_owned(), NO),
        delete("delete a Secret", core("secrets/theirs-redis"), NO),
        get("list ConfigMaps", kube_system("configmaps"), NO),
        // Pods, which come and go with their Deployments.
        post("make a pod", core("pods"), pod, NO),
        delete("delete a pod", core("pods/worker"), NO),
        post(
            "run a command in a pod",
            core("pods/worker/exec?command=id"),
            Value::Null,
            NO,
        ),
        post(
            "attach to a pod",
            core("pods/worker/attach"),
            Value::Null,
            NO,
        ),
        post(
            "forward a port of a pod",
            core("pods/worker/portforward"),
            Value::Null,
            NO,
        ),
        get("read a pod's log", core("pods/worker/log"), NO),
        post(
            "evict a pod",
            core("pods/worker/eviction"),
            named("Eviction", "policy/v1"),
            NO,
        ),
        patch(
            "change a pod's status",
            core("pods/worker/status"),
            json!({}),
            NO,
        ),
        patch(
            "add a container to a pod",
            core("pods/worker/ephemeralcontainers"),
            json!({}),
            NO,
        ),
        post(
            "bind a pod to a node",
            core("pods/worker/binding"),
            named("Binding", "v1"),
            NO,
        ),
        // Accounts and roles.
        post(
            "get a token of an account",
            core("serviceaccounts/default/token"),
            token.clone(),
            NO,
        ),
        post(
            "get a token of its own account",
            format!("/api/v1/namespaces/{release}/serviceaccounts/{account}/token"),
            token,
            NO,
        ),
        get("act as another user", core("pods"), NO).claiming("admin"),
        post(
            "make an account",
            core("serviceaccounts"),
            named("ServiceAccount", "v1"),
            NO,
        ),
        post(
            "bind cluster-admin to itself",
            rbac("clusterrolebindings"),
            admin,
            NO,
        ),
        post(
            "make a role",
            rbac("clusterroles"),
            named("ClusterRole", "rbac.authorization.k8s.io/v1"),
            NO,
        ),
        patch("widen a role", rbac("clusterroles/edit"), everything, NO),
        post(
            "bind a role in a namespace",
            rbac(&format!("namespaces/{tenant}/rolebindings")),
            named("RoleBinding", "rbac.authorization.k8s.io/v1"),
            NO,
        ),
        post(
            "ask for a certificate",
            "/apis/certificates.k8s.io/v1/certificatesigningrequests".to_owned(),
            named("CertificateSigningRequest", "certificates.k8s.io/v1"),
            NO,
        ),
        // The cluster.
        post(
            "make a namespace",
            "/api/v1/namespaces".to_owned(),
            named("Namespace", "v1"),
            NO,
        ),
        delete(
            "delete a namespace",
            format!("/api/v1/namespaces/{tenant}"),
            NO,
        ),
        patch(
            "label a namespace",
            format!("/api/v1/namespaces/{tenant}"),
            json!({}),
            NO,
        ),
        get("list nodes", "/api/v1/nodes".to_owned(), NO),
        patch(
            "change a node",
            "/api/v1/nodes/any".to_owned(),
            json!({}),
            NO,
        ),
        post(
            "make a volume of a node's folder",
            "/api/v1/persistentvolumes".to_owned(),
            named("PersistentVolume", "v1"),
            NO,
        ),
        patch(
            "change the definition of TaskQueues",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/taskqueues.taskqueue.dev"
                .to_owned(),
            json!({}),
            NO,
        ),
        post(
            "make a webhook",
            admission("mutatingwebhookconfigurations"),
            named(
                "MutatingWebhookConfiguration",
                "admissionregistration.k8s.io/v1",
            ),
            NO,
        ),
        delete(
            "delete a policy",
            admission("validatingadmissionpolicies/any"),
            NO,
        ),
        delete(
            "delete the binding of a policy",
            admission("validatingadmissionpolicybindings/any"),
            NO,
        ),
        // TaskQueues belong to who applied them.
        post(
            "make a TaskQueue",
            queues("taskqueues"),
            named("TaskQueue", "taskqueue.dev/v1alpha1"),
            NO,
        ),
        patch(
            "change a TaskQueue's spec",
            queues("taskqueues/held"),
            json!({ "spec": { "paused": true } }),
            NO,
        ),
        delete("delete a TaskQueue", queues("taskqueues/held"), NO),
        patch(
            "scale a TaskQueue",
            queues("taskqueues/held/scale"),
            json!({}),
            NO,
        ),
        // Workloads.
        delete("delete a Deployment", apps("deployments/theirs"), NO),
        post(
            "make a StatefulSet",
            apps("statefulsets"),
            named("StatefulSet", "apps/v1"),
            NO,
        ),
        patch(
            "change a StatefulSet",
            apps("statefulsets/any"),
            json!({}),
            NO,
        ),
        post(
            "make a DaemonSet",
            apps("daemonsets"),
            named("DaemonSet", "apps/v1"),
            NO,
        ),
        post(
            "make a Job",
            format!("/apis/batch/v1/namespaces/{tenant}/jobs"),
            named("Job", "batch/v1"),
            NO,
        ),
        post(
            "make an autoscaler",
            format!("/apis/autoscaling/v2/namespaces/{tenant}/horizontalpodautoscalers"),
            named("HorizontalPodAutoscaler", "autoscaling/v2"),
            NO,
        ),
        // Leases.
        post(
            "make a Lease elsewhere",
            leases(tenant),
            named("Lease", "coordination.k8s.io/v1"),
            NO,
        ),
        get(
            "read a Lease elsewhere",
            format!("{}/any", leases("kube-system")),
            NO,
        ),
        get("list Leases", leases(release), NO),
        patch(
            "change another Lease",
            format!("{}/any", leases(release)),
            json!({}),
            NO,
        ),
        delete(
            "delete its Lease",
            format!("{}/taskqueue-operator", leases(release)),
            NO,
        ),
        // What it needs to read.
        get("list TaskQueues", queues("taskqueues"), YES),
        get("list Deployments", apps("deployments"), YES),
        get("list pods", core("pods"), YES),
        get(
            "get a Secret that a TaskQueue names",
            core("secrets/theirs-redis"),
            YES,
        ),
        get(
            "list budgets",
            format!("/apis/policy/v1/namespaces/{tenant}/poddisruptionbudgets"),
            YES,
        ),
    ]
}

//! What the admission policies of the chart refuse, of all that the roles allow, and what they let pass.

use serde_json::{Value, json};

use super::{Place, Row, Verdict, apply, deployment, merge, others, owner, patch, post, unowned};

const YES: Verdict = Verdict::Passes;

fn no(words: &'static str) -> Verdict {
    Verdict::Policy(words)
}

pub(super) fn rows(place: &Place) -> Vec<Row> {
    let mut rows = secrets(place);
    rows.extend(deployments(place));
    rows.extend(scales(place));
    rows.extend(pods(place));
    rows.extend(others::rows(place));
    rows
}

/// Those that need no object to be there, one of each policy that has such a one.
pub(super) fn canaries(place: &Place) -> Vec<Row> {
    let canaries = [
        "make a Secret that nobody owns",
        "make a Deployment that nobody owns",
        "make a budget that nobody owns",
        "tell of a pod",
        "make another Lease",
    ];
    let mut rows = rows(place);
    rows.retain(|row| canaries.contains(&row.what));
    assert_eq!(rows.len(), canaries.len());
    rows
}

fn secrets(Place { tenant, .. }: &Place) -> Vec<Row> {
    let path =
        |namespace: &str, name: &str| format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    let secret = |name: &str, owners: Value| {
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": { "url": "YQ==" },
            "metadata": { "name": name, "ownerReferences": owners } })
    };
    let ours = || secret("jobs-redis", owner("jobs"));
    let mut token = ours();
    token["type"] = json!("kubernetes.io/service-account-token");
    token["metadata"]["annotations"] = json!({ "kubernetes.io/service-account.name": "default" });
    let mut more = ours();
    more["data"]["password"] = json!("YQ==");
    let mut posted = token.clone();
    posted["metadata"]["name"] = json!("token");
    let named = "named after the TaskQueue that owns it";
    vec![
        apply(
            "make the Secret of a TaskQueue",
            &path(tenant, "jobs-redis"),
            ours(),
            YES,
        ),
        apply(
            "make a Secret that becomes a token of an account",
            &path(tenant, "jobs-redis"),
            token,
            no("of type Opaque"),
        ),
        post(
            "make a plain token of an account",
            format!("/api/v1/namespaces/{tenant}/secrets"),
            unowned(posted),
            no("Secret"),
        ),
        apply(
            "make a Secret with another key",
            &path(tenant, "jobs-redis"),
            more,
            no("no key but url"),
        ),
        apply(
            "make a Secret that nobody owns",
            &path(tenant, "jobs-redis"),
            secret("jobs-redis", json!([])),
            no(named),
        ),
        apply(
            "make a Secret of another name",
            &path(tenant, "jobs"),
            secret("jobs", owner("jobs")),
            no(named),
        ),
        apply(
            "take a Secret over",
            &path(tenant, "theirs-redis"),
            secret("theirs-redis", owner("theirs")),
            no("changes no Secret that no TaskQueue owns"),
        ),
        patch(
            "change a Secret of others",
            path(tenant, "theirs-redis"),
            json!({ "data": { "url": "Yg==" } }),
            no(named),
        ),
        apply(
            "make a Secret in kube-system",
            &path("kube-system", "jobs-redis"),
            ours(),
            no("namespace of Kubernetes"),
        ),
    ]
}

fn deployments(place: &Place) -> Vec<Row> {
    let Place {
        release,
        account,
        tenant,
    } = place;
    let path = |namespace: &str, name: &str| {
        format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    };
    let ours = |namespace: &str, pod: Value| deployment(namespace, "jobs", &pod);
    let mut misnamed = ours(tenant, json!({}));
    misnamed["metadata"]["ownerReferences"] = owner("another");
    let image = |name: &str| json!({ "spec": { "template": { "spec": { "containers": [{ "name": name, "image": "evil:1" }] } } } });
    let named = "has the name of the TaskQueue that owns it";
    let account = |field: &str| ours(release, json!({ field: account }));
    let operator = "worker pods may not run as the operator's own account";
    vec![
        apply(
            "make the Deployment of a TaskQueue",
            &path(tenant, "jobs"),
            ours(tenant, json!({})),
            YES,
        ),
        apply(
            "make one in the release's namespace",
            &path(release, "jobs"),
            ours(release, json!({})),
            YES,
        ),
        apply(
            "make one there that runs as the operator",
            &path(release, "jobs"),
            account("serviceAccountName"),
            no(operator),
        ),
        apply(
            "make one there that runs as the operator, by the old name of the field",
            &path(release, "jobs"),
            account("serviceAccount"),
            no(operator),
        ),
        apply(
            "make a Deployment that nobody owns",
            &path(tenant, "jobs"),
            unowned(ours(tenant, json!({}))),
            no(named),
        ),
        apply(
            "make one of another name",
            &path(tenant, "jobs"),
            misnamed,
            no(named),
        ),
        apply(
            "make a Deployment in kube-system",
            &path("kube-system", "jobs"),
            ours("kube-system", json!({})),
            no("namespace of Kubernetes"),
        ),
        merge(
            "change the image of others",
            path(tenant, "theirs"),
            image("a"),
            no(named),
        ),
        apply(
            "take a Deployment over",
            &path(tenant, "theirs"),
            json!({ "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": "theirs", "ownerReferences": owner("theirs") } }),
            no("changes no Deployment that no TaskQueue owns"),
        ),
        merge(
            "change its own image",
            path(release, &place.account),
            image("operator"),
            no(named),
        ),
    ]
}

/// Only where the chart was not told to allow it.
pub(super) fn without_host_access(Place { tenant, .. }: &Place) -> Vec<Row> {
    let path = format!("/apis/apps/v1/namespaces/{tenant}/deployments/jobs");
    let privileged = |name: &str| json!([{ "name": name, "image": "a:1", "securityContext": { "privileged": true } }]);
    let pods = [
        (
            "use a folder of the node",
            json!({ "volumes": [{ "name": "a", "hostPath": { "path": "/" } }] }),
        ),
        ("use the node's network", json!({ "hostNetwork": true })),
        ("use the node's processes", json!({ "hostPID": true })),
        ("use the node's IPC", json!({ "hostIPC": true })),
        (
            "run a privileged container",
            json!({ "containers": privileged("a") }),
        ),
        (
            "begin with a privileged container",
            json!({ "initContainers": privileged("b") }),
        ),
    ];
    let rows = pods.into_iter().map(|(what, pod)| {
        let made = deployment(tenant, "jobs", &pod);
        apply(what, &path, made, no("may not use the node"))
    });
    rows.collect()
}

fn scales(
    Place {
        release,
        account,
        tenant,
    }: &Place,
) -> Vec<Row> {
    let path =
        |namespace: &str, name: &str| format!("/apis/apps/v1/namespaces/{namespace}/{name}/scale");
    let to = |replicas: u32| json!({ "spec": { "replicas": replicas } });
    vec![
        patch(
            "scale the workers of a source",
            path(tenant, "deployments/theirs"),
            to(3),
            YES,
        ),
        patch(
            "scale itself",
            path(release, &format!("deployments/{account}")),
            to(0),
            no("scales neither itself nor its Redis"),
        ),
        patch(
            "scale its Redis",
            path(release, "statefulsets/taskqueue-redis"),
            to(0),
            no("scales neither itself nor its Redis"),
        ),
        patch(
            "scale what Kubernetes runs",
            path("kube-system", "deployments/coredns"),
            to(0),
            no("scales nothing in a namespace of Kubernetes"),
        ),
    ]
}

fn pods(Place { tenant, .. }: &Place) -> Vec<Row> {
    let path = |name: &str| format!("/api/v1/namespaces/{tenant}/pods/{name}");
    let annotated = |annotations: Value| json!({ "metadata": { "annotations": annotations } });
    let shield = json!({ "taskqueue.dev/shielded": "true", "karpenter.sh/do-not-disrupt": "true",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false" });
    let cost = || annotated(json!({ "controller.kubernetes.io/pod-deletion-cost": "-1000" }));
    let metadata = "changes nothing of a pod but annotations";
    let foreign = "changes no annotation of a pod but its deletion cost and its shield";
    vec![
        patch(
            "give a worker pod a deletion cost",
            path("worker"),
            cost(),
            YES,
        ),
        patch(
            "shield a worker pod",
            path("worker"),
            annotated(shield),
            YES,
        ),
        merge(
            "change a pod's image",
            path("worker"),
            json!({ "spec": { "containers": [{ "name": "a", "image": "evil:1" }] } }),
            no(metadata),
        ),
        patch(
            "take a pod out of its Deployment",
            path("worker"),
            json!({ "metadata": { "labels": { "taskqueue.dev/name": null } } }),
            no(metadata),
        ),
        patch(
            "keep a pod from being deleted",
            path("worker"),
            json!({ "metadata": { "finalizers": ["example.com/a"] } }),
            no(metadata),
        ),
        patch(
            "give a pod to another owner",
            path("worker"),
            json!({ "metadata": { "ownerReferences": owner("jobs") } }),
            no(metadata),
        ),
        patch(
            "add an annotation of others",
            path("worker"),
            annotated(json!({ "a": "b" })),
            no(foreign),
        ),
        patch(
            "change an annotation of others",
            path("worker"),
            annotated(json!({ "theirs": "b" })),
            no(foreign),
        ),
        patch(
            "take an annotation of others",
            path("worker"),
            annotated(json!({ "theirs": null })),
            no(foreign),
        ),
        patch(
            "write to a pod of others",
            path("other"),
            cost(),
            no("writes to worker pods alone"),
        ),
    ]
}

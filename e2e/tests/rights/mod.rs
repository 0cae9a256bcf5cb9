//! What the operator's account may do, and what not, whoever has its token: by its roles, and by the admission
//! policies of the chart. Requests are for a trial (`dryRun`), so that nothing is left of those that pass.

mod others;
mod policies;
mod roles;

use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use taskqueue_e2e::{Patience, eventually};

/// Where the requests go.
pub(crate) struct Place {
    /// Namespace of the release.
    pub(crate) release: String,
    /// The operator's account there, and its Deployment.
    pub(crate) account: String,
    /// A namespace of TaskQueues, with what [`Place::furnish`] puts there.
    pub(crate) tenant: String,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is carried out.
    Passes,
    /// No role allows it.
    NoRole,
    /// A policy refuses it, with these words.
    Policy(&'static str),
}

/// One request and what becomes of it.
pub(crate) struct Row {
    what: &'static str,
    method: Method,
    path: String,
    body: Value,
    content: &'static str,
    /// Whom it claims to be.
    user: Option<&'static str>,
    verdict: Verdict,
}

/// A request that makes something.
pub(crate) fn post(what: &'static str, path: String, body: Value, verdict: Verdict) -> Row {
    row(what, Method::POST, path, body, "application/json", verdict)
}

/// A request that changes something.
pub(crate) fn patch(what: &'static str, path: String, body: Value, verdict: Verdict) -> Row {
    row(
        what,
        Method::PATCH,
        path,
        body,
        "application/merge-patch+json",
        verdict,
    )
}

/// A request that changes something, and of lists what it names.
pub(crate) fn merge(what: &'static str, path: String, body: Value, verdict: Verdict) -> Row {
    row(
        what,
        Method::PATCH,
        path,
        body,
        "application/strategic-merge-patch+json",
        verdict,
    )
}

/// A server-side apply as the operator does it: makes or changes something, whoever has what of it.
pub(crate) fn apply(what: &'static str, path: &str, body: Value, verdict: Verdict) -> Row {
    let path = format!("{path}?fieldManager=taskqueue-operator&force=true");
    row(
        what,
        Method::PATCH,
        path,
        body,
        "application/apply-patch+yaml",
        verdict,
    )
}

/// A request that reads something.
pub(crate) fn get(what: &'static str, path: String, verdict: Verdict) -> Row {
    row(
        what,
        Method::GET,
        path,
        Value::Null,
        "application/json",
        verdict,
    )
}

/// A request that deletes something.
pub(crate) fn delete(what: &'static str, path: String, verdict: Verdict) -> Row {
    row(
        what,
        Method::DELETE,
        path,
        Value::Null,
        "application/json",
        verdict,
    )
}

fn row(
    what: &'static str,
    method: Method,
    path: String,
    body: Value,
    content: &'static str,
    verdict: Verdict,
) -> Row {
    Row {
        what,
        method,
        path,
        body,
        content,
        user: None,
        verdict,
    }
}

impl Row {
    /// The same request in the name of another user.
    pub(crate) fn claiming(self, user: &'static str) -> Self {
        Self {
            user: Some(user),
            ..self
        }
    }

    /// Sends it, and tells what is wrong with what came of it.
    async fn check(&self, client: &Client) -> Result<(), String> {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        let path = match self.method {
            Method::GET => self.path.clone(),
            _ => format!("{}{mark}dryRun=All", self.path),
        };
        let body = match &self.body {
            Value::Null => Vec::new(),
            body => serde_json::to_vec(body).unwrap(),
        };
        let mut request = Request::builder()
            .method(&self.method)
            .uri(path)
            .header("content-type", self.content);
        if let Some(user) = self.user {
            request = request.header("impersonate-user", user);
        }
        let request = request.body(body).unwrap();
        let outcome = match client.request_text(request).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err((status.code, status.message)),
            Err(error) => return Err(format!("{}: {error}", self.what)),
        };
        let as_told = match (&outcome, self.verdict) {
            (Ok(()), Verdict::Passes) => true,
            (Err((403, words)), Verdict::NoRole) => {
                words.contains(" cannot ") && words.contains(" resource \"")
            }
            (Err((422, words)), Verdict::Policy(part)) => {
                words.contains("ValidatingAdmissionPolicy") && words.contains(part)
            }
            _ => false,
        };
        if as_told {
            Ok(())
        } else {
            Err(format!(
                "{}: {:?} and not {outcome:?}",
                self.what, self.verdict
            ))
        }
    }
}

/// Sends all of them, and fails with those that came out otherwise.
pub(crate) async fn hold(client: &Client, rows: &[Row]) {
    let mut wrong = Vec::new();
    for row in rows {
        wrong.extend(row.check(client).await.err());
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

impl Place {
    /// All that holds of the operator of any release that serves the tenant, by its roles and its policies.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows = roles::rows(self);
        rows.extend(policies::rows(self));
        rows
    }

    /// What holds where worker pods may not use the node.
    pub(crate) fn rows_without_host_access(&self) -> Vec<Row> {
        policies::without_host_access(self)
    }

    /// Waits until the policies are in force: they are so a moment after they were made.
    pub(crate) async fn in_force(&self, client: &Client) {
        eventually("the policies are in force", Patience::NORMAL, async || {
            for row in policies::canaries(self) {
                row.check(client).await?;
            }
            Ok::<_, String>(())
        })
        .await;
    }

    /// Objects of others, which the requests are about. Nobody starts the pods.
    pub(crate) fn furnish(&self, apply: impl Fn(&str)) {
        let pod = |name: &str, labels: Value| {
            json!({ "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": name, "namespace": self.tenant, "labels": labels,
                    "annotations": { "theirs": "a" } },
                "spec": { "schedulerName": "nobody", "containers": [{ "name": "a", "image": "a:1" }] } })
        };
        let theirs = unowned(deployment(&self.tenant, "theirs", &Value::Null));
        let objects = [
            pod("worker", json!({ "taskqueue.dev/name": "jobs" })),
            pod("other", json!({ "app": "other" })),
            theirs,
            json!({ "apiVersion": "v1", "kind": "Secret", "stringData": { "url": "a" },
                "metadata": { "name": "theirs-redis", "namespace": self.tenant } }),
            json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                "metadata": { "name": "theirs", "namespace": self.tenant },
                "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": "theirs" } } } }),
            // The operator carries nothing of it out, since a source may not read its default Redis.
            json!({ "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
                "metadata": { "name": "held", "namespace": self.tenant },
                "spec": { "source": { "list": { "key": "a" } }, "targetRef": { "kind": "Deployment", "name": "theirs" } } }),
        ];
        for object in objects {
            apply(&object.to_string());
        }
    }
}

/// That a TaskQueue of this name owns an object.
fn owner(name: &str) -> Value {
    json!([{ "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue", "name": name,
        "uid": "5cf0a1de-0000-0000-0000-000000000001", "controller": true }])
}

/// The same object, with no owner.
fn unowned(mut object: Value) -> Value {
    object["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("ownerReferences");
    object
}

/// A Deployment as the operator makes one, with these fields of its pods.
fn deployment(namespace: &str, name: &str, pod: &Value) -> Value {
    let labels = json!({ "taskqueue.dev/name": name });
    let mut spec = json!({ "containers": [{ "name": "a", "image": "a:1" }] });
    for (field, value) in pod.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace, "ownerReferences": owner(name) },
        "spec": { "replicas": 0, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec } } })
}

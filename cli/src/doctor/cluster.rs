//! Looks at the cluster: the API server, the definition of TaskQueues, the operator and the TaskQueues. What
//! the answers mean is judged in the files of each.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use taskqueue_api::TaskQueue;
use taskqueue_queue::QueueName;
use tokio::time::{Instant, sleep, timeout};

use super::operator::{self, Leads};
use super::report::Finding;
use super::{LONGEST, definition, taskqueues};
use crate::kubernetes;

/// What the finding about the API server is about.
const CHECK: &str = "cluster";
/// Where the operator is by default, for those who may not look everywhere.
const SYSTEM: &str = "taskqueue-system";
/// The most TaskQueues that are looked at.
const MOST: u32 = 1000;
/// How often a Lease is looked at while it is awaited.
const AGAIN: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) findings: Vec<Finding>,
    /// The queues of the TaskQueues, as far as they are in the Redis of the operator.
    pub(super) queues: Vec<QueueName>,
}

/// Looks at the cluster of this context. Only the TaskQueues of `namespace`, if one is given.
pub(super) async fn look(context: Option<&str>, namespace: Option<&str>) -> Seen {
    let mut seen = Seen::default();
    let client = match reach(context).await {
        Ok((client, finding)) => {
            seen.findings.push(finding);
            client
        }
        Err(finding) => {
            seen.findings.push(finding);
            return seen;
        }
    };
    let now = timeout(LONGEST, kubernetes::now(&client)).await;
    let now = now.unwrap_or_else(|_| Timestamp::now());
    let (defined, operator, queues) = tokio::join!(
        defined(&client),
        operator(&client, now),
        queues(&client, namespace)
    );
    let is_missing = defined == definition::missing();
    seen.findings.push(defined);
    seen.findings.extend(operator);
    match queues {
        // It says so already.
        Err(_) if is_missing => {}
        Err(obstacle) => seen
            .findings
            .push(obstacle.told(taskqueues::CHECK, "TaskQueues")),
        Ok((queues, unread)) => {
            seen.findings.extend(unread);
            seen.findings.extend(taskqueues::judge(&queues, now));
            seen.queues = queues.iter().filter_map(queue_name).collect();
        }
    }
    seen
}

/// Why something could not be seen.
enum Obstacle {
    /// There is no such thing.
    Missing,
    /// The user may not see it.
    Denied(String),
    /// It went wrong.
    Failed(String),
}

impl Obstacle {
    fn told(self, check: &'static str, what: &str) -> Finding {
        match self {
            Self::Missing => Finding::unknown(check, format!("the API server knows no {what}")),
            Self::Denied(why) => {
                Finding::unknown(check, format!("you may not look at {what}: {why}"))
            }
            Self::Failed(why) => Finding::problem(check, format!("cannot look at {what}: {why}")),
        }
    }
}

/// The answer to a question, or why there is none in time.
async fn ask<T>(question: impl Future<Output = kube::Result<T>>) -> Result<T, Obstacle> {
    match timeout(LONGEST, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(match status.code {
            404 => Obstacle::Missing,
            401 | 403 => Obstacle::Denied(status.message),
            _ => Obstacle::Failed(status.message),
        }),
        Ok(Err(error)) => Err(Obstacle::Failed(with_causes(&error))),
        Err(_) => Err(Obstacle::Failed(format!(
            "no answer within {} s",
            LONGEST.as_secs()
        ))),
    }
}

/// An error with its causes, each once.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        cause = error.source();
    }
    told
}

async fn reach(context: Option<&str>) -> Result<(Client, Finding), Finding> {
    let config = match kubernetes::config(context).await {
        Ok(config) => config,
        Err(_) if context.is_none() && !is_named() => {
            let text = "no kubeconfig: set KUBECONFIG to look at a cluster as well";
            return Err(Finding::unknown(CHECK, text));
        }
        Err(failure) => return Err(Finding::problem(CHECK, failure.message())),
    };
    let server = config.cluster_url.to_string();
    let failed = |why: &str| {
        let text = format!(
            "the API server {server} cannot be reached: {why}. Is KUBECONFIG right, and does it run?"
        );
        Finding::problem(CHECK, text)
    };
    let client = Client::try_from(config).map_err(|error| failed(&with_causes(&error)))?;
    match ask(client.apiserver_version()).await {
        Ok(version) => {
            let text = format!("Kubernetes {} at {server}", version.git_version);
            Ok((client, Finding::ok(CHECK, text)))
        }
        Err(Obstacle::Denied(why)) => Err(Finding::problem(
            CHECK,
            format!(
                "the API server {server} refuses the user of the kubeconfig: {why}. Log in again"
            ),
        )),
        Err(Obstacle::Failed(why)) => Err(failed(&why)),
        Err(Obstacle::Missing) => Err(failed("it is no API server")),
    }
}

/// Whether a kubeconfig was meant to be there.
fn is_named() -> bool {
    let named = std::env::var_os("KUBECONFIG").is_some_and(|it| !it.is_empty());
    let home = std::env::var_os("HOME").map(PathBuf::from);
    named || home.is_some_and(|home| home.join(".kube/config").exists())
}

async fn defined(client: &Client) -> Finding {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = taskqueue_api::definition().name_any();
    match ask(definitions.get(&name)).await {
        Ok(installed) => definition::judge(&installed),
        Err(Obstacle::Missing) => definition::missing(),
        Err(obstacle) => obstacle.told(definition::CHECK, "CustomResourceDefinitions"),
    }
}

async fn operator(client: &Client, now: Timestamp) -> Vec<Finding> {
    let of_chart = ListParams::default().labels(operator::LABELS);
    let of_name = ListParams::default().fields(&format!("metadata.name={}", operator::LEASE));
    let (deployments, leases) = tokio::join!(
        everywhere::<Deployment>(client, &of_chart),
        everywhere::<Lease>(client, &of_name)
    );
    let (deployments, leases) = match (deployments, leases) {
        (Err(obstacle), Err(_)) => {
            return vec![obstacle.told(operator::CHECK, "Deployments and Leases")];
        }
        (deployments, leases) => (deployments.unwrap_or_default(), leases.unwrap_or_default()),
    };
    let mut findings: Vec<_> = deployments
        .iter()
        .filter_map(operator::unavailable)
        .collect();
    let of = |namespace: Option<String>| {
        let there = deployments.iter().find(|it| it.namespace() == namespace);
        there.cloned()
    };
    let mut idle = Vec::new();
    for lease in &leases {
        let deployment = of(lease.namespace());
        if leads(client, lease, now).await {
            findings.push(operator::well(lease, deployment.as_ref()));
        } else {
            idle.push((lease, deployment));
        }
    }
    // A Lease that an operator left behind says nothing while another one leads, and no more than its
    // Deployment does.
    if findings.is_empty() {
        findings.extend(idle.iter().map(|(lease, _)| operator::stale(lease, now)));
    }
    if findings.is_empty() {
        findings.push(operator::missing());
    }
    findings
}

/// Whether somebody leads by a Lease. One whose time says nothing, since clocks differ, is awaited.
async fn leads(client: &Client, lease: &Lease, now: Timestamp) -> bool {
    match operator::leads(lease, now) {
        Leads::Now => return true,
        Leads::Nobody => return false,
        Leads::Perhaps => {}
    }
    let leases: Api<Lease> =
        Api::namespaced(client.clone(), &lease.namespace().unwrap_or_default());
    let until = Instant::now() + LONGEST;
    while Instant::now() < until {
        sleep(AGAIN).await;
        if let Ok(again) = ask(leases.get(operator::LEASE)).await
            && again.spec != lease.spec
        {
            return operator::leads(&again, now) != Leads::Nobody;
        }
    }
    false
}

/// Objects of all namespaces; for those who may not list these, of the one that the chart names.
async fn everywhere<K>(client: &Client, which: &ListParams) -> Result<Vec<K>, Obstacle>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let found = match ask(Api::<K>::all(client.clone()).list(which)).await {
        Err(Obstacle::Denied(_)) => {
            ask(Api::<K>::namespaced(client.clone(), SYSTEM).list(which)).await
        }
        found => found,
    };
    found.map(|list| list.items)
}

/// The TaskQueues, and findings about those that cannot be read.
async fn queues(
    client: &Client,
    namespace: Option<&str>,
) -> Result<(Vec<TaskQueue>, Vec<Finding>), Obstacle> {
    let kind = ApiResource::erase::<TaskQueue>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    };
    let which = ListParams::default().limit(MOST);
    let found = match ask(api.list(&which)).await {
        Err(Obstacle::Denied(_)) if namespace.is_none() => {
            ask(Api::default_namespaced_with(client.clone(), &kind).list(&which)).await
        }
        found => found,
    }?;
    let mut queues = Vec::new();
    let mut unread = Vec::new();
    if found.metadata.continue_.is_some() {
        let text = format!(
            "there are more than {MOST}: these are the first; -n looks at those of a namespace"
        );
        unread.push(Finding::unknown(taskqueues::CHECK, text));
    }
    for object in found.items {
        let title = format!(
            "{}/{}",
            object.namespace().unwrap_or_default(),
            object.name_any()
        );
        match object.try_parse() {
            Ok(queue) => queues.push(queue),
            Err(error) => {
                let text = format!("{title} cannot be read by this tq: {}", with_causes(&error));
                unread.push(Finding::warning(taskqueues::CHECK, text));
            }
        }
    }
    Ok((queues, unread))
}

/// The queue of a TaskQueue that is in the Redis of the operator.
fn queue_name(queue: &TaskQueue) -> Option<QueueName> {
    let elsewhere = queue.spec.redis.is_some() || queue.spec.source.is_some();
    let name = queue
        .spec
        .queue_name
        .clone()
        .unwrap_or_else(|| queue.name_any());
    (!elsewhere)
        .then(|| QueueName::new(&queue.namespace()?, &name).ok())
        .flatten()
}

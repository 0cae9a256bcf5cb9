//! The operator's account as the chart makes it: what its token is good for, and that it is enough.

use std::process::Command;

use k8s_openapi::api::{
    apps::v1::Deployment, core::v1::Secret, events::v1::Event, policy::v1::PodDisruptionBudget,
};
use kube::{Api, Client, ResourceExt, api::ListParams, config::Kubeconfig};
use serde_json::{Value, json};
use taskqueue_api::TaskQueue;
use taskqueue_e2e::{
    Account, Patience,
    alone::{ApiServer, Operator},
    eventually, try_kubectl,
};
use taskqueue_queue::testing::RedisServer;

use crate::requests::{Place, Verdict, get, hold};

/// An API server with the chart's objects of one release, and nobody who acts on them.
struct Installed {
    server: ApiServer,
    place: Place,
    account: Account,
}

impl Installed {
    async fn with(values: &[&str]) -> Self {
        let server = ApiServer::start().await;
        let place = Place {
            release: "system".to_owned(),
            account: "taskqueue-operator".to_owned(),
            tenant: "shop".to_owned(),
        };
        for namespace in [&place.release, &place.tenant] {
            run(&server, &["create", "namespace", namespace], "").unwrap();
        }
        apply(&server, &rendered(values));
        let admin = Kubeconfig::read_from(server.kubeconfig()).unwrap();
        let account = Account::of(&admin, &place.release, &place.account).await;
        Self {
            server,
            place,
            account,
        }
    }
}

/// The chart's objects but the definition, which is there.
fn rendered(values: &[&str]) -> String {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/taskqueue");
    let mut helm = Command::new("helm");
    helm.args(["template", "taskqueue", chart, "--namespace", "system"]);
    for value in [&["crds.install=false"], values].concat() {
        helm.args(["--set", value]);
    }
    let output = helm.output();
    let output = output.expect("helm must be in PATH: run make test-alone");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// `kubectl` as one who may do everything: what it printed, or its error.
fn run(server: &ApiServer, arguments: &[&str], input: &str) -> Result<String, String> {
    let kubeconfig = format!("--kubeconfig={}", server.kubeconfig().display());
    let all: Vec<_> = [kubeconfig.as_str()]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    try_kubectl(&all, input)
}

fn apply(server: &ApiServer, manifest: &str) {
    run(server, &["apply", "--server-side", "-f", "-"], manifest).unwrap();
}

#[tokio::test]
async fn the_operators_token_is_good_for_what_its_code_does_and_for_nothing_else() {
    let installed = Installed::with(&["redis.enabled=true"]).await;
    let Installed {
        server,
        place,
        account,
    } = &installed;
    place.furnish(|manifest| {
        apply(server, manifest);
    });
    let coredns = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "coredns", "namespace": "kube-system" },
        "spec": { "selector": { "matchLabels": { "app": "dns" } }, "template": {
            "metadata": { "labels": { "app": "dns" } },
            "spec": { "containers": [{ "name": "a", "image": "a:1" }] } } } });
    apply(server, &coredns.to_string());
    let client = account.client().await;
    place.in_force(&client).await;
    hold(&client, &place.rows()).await;
    hold(&client, &place.rows_without_host_access()).await;
}

#[tokio::test]
async fn rights_that_no_feature_in_use_needs_are_not_given() {
    let values = [
        "watch.namespace=shop",
        "rbac.secrets=false",
        "sources.enabled=false",
        "redis.url=redis://redis",
    ];
    let installed = Installed::with(&values).await;
    let client = installed.account.client().await;
    let no = Verdict::NoRole;
    let secret = |namespace: &str| format!("/api/v1/namespaces/{namespace}/secrets/any");
    let apps = "/apis/apps/v1";
    let rows = [
        get("read a Secret", secret("shop"), no),
        get("read a Secret elsewhere", secret("system"), no),
        get(
            "list StatefulSets",
            format!("{apps}/namespaces/shop/statefulsets"),
            no,
        ),
        get(
            "list Deployments elsewhere",
            format!("{apps}/namespaces/system/deployments"),
            no,
        ),
        get("list all Deployments", format!("{apps}/deployments"), no),
        get(
            "list Deployments",
            format!("{apps}/namespaces/shop/deployments"),
            Verdict::Passes,
        ),
    ];
    // The authorizer sees new roles a moment later.
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "shop");
    eventually("the roles are in force", Patience::NORMAL, async || {
        deployments.list(&ListParams::default()).await
    })
    .await;
    hold(&client, &rows).await;
}

/// Everything that the operator writes but to pods, of which there are none here.
#[tokio::test]
async fn the_operator_does_its_work_with_the_rights_of_the_chart() {
    let installed = Installed::with(&["redis.enabled=true"]).await;
    let Installed {
        server,
        place,
        account,
    } = &installed;
    let redis = RedisServer::start().await;
    let _: () = redis
        .command("ACL SETUSER operator on >secret ~* &* +@all")
        .await;
    let url = redis.url().replacen("://", "://operator:secret@", 1);
    place.in_force(&account.client().await).await;
    let kubeconfig = account.write(server.folder());
    let _operator = Operator::start_as(server, &kubeconfig, &place.release, "operator-0", &url);

    let queue = |worker: Value| {
        json!({ "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
            "metadata": { "name": "jobs", "namespace": place.tenant },
            "spec": { "worker": worker, "scaling": { "minReplicas": 2 } } })
    };
    let handler = json!({ "native": {} });
    let with_budget = json!({ "handler": handler, "disruptionBudget": { "maxUnavailable": 1 } });
    apply(server, &queue(with_budget).to_string());
    let client = server.client().await;
    let told = Told::by(&client, &place.tenant);
    eventually(
        "workers, Secret, budget, status and Event",
        Patience::NORMAL,
        async || told.all().await,
    )
    .await;
    let without = json!({ "handler": handler });
    apply(server, &queue(without).to_string());
    eventually(
        "the budget is deleted",
        Patience::NORMAL,
        async || match told.budgets.get_opt("jobs").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}

#[tokio::test]
async fn rendering_anew_does_not_change_the_password_of_a_redis_that_stands() {
    let installed = Installed::with(&["redis.enabled=true"]).await;
    let secret = |text: &str| {
        let mut documents = text.split("\n---\n");
        let found = documents.find(|it| it.contains("kind: Secret\n") && it.contains("users.acl"));
        found.expect("there is a Secret").to_owned()
    };
    let again = secret(&rendered(&["redis.enabled=true"]));
    let again = run(
        &installed.server,
        &["apply", "--server-side", "-f", "-"],
        &again,
    );
    let refused = again.unwrap_err();
    assert!(refused.contains("immutable"), "{refused}");
}

/// What an operator tells and makes of the TaskQueue `jobs`.
struct Told {
    queues: Api<TaskQueue>,
    deployments: Api<Deployment>,
    secrets: Api<Secret>,
    budgets: Api<PodDisruptionBudget>,
    events: Api<Event>,
}

impl Told {
    fn by(client: &Client, namespace: &str) -> Self {
        Self {
            queues: Api::namespaced(client.clone(), namespace),
            deployments: Api::namespaced(client.clone(), namespace),
            secrets: Api::namespaced(client.clone(), namespace),
            budgets: Api::namespaced(client.clone(), namespace),
            events: Api::namespaced(client.clone(), namespace),
        }
    }

    /// What is missing of it.
    async fn all(&self) -> Result<(), String> {
        let missing = |error: kube::Error| error.to_string();
        let queue = self.queues.get("jobs").await.map_err(missing)?;
        let told = format!(
            "{:?}",
            queue.status.as_ref().map(|status| &status.conditions)
        );
        let deployment = self.deployments.get("jobs").await;
        let deployment = deployment.map_err(|error| format!("{error}: {told}"))?;
        if deployment.spec.replicas != Some(2) {
            return Err(format!("{:?} replicas", deployment.spec.replicas));
        }
        self.secrets.get("jobs-redis").await.map_err(missing)?;
        self.budgets.get("jobs").await.map_err(missing)?;
        if queue
            .status
            .is_none_or(|status| status.desired_replicas != Some(2))
        {
            return Err(format!("the status is {told}"));
        }
        let events = self
            .events
            .list(&ListParams::default())
            .await
            .map_err(missing)?;
        let names: Vec<_> = events.iter().map(ResourceExt::name_any).collect();
        if names.is_empty() {
            return Err("no Event".to_owned());
        }
        Ok(())
    }
}

//! The attackers seen from the measurement: each a process of its own at the lowest priority, since
//! they stand for other machines.

use std::{path::Path, process::Stdio, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Secret},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;
use taskqueue_api::TaskQueue;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::{attack::NAMES, cage::FILES};

/// Their namespace.
pub(crate) const NAMESPACE: &str = "hostile";
/// How long attackers may take until all of them are at it.
const PATIENCE: Duration = Duration::from_mins(15);
/// How long one may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Attackers at work.
pub(crate) struct Attackers(Vec<Attacker>);

struct Attacker {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    telling: JoinHandle<()>,
}

impl Attackers {
    /// Starts these, and waits until all of them are at it. `target` is where the operator's port
    /// is, `resolves` whether the operator asks our name server.
    pub(crate) async fn start(
        names: &[&str],
        kubeconfig: &Path,
        target: &watch::Receiver<String>,
        resolves: bool,
    ) -> Self {
        let names = resolves
            .then_some(NAMES)
            .into_iter()
            .chain(names.iter().copied());
        let started = names.map(|name| Attacker::start(name, kubeconfig, target.clone()));
        Self(join_all(started).await)
    }

    /// Ends them, and returns what they have to tell.
    pub(crate) async fn end(self) -> Vec<String> {
        let told = join_all(self.0.into_iter().map(Attacker::end)).await;
        told.into_iter().flatten().collect()
    }
}

impl Attacker {
    async fn start(name: &str, kubeconfig: &Path, mut target: watch::Receiver<String>) -> Self {
        let own = std::env::current_exe().expect("this program has a path");
        let mut process = Command::new("sh")
            .args(["-c", &format!("{FILES}\nexec nice -n 19 \"$@\""), "attack"])
            .arg(own)
            .args(["attack", "--kubeconfig"])
            .arg(kubeconfig)
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program can be started once more");
        let input = process.stdin.take().expect("it is piped");
        let output = process.stdout.take().expect("it is piped");
        let telling = tokio::spawn(async move { tell(&mut target, input).await });
        let mut output = BufReader::new(output).lines();
        let ready = timeout(PATIENCE, output.next_line()).await;
        let ready = ready.unwrap_or_else(|_| panic!("{name} does not begin"));
        let ready = ready.expect("a pipe can be read");
        assert_eq!(ready.as_deref(), Some("ready"), "{name} ended early");
        Self {
            process,
            output,
            telling,
        }
    }

    async fn end(mut self) -> Vec<String> {
        // The end of its input ends it.
        self.telling.abort();
        let _ = self.telling.await;
        let mut told = Vec::new();
        while let Ok(Ok(Some(line))) = timeout(GRACE, self.output.next_line()).await {
            told.push(line);
        }
        let _ = self.process.kill().await;
        told
    }
}

/// Tells where the operator's port is now.
async fn tell(target: &mut watch::Receiver<String>, mut input: ChildStdin) {
    loop {
        let line = format!("{}\n", *target.borrow_and_update());
        if input.write_all(line.as_bytes()).await.is_err() || target.changed().await.is_err() {
            return;
        }
    }
}

/// Makes the namespaces of both sides.
pub(crate) async fn make_namespaces(client: &Client) {
    let api: Api<Namespace> = Api::all(client.clone());
    for name in [NAMESPACE, crate::honest::NAMESPACE] {
        let namespace = json!({ "metadata": { "name": name } });
        let namespace = serde_json::from_value(namespace).expect("a namespace");
        let made = api.create(&PostParams::default(), &namespace).await;
        made.expect("the namespace can be made");
    }
}

/// Takes away what attackers have left; nobody collects garbage here.
pub(crate) async fn clean(client: &Client) {
    let (how, all) = (DeleteParams::default(), ListParams::default());
    let queues: Api<TaskQueue> = Api::namespaced(client.clone(), NAMESPACE);
    let gone = queues.delete_collection(&how, &all).await;
    gone.expect("TaskQueues can be deleted");
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let gone = deployments.delete_collection(&how, &all).await;
    gone.expect("Deployments can be deleted");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let gone = secrets.delete_collection(&how, &all).await;
    gone.expect("Secrets can be deleted");
}

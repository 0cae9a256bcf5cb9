//! The attackers: each a file, with a first line that says what it does. Each
//! is a process that runs until its standard input ends, on which it is told where the operator's port
//! is.

mod cluster_of_thousands;
mod dead_names;
mod drip;
mod endless_list;
mod endless_stale;
mod endless_text;
mod field;
mod flapping;
mod half_open;
mod hosts_in_url;
mod hot_edits;
mod long_texts;
mod missing_secrets;
mod names;
mod redirects;
mod silence;
mod slow_names;
mod templates;

use std::path::PathBuf;

use clap::Args;
use futures::future::BoxFuture;
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    sync::watch,
};

use self::field::Field;

/// An attacker.
pub(crate) struct Attacker {
    pub(crate) name: &'static str,
    /// What it does, for a table.
    pub(crate) does: &'static str,
    pub(crate) side: Side,
    begin: for<'a> fn(&'a Field) -> BoxFuture<'a, ()>,
}

/// What it attacks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A Redis.
    Redis,
    /// The objects of a namespace.
    Namespace,
    /// The operator's port.
    Port,
}

macro_rules! attackers {
    ($($name:ident, $side:ident, $does:literal;)*) => {
        /// All of them.
        pub(crate) const ALL: &[Attacker] = &[$(Attacker {
            name: stringify!($name),
            does: $does,
            side: Side::$side,
            begin: |field| Box::pin($name::begin(field)),
        }),*];
    };
}

attackers! {
    endless_text, Redis, "20 endpoints whose every answer is one string without an end";
    endless_list, Redis, "20 endpoints whose every answer is one list without an end";
    long_texts, Redis, "20 endpoints with 7 MB of text in each error, 20 with 32 MB in each look";
    endless_stale, Redis, "20 endpoints that answer every script with `stale`";
    hosts_in_url, Redis, "4 URLs with hundreds of hosts and 2 Secrets with thousands";
    redirects, Redis, "MOVED, a sentinel's answer and CLUSTER SLOTS lead to loopback, 5 endpoints each";
    cluster_of_thousands, Redis, "2 clusters that claim 4,096 nodes, every one a silent port";
    silence, Redis, "50 endpoints that take connections and say nothing";
    drip, Redis, "50 endpoints that answer one byte a second";
    dead_names, Namespace, "2,000 TaskQueues, each with a Redis whose name does not exist";
    slow_names, Namespace, "200 TaskQueues, each with a Redis whose name is never resolved";
    flapping, Namespace, "50 endpoints that live for one second and hang up for the next";
    missing_secrets, Namespace, "200 TaskQueues that name four missing Secrets each";
    hot_edits, Namespace, "20 TaskQueues, 20 edits of their template and policy a second";
    templates, Namespace, "100 TaskQueues with templates of 1 MB";
    half_open, Port, "12,000 HTTP requests that never end, opened again when they are closed";
}

/// How attackers are called.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The way to the API server.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Who attacks, or [`NAMES`].
    name: String,
}

/// The name of who is no attacker: their name server.
pub(crate) const NAMES: &str = "names";

/// Runs an attacker.
pub(crate) async fn run(call: Call) {
    let config = Kubeconfig::read_from(&call.kubeconfig).expect("the kubeconfig is there");
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    let client = Client::try_from(config.expect("the kubeconfig is right"));
    let (target, targets) = watch::channel(String::new());
    let field = Field::new(client.expect("a client can be made"), targets);
    let (begun, mut ended) = watch::channel(());
    tokio::spawn(async move {
        let mut lines = BufReader::new(stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            target.send_replace(line);
        }
        drop(begun);
    });
    let attack = async {
        if call.name == NAMES {
            names::serve().await;
        }
        if let Some(attacker) = ALL.iter().find(|it| it.name == call.name) {
            (attacker.begin)(&field).await;
        }
        println!("ready");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = attack => {}
        _ = ended.changed() => {}
    }
    for line in field.told() {
        println!("{line}");
    }
}

//! What attackers work with: the API server, the operator's port, servers that last as long as the
//! attack.

use std::{
    fmt::Display,
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::{Api, Client, Resource, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use taskqueue_api::TaskQueue;
use taskqueue_queue::testing::FakeServer;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::attackers::NAMESPACE;

/// Least time between two objects that one attacker makes: it is the operator that is besieged, and
/// not the API server.
const PACE: Duration = Duration::from_millis(10);

/// What attackers work with.
pub(super) struct Field {
    pub(super) client: Client,
    /// Where the operator's port is, as it changes.
    pub(super) target: watch::Receiver<String>,
    servers: Mutex<Vec<FakeServer>>,
    notes: Mutex<Vec<Note>>,
}

type Note = Box<dyn Fn() -> String + Send + Sync>;

impl Field {
    pub(super) fn new(client: Client, target: watch::Receiver<String>) -> Self {
        Self {
            client,
            target,
            servers: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// Something to tell at the end.
    pub(super) fn note(&self, note: impl Fn() -> String + Send + Sync + 'static) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push(Box::new(note));
    }

    /// What there is to tell.
    pub(super) fn told(&self) -> Vec<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().map(|note| note()).collect()
    }

    /// A server of commands that answers this; returns its port.
    pub(super) async fn server(
        &self,
        answer: impl Fn(&[String]) -> String + Send + Sync + 'static,
    ) -> u16 {
        let server = FakeServer::start(answer).await;
        let port = server
            .url()
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.push(server);
        port.expect("a URL with a port")
    }

    /// TaskQueues with handlers of ours, each with one of these URLs of a Redis.
    pub(super) async fn queues<U: Display>(&self, name: &str, urls: impl IntoIterator<Item = U>) {
        let specs = urls.into_iter().map(|url| {
            json!({ "redis": { "url": url.to_string() }, "worker": { "handler": { "native": {} } } })
        });
        self.specs(name, specs).await;
    }

    /// TaskQueues of these specs.
    pub(super) async fn specs(&self, name: &str, specs: impl IntoIterator<Item = Value>) {
        for (number, spec) in specs.into_iter().enumerate() {
            let metadata = json!({ "name": format!("{name}-{number:04}"), "namespace": NAMESPACE });
            let manifest = json!({
                "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
                "metadata": metadata, "spec": spec
            });
            self.make::<TaskQueue>(manifest).await;
        }
    }

    /// Makes an object.
    pub(super) async fn make<K>(&self, manifest: Value)
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), NAMESPACE);
        let object = serde_json::from_value(manifest).expect("the manifest is right");
        // What is refused does no harm, and that is told.
        if let Err(error) = api.create(&PostParams::default(), &object).await {
            let error = error.to_string();
            eprintln!(
                "siege: refused: {}",
                error.chars().take(300).collect::<String>()
            );
        }
        tokio::time::sleep(PACE).await;
    }
}

/// URLs of so many endpoints at one port: the prefix of its keys tells them apart.
pub(super) fn endpoints(port: u16, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("redis://127.0.0.1:{port}/?prefix=p{number}"))
}

/// Gives every connection to `serve`; returns the port.
pub(super) async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    listen_at("127.0.0.1", serve).await
}

/// The same at another address.
pub(super) async fn listen_at<F>(
    address: &str,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((address, 0)).await;
    let listener = listener.expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(serve(stream));
                }
                // Too many files are open: some will be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    port
}

/// Takes a connection and never says a word.
pub(super) async fn hold(mut stream: TcpStream) {
    let mut sink = tokio::io::sink();
    let _ = tokio::io::copy(&mut stream, &mut sink).await;
}

/// What a Redis 7 says to all but scripts.
pub(super) fn polite(words: &[String], script: impl FnOnce() -> String) -> String {
    match words[0].as_str() {
        "HELLO" => FakeServer::hello("redis", "7.2.4", "standalone"),
        "TIME" => {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
            let seconds = now.map_or(0, |now| now.as_secs()).to_string();
            format!("*2\r\n${}\r\n{seconds}\r\n$1\r\n0\r\n", seconds.len())
        }
        "PING" => "+PONG\r\n".to_owned(),
        "HMGET" => "*3\r\n$-1\r\n$-1\r\n$-1\r\n".to_owned(),
        "EVALSHA" | "EVAL" => script(),
        "SUBSCRIBE" => {
            let channel = words.get(1).map_or("", String::as_str);
            let length = channel.len();
            format!("*3\r\n$9\r\nsubscribe\r\n${length}\r\n{channel}\r\n:1\r\n")
        }
        "ROLE" => "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_owned(),
        _ => "+OK\r\n".to_owned(),
    }
}

/// Ticks so often.
pub(super) fn ticks(period: Duration) -> tokio::time::Interval {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

//! An API server alone, with etcd and nothing else, and operators as plain processes: for what
//! needs thousands of TaskQueues, an operator that is killed, or figures of one process. It needs
//! no root, and shares nothing with the cluster of the stories.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use taskqueue_api::TaskQueue;
use tokio::time::Instant;

use crate::story::{Patience, eventually};

/// Who may do everything there.
const TOKEN: &str = "alone";

/// An API server with our resource's definition in it; it ends when this is dropped.
pub struct ApiServer {
    folder: PathBuf,
    children: Vec<Child>,
}

impl ApiServer {
    /// Starts one. Needs `etcd`, `kube-apiserver` and `openssl` in PATH.
    pub async fn start() -> Self {
        let server = Self::start_bare().await;
        server.define().await;
        server
    }

    /// Starts one that does not know our resource yet.
    pub async fn start_bare() -> Self {
        let folder =
            std::env::temp_dir().join(format!("taskqueue-alone-{}", rand::random::<u32>()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let mut server = Self {
            folder,
            children: Vec::new(),
        };
        let [etcd, peers, port] = free_ports();
        let address = |port: u16| format!("http://127.0.0.1:{port}");
        let (etcd, peers) = (address(etcd), address(peers));
        server.spawn(
            "etcd",
            &[
                "--unsafe-no-fsync",
                "--log-level=warn",
                &format!("--data-dir={}", server.file("etcd")),
                &format!("--listen-client-urls={etcd}"),
                &format!("--advertise-client-urls={etcd}"),
                &format!("--listen-peer-urls={peers}"),
                &format!("--initial-advertise-peer-urls={peers}"),
                &format!("--initial-cluster=default={peers}"),
            ],
        );
        let key = server.file("service-account.key");
        openssl(&[
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-noout",
            "-out",
            &key,
        ]);
        let public = server.file("service-account.pub");
        openssl(&["ec", "-in", &key, "-pubout", "-out", &public]);
        let tokens = server.file("tokens");
        fs::write(&tokens, format!("{TOKEN},admin,1,system:masters\n")).expect("it can be written");
        server.spawn(
            "kube-apiserver",
            &[
                &format!("--etcd-servers={etcd}"),
                "--bind-address=127.0.0.1",
                &format!("--secure-port={port}"),
                &format!("--cert-dir={}", server.file("certificates")),
                "--service-account-issuer=https://kubernetes.default.svc",
                &format!("--service-account-key-file={public}"),
                &format!("--service-account-signing-key-file={key}"),
                &format!("--token-auth-file={tokens}"),
                "--authorization-mode=RBAC",
                // As clusters do: what keeps pods from it is policy, and not the API server.
                "--allow-privileged",
                // Nobody makes accounts here.
                "--disable-admission-plugins=ServiceAccount",
            ],
        );
        server.write_kubeconfig(port);
        let client = server.client().await;
        eventually("the API server", Patience::LONG, async || {
            // It makes this namespace when all of it is up.
            let namespaces: Api<Namespace> = Api::all(client.clone());
            let found = namespaces.get("default").await;
            found.map_err(|error| format!("{error}; its log is in {}", server.folder.display()))
        })
        .await;
        server
    }

    /// A client that may do everything.
    pub async fn client(&self) -> Client {
        let config = Kubeconfig::read_from(self.kubeconfig()).expect("it was written");
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options).await;
        Client::try_from(config.expect("the kubeconfig is right")).expect("a client can be made")
    }

    /// A kubeconfig that may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Where what is needed for the time of this server may be kept.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let log = fs::File::create(self.folder.join(format!("{program}.log")));
        let log = log.expect("a log can be made");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {program}: {error}; hack/tools/build {program} makes it, and hack/cluster/env puts it in PATH")
            });
        self.children.push(child);
    }

    fn write_kubeconfig(&self, port: u16) {
        let cluster = json!({
            "server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true
        });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "alone",
            "clusters": [{ "name": "alone", "cluster": cluster }],
            "users": [{ "name": "alone", "user": { "token": TOKEN } }],
            "contexts": [{ "name": "alone", "context": { "cluster": "alone", "user": "alone" } }]
        });
        fs::write(self.kubeconfig(), config.to_string()).expect("it can be written");
    }

    /// Brings in the definition of our resource.
    pub async fn define(&self) {
        let client = self.client().await;
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        let ours = taskqueue_api::definition();
        let made = definitions.create(&PostParams::default(), &ours).await;
        made.expect("the definition is sound");
        let resources: Api<TaskQueue> = Api::all(client);
        eventually("the definition", Patience::NORMAL, async || {
            resources.list(&ListParams::default().limit(1)).await
        })
        .await;
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The API server before the etcd it writes to.
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the logs are left in {}", self.folder.display());
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// An operator that works on an [`ApiServer`]; it is killed when this is dropped.
pub struct Operator {
    process: Child,
    address: String,
}

impl Operator {
    /// Starts the operator that the variable OPERATOR names, under this identity. It may do everything.
    pub fn start(server: &ApiServer, identity: &str, redis: &str) -> Self {
        Self::launch(
            &[],
            server,
            &server.kubeconfig(),
            "default",
            identity,
            redis,
        )
    }

    /// Starts it as who this kubeconfig says, with its Lease in this namespace.
    pub fn start_as(
        server: &ApiServer,
        kubeconfig: &Path,
        namespace: &str,
        identity: &str,
        redis: &str,
    ) -> Self {
        Self::launch(&[], server, kubeconfig, namespace, identity, redis)
    }

    /// As [`Operator::start`], by a command that makes itself what is named behind it (as `env` does),
    /// so that the process that was started is the operator's.
    pub fn start_by(launcher: &[String], server: &ApiServer, identity: &str, redis: &str) -> Self {
        let kubeconfig = server.kubeconfig();
        Self::launch(launcher, server, &kubeconfig, "default", identity, redis)
    }

    fn launch(
        launcher: &[String],
        server: &ApiServer,
        kubeconfig: &Path,
        namespace: &str,
        identity: &str,
        redis: &str,
    ) -> Self {
        let operator = std::env::var("OPERATOR")
            .expect("OPERATOR must name the taskqueue-operator binary: the make targets set it");
        let words = [launcher, &[operator]].concat();
        let program = &words[0];
        let [port] = free_ports();
        let address = format!("127.0.0.1:{port}");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(server.folder().join(format!("{identity}.log")));
        let process = Command::new(program)
            .args(&words[1..])
            .arg("run")
            .env("KUBECONFIG", kubeconfig)
            .env("TASKQUEUE_REDIS_URL", redis)
            .env("TASKQUEUE_WORKER_IMAGE", "taskqueue-worker")
            .env("TASKQUEUE_HTTP_ADDRESS", &address)
            .env("POD_NAME", identity)
            .env("POD_NAMESPACE", namespace)
            // As in the image.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::null())
            .stderr(log.expect("a log can be made"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        Self { process, address }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where its probes and metrics are.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("it is our child")
    }

    /// Ends it as a node that dies does.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Waits until it leads.
    pub async fn leads(&self) {
        eventually("leadership", Patience::NORMAL, async || {
            let leads = self.metrics()?;
            match leads.get("taskqueue_operator_leader") {
                Some(leads) if *leads > 0.0 => Ok(()),
                _ => Err("it waits".to_owned()),
            }
        })
        .await;
    }

    /// Its metrics, by name and labels.
    pub fn metrics(&self) -> Result<BTreeMap<String, f64>, String> {
        let text = self.get("/metrics").map_err(|error| error.to_string())?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(values.collect())
    }

    /// Resident memory in bytes, from statm in proc(5).
    pub fn resident(&self) -> u64 {
        // Fields: size, resident, …, in pages of 4 KiB on every machine that this runs on.
        let statm = self.proc("statm");
        let pages = statm.split_whitespace().nth(1);
        pages
            .and_then(|pages| pages.parse::<u64>().ok())
            .expect("proc(5)")
            * 4096
    }

    /// Time that it has kept a core busy so far, from stat in proc(5).
    pub fn busy(&self) -> Duration {
        let stat = self.proc("stat");
        // Behind the name, which may hold anything: utime and stime are the 14th and 15th field.
        let fields = stat.rsplit(')').next().expect("proc(5)");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks
            .map(|field| field.parse::<u64>().expect("proc(5)"))
            .sum();
        // A tick is 10 ms on Linux.
        Duration::from_millis(ticks * 10)
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.process.id());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("the operator has ended: {error}"))
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes of an operator so far by method and resource, its Lease apart.
pub fn writes(metrics: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let requests = metrics.iter().filter_map(|(name, count)| {
        let labels = name.strip_prefix("taskqueue_operator_api_requests_total{")?;
        let read = labels.contains("\"GET\"") || labels.contains("\"leases\"");
        (!read).then(|| (labels.trim_end_matches('}').to_owned(), *count))
    });
    requests.collect()
}

/// Waits until the operator has written nothing for five seconds; returns how long that took.
pub async fn settled(operator: &Operator, patience: Duration) -> Duration {
    let start = Instant::now();
    let mut before = BTreeMap::new();
    let mut since = start;
    while start.elapsed() < patience {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = writes(&operator.metrics().expect("it answers"));
        if now != before {
            (before, since) = (now, Instant::now());
        } else if since.elapsed() > Duration::from_secs(5) {
            return since - start;
        }
    }
    panic!("the operator goes on writing: {before:?}");
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start openssl: {error}"));
    assert!(output.status.success(), "openssl {arguments:?} failed");
}

fn free_ports<const N: usize>() -> [u16; N] {
    // Bound all at once, so that no two are the same.
    let bound = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("there is a free port"));
    bound.map(|listener| listener.local_addr().expect("it is bound").port())
}

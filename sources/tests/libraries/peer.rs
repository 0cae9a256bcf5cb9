//! A program that uses a real library (sources/tests/peers/README.md).

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde::Deserialize;
use taskqueue_queue::testing::RedisServer;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Longest time of a command, an installation by the registries included.
const PATIENCE: Duration = Duration::from_mins(3);
const FOLDER: &str = "sources/tests/peers";

/// What a library says of its queue.
#[derive(Debug, Deserialize)]
pub(crate) struct Counts {
    pub(crate) waiting: u64,
    pub(crate) delayed: Option<u64>,
    pub(crate) active: u64,
    pub(crate) paused: bool,
}

pub(crate) struct Peer {
    name: String,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Ended with what it has started: they are a group of processes.
    child: Child,
    said: PathBuf,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            let group = format!("-{pid}");
            let _ = std::process::Command::new("kill")
                .args(["-9", "--", &group])
                .status();
        }
        if std::thread::panicking() {
            let said = std::fs::read_to_string(&self.said).unwrap_or_default();
            eprintln!("{} said:\n{said}", self.name);
        }
    }
}

impl Peer {
    /// Installs it where that was not done, and starts it.
    pub(crate) async fn start(name: &str, redis: &RedisServer) -> Self {
        let said = redis.directory().join("peer.log");
        let folder = installed(name).await;
        let at = |program: &str| folder.join(program);
        let words = match name {
            "bullmq" | "bullmq5" => vec![PathBuf::from("node"), at("main.mjs")],
            "celery" | "rq" => vec![at("venv/bin/python"), at("main.py")],
            _ => vec![at("peer")],
        };
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .env("REDIS_URL", redis.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&said).unwrap())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|fault| panic!("{words:?} cannot be started: {fault}"));
        Self {
            name: name.to_owned(),
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            said,
        }
    }

    /// Has it do something.
    pub(crate) async fn tell(&mut self, command: &str) -> String {
        let line = format!("{command}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        let answer = timeout(PATIENCE, self.output.next_line()).await;
        let answer = answer.unwrap_or_else(|_| panic!("{}: no end of {command}", self.name));
        answer
            .unwrap()
            .unwrap_or_else(|| panic!("{} has ended at {command}", self.name))
    }

    pub(crate) async fn counts(&mut self) -> Counts {
        serde_json::from_str(&self.tell("counts").await).unwrap()
    }
}

/// The folder of the installed program.
async fn installed(name: &str) -> PathBuf {
    let checkout = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let installing = Command::new(checkout.join("hack/peers"))
        .args([FOLDER, name])
        .output();
    let installed = timeout(PATIENCE, installing).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&installed.stderr);
    assert!(
        installed.status.success(),
        "{name} cannot be installed: {said}"
    );
    PathBuf::from(String::from_utf8(installed.stdout).unwrap().trim()).join(name)
}

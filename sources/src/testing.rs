//! For tests, here and in the crates that build on this one: programs that use the real libraries
//! (`sources/tests/peers/README.md`). Only with the feature `testing`; panics are its way to fail a test.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::print_stderr
)]

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
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
pub struct Counts {
    /// Tasks that can run now.
    pub waiting: u64,
    /// Tasks with a time before which they do not run, where it can tell.
    pub delayed: Option<u64>,
    /// Tasks that a worker holds.
    pub active: u64,
    /// Workers take no tasks.
    pub paused: bool,
}

/// A program that uses a real library. It ends when this is dropped, with what it has started.
pub struct Peer {
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
    /// Installs it where that was not done, and starts it on this Redis. What it says goes to a file
    /// in `folder`, and is shown when the test fails.
    pub async fn start(name: &str, redis: &str, folder: &Path) -> Self {
        let said = folder.join(format!("{name}.log"));
        let folder = installed(name).await;
        let at = |program: &str| folder.join(program);
        let words = match name {
            "bullmq" | "bullmq5" => vec![PathBuf::from("node"), at("main.mjs")],
            "celery" | "rq" => vec![at("venv/bin/python"), at("main.py")],
            _ => vec![at("peer")],
        };
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .env("REDIS_URL", redis)
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

    /// Has it do something: one of the commands in the README, and what it answers.
    pub async fn tell(&mut self, command: &str) -> String {
        let line = format!("{command}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        let answer = timeout(PATIENCE, self.output.next_line()).await;
        let answer = answer.unwrap_or_else(|_| panic!("{}: no end of {command}", self.name));
        answer
            .unwrap()
            .unwrap_or_else(|| panic!("{} has ended at {command}", self.name))
    }

    /// What the library says of its queue.
    pub async fn counts(&mut self) -> Counts {
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

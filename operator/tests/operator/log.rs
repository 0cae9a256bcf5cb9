//! The real program with a log that cannot be written: it loses lines and goes on, and stops when it is told to.

use std::{fs, path::Path, process::Stdio, time::Duration};

use axum::{Router, http::StatusCode};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::watch,
};

pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// An API server that has trouble with whatever it is asked, and how often it was.
pub(crate) async fn troubled() -> (String, watch::Receiver<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, times) = watch::channel(0);
    let refuse = async move || {
        asked.send_modify(|times| *times += 1);
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let router = Router::new().fallback(refuse);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, times)
}

/// Starts an operator that tries again and again to lead, and logs that it cannot.
pub(crate) fn start(url: &str, name: &str, stderr: impl Into<Stdio>) -> Child {
    let kubeconfig = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let config = format!(
        "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
         clusters: [{{name: a, cluster: {{server: '{url}'}}}}], users: [{{name: a, user: {{}}}}]}}"
    );
    fs::write(&kubeconfig, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_taskqueue-operator"))
        .arg("run")
        .env("KUBECONFIG", &kubeconfig)
        .env("TASKQUEUE_WORKER_IMAGE", "worker")
        .env("TASKQUEUE_HTTP_ADDRESS", "127.0.0.1:0")
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Sends a signal and waits for the end.
async fn stops(mut operator: Child, signal: &str) {
    let pid = operator.id().unwrap().to_string();
    let sent = Command::new("bash")
        .args(["-c", &format!("kill -{signal} {pid}")])
        .status()
        .await;
    assert!(sent.unwrap().success());
    let ended = tokio::time::timeout(PATIENCE, operator.wait()).await;
    assert_eq!(
        ended.expect("it stops").unwrap().code(),
        Some(0),
        "{signal}"
    );
}

async fn asked_again(times: &mut watch::Receiver<u32>) {
    let before = *times.borrow();
    let again = times.wait_for(|times| *times > before + 1);
    let again = tokio::time::timeout(PATIENCE, again).await;
    again.expect("it tries again").unwrap();
}

#[tokio::test]
async fn an_operator_whose_log_nobody_can_read_goes_on_and_stops_when_told() {
    let (url, mut times) = troubled().await;
    let mut operator = start(&url, "log-gone", Stdio::piped());
    let mut lines = BufReader::new(operator.stderr.take().unwrap()).lines();
    // It has begun to log, and has more to say each time that it tries.
    assert!(lines.next_line().await.unwrap().is_some());
    drop(lines);
    asked_again(&mut times).await;
    stops(operator, "TERM").await;
}

#[tokio::test]
async fn an_operator_whose_log_nobody_reads_goes_on_and_stops_when_told() {
    let (url, mut times) = troubled().await;
    let (unread, stderr) = std::io::pipe().unwrap();
    // Keeps the pipe full.
    let _filling = Command::new("cat")
        .arg("/dev/zero")
        .stdout(stderr.try_clone().unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let operator = start(&url, "log-unread", stderr);
    asked_again(&mut times).await;
    stops(operator, "QUIT").await;
    drop(unread);
}

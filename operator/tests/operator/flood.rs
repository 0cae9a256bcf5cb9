//! The real program while its port for probes is flooded with requests that never end.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
};

use taskqueue_listener::testing::{at_most, flood, is_closed};
use taskqueue_queue::testing::eventually;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    task::JoinHandle,
};

use crate::{
    log::{PATIENCE, start, troubled},
    probes::get,
};

/// As many as brought an operator without bounds to 227 MiB.
const CONNECTIONS: usize = 12_000;

/// Where the program listens, by its log, which is read on to its end.
async fn address(log: impl AsyncRead + Unpin + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let mut lines = BufReader::new(log).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("it runs");
        if !line.contains("answering probes") {
            continue;
        }
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = event["address"].as_str().unwrap().parse().unwrap();
        let reading =
            async move { while lines.next_line().await.is_ok_and(|line| line.is_some()) {} };
        return (address, tokio::spawn(reading));
    }
}

/// A figure of a process in KiB, as proc(5) has it.
fn memory(pid: u32, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_flood_costs_an_operator_little_and_keeps_no_probe_from_its_answer() {
    let (url, _times) = troubled().await;
    let mut operator = start(&url, "flood", Stdio::piped());
    let (address, _reading) = address(operator.stderr.take().unwrap()).await;
    let pid = operator.id().unwrap();
    assert_eq!(get(address, "/livez").await.0, 200);
    let before = memory(pid, "VmHWM:");
    let connections = at_most(CONNECTIONS);
    assert!(
        connections >= 2_000,
        "{connections} are few: raise `ulimit -n`"
    );
    let flooding = tokio::spawn(flood(address, Ipv4Addr::new(127, 0, 0, 2), connections));
    while !flooding.is_finished() {
        assert_eq!(get(address, "/livez").await.0, 200);
    }
    let flooded = flooding.await.unwrap();
    assert!(flooded.len() >= 2_000, "{} of {connections}", flooded.len());
    let grown = memory(pid, "VmHWM:") - before;
    assert!(
        grown < 16 * 1024,
        "{grown} KiB for {} connections",
        flooded.len()
    );
    eventually(PATIENCE, "all are closed", || async {
        flooded.iter().all(is_closed).then_some(())
    })
    .await;
    assert_eq!(get(address, "/readyz").await.0, 200);
    operator.kill().await.unwrap();
}

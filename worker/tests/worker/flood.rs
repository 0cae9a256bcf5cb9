//! A worker whose port for probes is flooded with requests that never end.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;
use taskqueue_listener::testing::{at_most, flood, is_closed};
use taskqueue_queue::testing::eventually;

use crate::process::{NATIVE, PATIENCE, Stage};

#[tokio::test]
async fn a_flood_costs_a_worker_little_and_keeps_no_probe_from_its_answer() {
    let stage = Stage::new().await;
    let worker = stage.worker(NATIVE, &[]).await;
    let before = worker.peak_memory();
    let address: SocketAddr = worker
        .address()
        .expect("it listens")
        .parse()
        .expect("an address");
    let connections = at_most(4_000);
    assert!(
        connections >= 2_000,
        "{connections} are few: raise `ulimit -n`"
    );
    let flooding = tokio::spawn(flood(address, Ipv4Addr::new(127, 0, 0, 2), connections));
    while !flooding.is_finished() {
        assert_eq!(worker.get("/livez").await.expect("it answers").0, 200);
    }
    let flooded = flooding.await.expect("no panic");
    assert!(flooded.len() >= 2_000, "{} of {connections}", flooded.len());
    let grown = worker.peak_memory() - before;
    assert!(
        grown < 16 * 1024,
        "{grown} KiB for {} connections",
        flooded.len()
    );
    // Those that are still open lapse by themselves.
    eventually(PATIENCE, "all are closed", || async {
        flooded.iter().all(is_closed).then_some(())
    })
    .await;
    let id = stage.enqueue("echo", &json!(1)).await;
    stage.ended(&id).await;
}

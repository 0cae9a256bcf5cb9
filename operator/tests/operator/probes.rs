//! Probes and metrics over HTTP.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use taskqueue_operator::{
    http::{Health, serve},
    metrics::Metrics,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer)
}

#[tokio::test]
async fn readiness_tells_what_is_waited_for_and_liveness_nothing_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::default()));
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, Arc::clone(&health), metrics, stop.clone()));

    let (code, told) = get(address, "/readyz").await;
    assert_eq!(code, 503);
    assert!(told.contains("is the CRD installed?"), "{told}");
    assert_eq!(get(address, "/livez").await.0, 200);

    health.standby.store(true, Ordering::Relaxed);
    assert_eq!(get(address, "/readyz").await.0, 200);
    health.standby.store(false, Ordering::Relaxed);
    health.working.store(true, Ordering::Relaxed);
    let (code, told) = get(address, "/readyz").await;
    assert_eq!(code, 200);
    assert!(told.ends_with("leads\n"), "{told}");

    stop.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn metrics_are_served_in_the_text_format() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Arc::new(Metrics::default());
    metrics.leads(true);
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, Arc::default(), metrics, stop.clone()));
    let (code, told) = get(address, "/metrics").await;
    assert_eq!(code, 200);
    for line in [
        "taskqueue_operator_leader 1",
        "process_resident_memory_bytes ",
        "# EOF",
    ] {
        assert!(told.contains(line), "no {line:?} in {told}");
    }
    stop.cancel();
    served.await.unwrap();
}

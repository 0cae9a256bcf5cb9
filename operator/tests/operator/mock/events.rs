//! The publisher of Events beside an API server that does not answer.

use std::time::Duration;

use kube::{
    Client,
    client::Body,
    core::DeserializeGuard,
    runtime::{reflector, watcher::Event},
};
use taskqueue_operator::events;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower_test::mock::pair;

use crate::fixtures::{key, resource};

#[tokio::test(start_paused = true)]
async fn events_that_nobody_takes_do_not_keep_an_operator_that_stops() {
    let (service, mut handle) = pair::<http::Request<Body>, http::Response<Body>>();
    let client = Client::new(service, "default");
    let (resources, mut writer) = reflector::store();
    writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(resource(&[])))));
    let (events, publisher) = events::channel(client, "operator-0", resources);
    let stop = CancellationToken::new();
    let publishing = tokio::spawn(publisher.run(stop.clone()));
    for replicas in 0..5 {
        events.scaled(&key(), replicas, replicas + 1, "1");
    }
    // The API server has the first of them, and keeps it.
    let asked = handle.next_request().await;
    assert!(asked.is_some());
    stop.cancel();
    timeout(Duration::from_mins(1), publishing)
        .await
        .expect("it waits for an answer")
        .expect("it does not panic");
}

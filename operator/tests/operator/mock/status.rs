//! The writer of statuses. Time is the test's own.

use std::{sync::Arc, time::Duration};

use kube::{
    core::DeserializeGuard,
    runtime::{
        reflector::{self, store},
        watcher::Event,
    },
};
use serde_json::json;
use taskqueue_operator::{
    events,
    index::{Index, Sight},
    reconcile::{Guarded, error::Error},
    status,
};
use taskqueue_queue::Snapshot;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::server::{Call, Played, playing};
use crate::fixtures::{evicting, key, orders, resource, sight, snapshot};

const STATUS: &str = "/apis/taskqueue.dev/v1alpha1/namespaces/shop/taskqueues/thumbnails/status";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";
const OPERATOR: &str = "taskqueue-operator";

/// What the API server is asked and what it answers.
enum Scenario {
    OneStatusIsWritten,
    StatusesAreWrittenWithWaiting(Vec<i64>),
    TheFirstWriteFails,
    TheFirstWriteIsNotAnswered,
    TheTaskQueueIsGone,
    AMalformedOneIsToldSo,
    ARiskIsWrittenAndToldOnce,
    NobodyCalls,
}

impl Scenario {
    fn calls(self) -> Vec<Call> {
        let write = || Call::apply(STATUS, OPERATOR);
        match self {
            Self::OneStatusIsWritten => vec![write().checked(|body| {
                assert_eq!(body["apiVersion"], "taskqueue.dev/v1alpha1");
                assert_eq!(body["kind"], "TaskQueue");
                assert_eq!(body["status"]["queue"], "shop/thumbnails");
                assert_eq!(body.get("spec"), None);
            })],
            Self::StatusesAreWrittenWithWaiting(waiting) => waiting
                .into_iter()
                .map(|waiting| {
                    write().checked(move |body| {
                        assert_eq!(body["status"]["depth"]["waiting"], waiting);
                    })
                })
                .collect(),
            Self::TheFirstWriteFails => vec![write().refuse(500, "etcd has no leader"), write()],
            Self::TheFirstWriteIsNotAnswered => vec![write().silent(), write()],
            Self::TheTaskQueueIsGone => vec![write().not_found()],
            Self::AMalformedOneIsToldSo => vec![write().checked(|body| {
                assert_eq!(body["status"]["conditions"][0]["reason"], "Malformed");
                assert_eq!(body["status"]["observedGeneration"], 4);
            })],
            Self::ARiskIsWrittenAndToldOnce => vec![
                write().checked(|body| assert_eq!(risk(body), "EvictsTasks")),
                Call::post(EVENTS).checked(|body| {
                    assert_eq!(body["reason"], "RedisUnsafe");
                    assert_eq!(body["action"], "EvictsTasks");
                    assert_eq!(body["type"], "Warning");
                    let note = body["note"].as_str().unwrap();
                    assert!(note.contains("maxmemory-policy noeviction"), "{note}");
                }),
                // Further figures, and the same risk.
                write().checked(|body| assert_eq!(risk(body), "EvictsTasks")),
            ],
            Self::NobodyCalls => vec![],
        }
    }
}

/// The reason of the condition, if it is true.
fn risk(body: &serde_json::Value) -> &str {
    let conditions = body["status"]["conditions"].as_array().unwrap();
    let of_redis =
        |one: &&serde_json::Value| one["type"] == "RedisUnsafe" && one["status"] == "True";
    let found = conditions.iter().find(of_redis);
    found.map_or("", |one| one["reason"].as_str().unwrap())
}

struct World {
    index: Arc<Index>,
    writer: JoinHandle<()>,
    stop: CancellationToken,
    played: Played,
    _resources: store::Writer<Guarded>,
}

impl World {
    fn new(scenario: Scenario, resource: Guarded) -> Self {
        let (client, played) = playing(scenario.calls());
        let (resources, mut resource_writer) = reflector::store();
        let (workloads, _) = reflector::store();
        resource_writer.apply_watcher_event(&Event::Apply(resource));
        let index = Arc::new(Index::default());
        let stop = CancellationToken::new();
        let (events, publisher) = events::channel(client.clone(), "operator-0", resources.clone());
        // It ends with the writer.
        tokio::spawn(publisher.run(stop.clone()));
        let writer = status::Writer::new(client, Arc::clone(&index), resources, workloads, events);
        Self {
            index,
            writer: tokio::spawn(writer.run(stop.clone())),
            stop,
            played,
            _resources: resource_writer,
        }
    }

    fn sees(&self, waiting: u64) {
        let snapshot = Snapshot {
            waiting: vec![("normal".to_owned(), waiting)],
            due: 0,
            ..snapshot()
        };
        let sight: Sight = sight(Ok(snapshot));
        self.index.see(&key(), Arc::new(sight));
    }

    async fn end(self) {
        self.stop.cancel();
        self.writer.await.unwrap();
        self.played.end().await;
    }
}

fn parsed() -> Guarded {
    DeserializeGuard(Ok(resource(&[])))
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_once_and_not_again_while_nothing_changes() {
    let world = World::new(Scenario::OneStatusIsWritten, parsed());
    for _ in 0..100 {
        world.index.order(&key(), Ok(orders(&[])));
        sleep(Duration::from_millis(300)).await;
    }
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_queue_writes_its_status_once_a_second_and_the_newest_figures_win() {
    let world = World::new(
        Scenario::StatusesAreWrittenWithWaiting(vec![0, 10, 13]),
        parsed(),
    );
    world.index.order(&key(), Ok(orders(&[])));
    // Written at 0, 1 and 2 seconds.
    for waiting in 0..14 {
        world.sees(waiting);
        sleep(Duration::from_millis(if waiting == 0 { 50 } else { 100 })).await;
    }
    sleep(Duration::from_secs(5)).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_failed_is_tried_again_a_second_later() {
    let world = World::new(Scenario::TheFirstWriteFails, parsed());
    world.index.order(&key(), Ok(orders(&[])));
    sleep(Duration::from_secs(5)).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_not_answered_is_tried_again() {
    let world = World::new(Scenario::TheFirstWriteIsNotAnswered, parsed());
    world.index.order(&key(), Ok(orders(&[])));
    sleep(Duration::from_secs(10)).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_queue_that_is_gone_is_not_written_again() {
    let world = World::new(Scenario::TheTaskQueueIsGone, parsed());
    world.index.order(&key(), Ok(orders(&[])));
    sleep(Duration::from_secs(5)).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_status_that_stands_is_not_written() {
    // What an earlier operator wrote, as the API server gives it back.
    let index = Index::default();
    index.order(&key(), Ok(orders(&[])));
    let entry = index.get(&key()).unwrap();
    let now = jiff::Timestamp::from_millisecond(1_700_000_000_700).unwrap();
    let before = taskqueue_api::TaskQueueStatus::default();
    let status = status::build::build(&key(), &entry, None, &before, now);
    let mut stored = resource(&[]);
    let written = serde_json::to_value(&status).unwrap();
    let read: taskqueue_api::TaskQueueStatus = serde_json::from_value(written).unwrap();
    assert_eq!(read, status, "it is read as it was written");
    stored.status = Some(read);
    let world = World::new(Scenario::NobodyCalls, DeserializeGuard(Ok(stored)));
    world.index.order(&key(), Ok(orders(&[])));
    sleep(Duration::from_secs(5)).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_does_not_parse_is_told_so_in_its_status() {
    let malformed: Guarded = serde_json::from_value(json!({
        "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
        "metadata": { "name": "thumbnails", "namespace": "shop", "uid": "a", "generation": 4 },
        "spec": { "worker": 7 }
    }))
    .unwrap();
    let problem = Error::Malformed("7".to_owned()).problem(Some(4));
    let world = World::new(Scenario::AMalformedOneIsToldSo, malformed);
    world.index.order(&key(), Err(problem));
    sleep(Duration::from_secs(2)).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_status_stands_until_the_queue_was_looked_at() {
    let mut stored = resource(&[]);
    stored.status = Some(taskqueue_api::TaskQueueStatus {
        desired_replicas: Some(5),
        ..taskqueue_api::TaskQueueStatus::default()
    });
    let scenario = Scenario::StatusesAreWrittenWithWaiting(vec![7]);
    let world = World::new(scenario, DeserializeGuard(Ok(stored)));
    world.index.order(&key(), Ok(orders(&[])));
    sleep(Duration::from_secs(5)).await;
    world.sees(7);
    sleep(Duration::from_secs(5)).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_risk_is_told_by_one_event_also_when_the_operator_starts_again() {
    let world = World::new(Scenario::ARiskIsWrittenAndToldOnce, parsed());
    world.index.order(&key(), Ok(orders(&[])));
    let safety = Some(evicting());
    world.index.assess(&key(), safety.clone());
    sleep(Duration::from_secs(2)).await;
    world.sees(7);
    sleep(Duration::from_secs(2)).await;
    let entry = world.index.get(&key()).unwrap();
    world.end().await;

    let before = taskqueue_api::TaskQueueStatus::default();
    let now = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    let mut stored = resource(&[]);
    stored.status = Some(status::build::build(&key(), &entry, None, &before, now));
    let world = World::new(Scenario::NobodyCalls, DeserializeGuard(Ok(stored)));
    world.index.order(&key(), Ok(orders(&[])));
    world.sees(7);
    sleep(Duration::from_secs(5)).await;
    world.index.assess(&key(), safety);
    sleep(Duration::from_secs(5)).await;
    world.end().await;
}

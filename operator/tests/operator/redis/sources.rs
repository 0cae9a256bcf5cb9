//! Sources: queues of other systems in a real Redis, and workers that are not ours.

use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::{
    Client,
    client::Body,
    runtime::{reflector, watcher::Event},
};
use serde_json::{Value, json};
use taskqueue_api::spec::TargetKind;
use taskqueue_operator::{
    allowed::AllowedRedis,
    autoscaler::{self, Shared},
    dialing::Dialing,
    events,
    index::{Index, Sight},
    metrics::Metrics,
    targets::Targets,
};
use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_scaling::Reason;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tower_test::mock::{Handle, pair};

use super::world::{PATIENCE, key};
use crate::fixtures::{Edit, endpoint, source_orders};

/// An autoscaler with one source, and an API server in which targets have the replicas that were
/// written last.
struct World {
    redis: RedisServer,
    index: Arc<Index>,
    targets: Arc<Targets>,
    /// The HorizontalPodAutoscalers of the namespace.
    autoscalers: Arc<Mutex<Vec<Value>>>,
    metrics: Arc<Metrics>,
    writes: mpsc::UnboundedReceiver<(String, u32)>,
    stop: CancellationToken,
    running: JoinHandle<()>,
    server: JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        let (service, handle) = pair();
        let client = Client::new(service, "default");
        let (resources, _) = reflector::store();
        let (workloads, _) = reflector::store();
        let targets = Arc::new(Targets::default());
        for kind in [TargetKind::Deployment, TargetKind::StatefulSet] {
            targets.take(kind, Event::Init);
            targets.take(kind, Event::InitDone);
        }
        let (tell, writes) = mpsc::unbounded_channel();
        let autoscalers = Arc::default();
        let server = serve(handle, Arc::clone(&targets), tell, Arc::clone(&autoscalers));
        let server = tokio::spawn(server);
        let index = Arc::new(Index::default());
        let (events, _) = events::channel(client.clone(), "operator-0", resources);
        let metrics = Arc::new(Metrics::default());
        let shared = Shared {
            client,
            index: Arc::clone(&index),
            workloads,
            pods: Arc::default(),
            targets: Arc::clone(&targets),
            dialing: Dialing::new(None, AllowedRedis::parse("127.0.0.0/8").unwrap()),
            events,
            metrics: Arc::clone(&metrics),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(autoscaler::run(Arc::new(shared), stop.clone()));
        Self {
            redis: RedisServer::start().await,
            index,
            targets,
            autoscalers,
            metrics,
            writes,
            stop,
            running,
            server,
        }
    }

    fn orders(&self, edits: &[Edit]) {
        let mut orders = source_orders(edits);
        orders.endpoint = endpoint(&self.redis.url());
        self.index.order(&key("emails"), Ok(orders));
    }

    /// BullMQ's queue is there, with so many jobs that wait and so many that run.
    async fn bullmq(&self, waiting: u32, active: u32) {
        let lists = [("wait", waiting), ("active", active)];
        self.redis
            .command::<()>("HSET bull:emails:meta version 6")
            .await;
        for (list, count) in lists {
            self.redis
                .command::<()>(&format!("DEL bull:emails:{list}"))
                .await;
            for id in 0..count {
                self.redis
                    .command::<()>(&format!("LPUSH bull:emails:{list} {id}"))
                    .await;
            }
        }
    }

    fn stands(&self, kind: TargetKind, replicas: u32) {
        stands(&self.targets, kind, replicas);
    }

    async fn sees(&self, what: &str, fits: impl Fn(&Sight) -> bool) -> Arc<Sight> {
        eventually(PATIENCE, what, async || {
            let sight = self.index.get(&key("emails"))?.sight?;
            fits(&sight).then_some(sight)
        })
        .await
    }

    /// A look is taken from now on, and as many more.
    async fn looks(&self, more: usize) {
        for _ in 0..=more {
            let before = self.index.get(&key("emails")).and_then(|entry| entry.sight);
            eventually(PATIENCE, "a look", async || {
                let sight = self.index.get(&key("emails"))?.sight?;
                let is_news = before
                    .as_ref()
                    .is_none_or(|before| !Arc::ptr_eq(before, &sight));
                is_news.then_some(())
            })
            .await;
        }
    }

    /// A HorizontalPodAutoscaler sets the replicas of the Deployment.
    fn autoscales(&self, replicas: u32) {
        let manager = "kube-controller-manager";
        stands_by(&self.targets, TargetKind::Deployment, replicas, manager);
    }

    async fn trouble(&self, reason: &str) -> Arc<Sight> {
        self.sees(reason, |sight| {
            let source = sight.source.as_ref().unwrap();
            source
                .trouble
                .as_ref()
                .is_some_and(|trouble| trouble.reason == reason)
        })
        .await
    }

    async fn write(&mut self) -> (String, u32) {
        let write = timeout(PATIENCE, self.writes.recv()).await;
        write.expect("nothing was written").unwrap()
    }

    /// Nothing more was written.
    async fn end(mut self) {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
        self.server.await.unwrap();
        assert_eq!(self.writes.try_recv().ok(), None);
    }
}

fn stands(targets: &Targets, kind: TargetKind, replicas: u32) {
    stands_by(targets, kind, replicas, "taskqueue-autoscaler");
}

/// With replicas that this field manager has set.
fn stands_by(targets: &Targets, kind: TargetKind, replicas: u32, manager: &str) {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Any",
        "metadata": { "name": "mailer", "namespace": "shop", "managedFields": [{
            "manager": manager, "operation": "Update", "subresource": "scale",
            "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:replicas": {} } }
        }] },
        "spec": { "replicas": replicas },
        "status": { "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas }
    });
    targets.take(kind, Event::Apply(serde_json::from_value(object).unwrap()));
}

async fn serve(
    mut handle: Handle<Request<Body>, Response<Body>>,
    targets: Arc<Targets>,
    writes: mpsc::UnboundedSender<(String, u32)>,
    autoscalers: Arc<Mutex<Vec<Value>>>,
) {
    while let Some((request, sender)) = handle.next_request().await {
        let (parts, body) = request.into_parts();
        if parts.method == Method::GET {
            let path = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers";
            assert_eq!(parts.uri.path(), path);
            let all = autoscalers.lock().unwrap().clone();
            let list = json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscalerList",
                "metadata": {}, "items": all
            });
            let body = Body::from(serde_json::to_vec(&list).unwrap());
            sender.send_response(Response::new(body));
            continue;
        }
        assert_eq!(parts.method, Method::PATCH);
        let query = parts.uri.query().unwrap_or_default();
        assert!(
            query.contains("fieldManager=taskqueue-autoscaler"),
            "{query}"
        );
        let path = parts.uri.path();
        let (kind, written) = match path.strip_prefix("/apis/apps/v1/namespaces/shop/") {
            Some("deployments/mailer/scale") => (TargetKind::Deployment, "deployment"),
            Some("statefulsets/mailer/scale") => (TargetKind::StatefulSet, "statefulset"),
            _ => panic!("{path}"),
        };
        let scale: Value = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
        let replicas = u32::try_from(scale["spec"]["replicas"].as_u64().unwrap()).unwrap();
        stands(&targets, kind, replicas);
        let _ = writes.send((written.to_owned(), replicas));
        let body = Body::from(serde_json::to_vec(&scale).unwrap());
        sender.send_response(Response::new(body));
    }
}

fn scaling(target: u32) -> Edit {
    (
        "/spec/scaling",
        json!({ "target": { "backlogPerReplica": target }, "idle": "0s",
                "scaleDown": { "stabilization": "0s" } }),
    )
}

#[tokio::test]
async fn workers_that_are_not_ours_go_from_zero_to_n_and_back_only_when_nothing_runs() {
    let mut world = World::new().await;
    world.stands(TargetKind::Deployment, 0);
    world.bullmq(25, 0).await;
    world.orders(&[scaling(10)]);
    assert_eq!(world.write().await, ("deployment".to_owned(), 3));
    // Fewer would do, but nobody can say which of them is busy.
    world.bullmq(0, 2).await;
    world
        .sees("the tasks that run", |sight| sight.decision.wanted == 1)
        .await;
    world.bullmq(0, 0).await;
    assert_eq!(world.write().await, ("deployment".to_owned(), 0));
    world.end().await;
}

#[tokio::test]
async fn a_stateful_set_is_scaled_as_well() {
    let mut world = World::new().await;
    world.stands(TargetKind::StatefulSet, 1);
    world.redis.command::<()>("RPUSH jobs a b c").await;
    world.orders(&[
        scaling(1),
        ("/spec/source", json!({ "list": { "key": "jobs" } })),
        (
            "/spec/targetRef",
            json!({ "kind": "StatefulSet", "name": "mailer" }),
        ),
    ]);
    assert_eq!(world.write().await, ("statefulset".to_owned(), 3));
    world.end().await;
}

#[tokio::test]
async fn nothing_is_done_in_the_queues_of_others() {
    let world = World::new().await;
    world.stands(TargetKind::Deployment, 0);
    world.bullmq(0, 0).await;
    world.orders(&[]);
    world.sees("a look", |sight| sight.queue.is_ok()).await;
    let keys: Vec<String> = world.redis.command("KEYS *").await;
    assert_eq!(keys, ["bull:emails:meta"]);
    world.end().await;
}

#[tokio::test]
async fn an_event_of_bullmq_wakes_before_the_next_tick() {
    let mut world = World::new().await;
    world.stands(TargetKind::Deployment, 0);
    world.bullmq(0, 0).await;
    world.orders(&[scaling(10)]);
    // A tick may come first: then again.
    let mut woken = false;
    for _ in 0..20 {
        eventually(PATIENCE, "it listens", async || {
            let clients: String = world.redis.command("CLIENT LIST").await;
            clients.contains("cmd=xread").then_some(())
        })
        .await;
        world.bullmq(1, 0).await;
        world
            .redis
            .command::<()>("XADD bull:emails:events * event added jobId 1")
            .await;
        assert_eq!(world.write().await, ("deployment".to_owned(), 1));
        world.bullmq(0, 0).await;
        assert_eq!(world.write().await, ("deployment".to_owned(), 0));
        // A wake is what an event began.
        let told = world.metrics.encode().unwrap();
        woken = told
            .lines()
            .filter_map(|line| line.strip_prefix("taskqueue_scaling_wake_seconds_count "))
            .any(|wakes| wakes != "0");
        if woken {
            break;
        }
    }
    assert!(woken, "no write was begun by an event");
    world.end().await;
}

#[tokio::test]
async fn a_queue_that_was_never_seen_holds_the_replicas_until_it_is() {
    let mut world = World::new().await;
    world.stands(TargetKind::Deployment, 4);
    world.orders(&[scaling(10)]);
    let sight = world.trouble("SourceKeyMissing").await;
    let trouble = sight.source.as_ref().unwrap().trouble.as_ref().unwrap();
    assert!(
        trouble.message.contains("bull:emails:meta"),
        "{}",
        trouble.message
    );
    assert_eq!(
        (sight.decision.replicas, sight.decision.reason),
        (4, Reason::SourceUnknown)
    );
    assert!(
        sight.decision.equation.starts_with("held at 4"),
        "{}",
        sight.decision.equation
    );
    world.bullmq(0, 0).await;
    assert_eq!(world.write().await, ("deployment".to_owned(), 0));
    world.end().await;
}

#[tokio::test]
async fn a_key_of_another_type_holds_the_replicas_and_is_named_with_its_type() {
    let mut world = World::new().await;
    world.stands(TargetKind::Deployment, 2);
    world.redis.command::<()>("ZADD jobs 1 a").await;
    let list = ("/spec/source", json!({ "list": { "key": "jobs" } }));
    world.orders(&[scaling(1), list]);
    let sight = world.trouble("SourceWrongType").await;
    let trouble = sight.source.as_ref().unwrap().trouble.as_ref().unwrap();
    assert_eq!(
        trouble.message,
        "key jobs should be a list, and is a sorted set"
    );
    assert_eq!(sight.decision.replicas, 2);
    world.redis.command::<()>("DEL jobs").await;
    world.redis.command::<()>("RPUSH jobs a b c").await;
    assert_eq!(world.write().await, ("deployment".to_owned(), 3));
    world.end().await;
}

#[tokio::test]
async fn a_target_that_is_missing_is_named_and_scaled_once_it_is_there() {
    let mut world = World::new().await;
    world.bullmq(25, 0).await;
    world.orders(&[scaling(10)]);
    let sight = world.trouble("TargetMissing").await;
    let trouble = sight.source.as_ref().unwrap().trouble.as_ref().unwrap();
    let name = "Deployment mailer named in spec.targetRef does not exist in namespace shop";
    assert!(trouble.message.contains(name), "{}", trouble.message);
    assert_eq!(sight.decision.reason, Reason::TargetMissing);
    world.stands(TargetKind::Deployment, 0);
    assert_eq!(world.write().await, ("deployment".to_owned(), 3));
    world.end().await;
}

#[tokio::test]
async fn a_redis_outage_holds_the_replicas() {
    let mut world = World::new().await;
    world.stands(TargetKind::Deployment, 3);
    world.bullmq(25, 0).await;
    world.orders(&[scaling(10)]);
    world.sees("the jobs", |sight| sight.queue.is_ok()).await;
    world.redis.kill();
    let sight = world.sees("the outage", |sight| sight.queue.is_err()).await;
    assert_eq!(
        (sight.decision.replicas, sight.decision.reason),
        (3, Reason::RedisUnreachable)
    );
    assert_eq!(sight.source.as_ref().unwrap().trouble, None);
    world.end().await;
}

#[tokio::test]
async fn where_running_tasks_are_not_in_redis_nobody_is_stopped_before_idle_is_over() {
    let mut world = World::new().await;
    world.stands(TargetKind::Deployment, 0);
    // Celery as it is by default: a task leaves its list when it starts.
    world
        .redis
        .command::<()>("SADD _kombu.binding.celery celery")
        .await;
    world.redis.command::<()>("RPUSH celery a b c").await;
    let scaling = |idle: &str| -> Edit {
        (
            "/spec/scaling",
            json!({ "target": { "backlogPerReplica": 1 }, "idle": idle,
                    "scaleDown": { "stabilization": "0s" } }),
        )
    };
    let celery: Edit = ("/spec/source", json!({ "celery": {} }));
    world.orders(&[scaling("24h"), celery.clone()]);
    assert_eq!(world.write().await, ("deployment".to_owned(), 3));
    world.redis.command::<()>("DEL celery").await;
    let sight = world
        .sees("nothing that waits", |sight| sight.decision.wanted == 1)
        .await;
    assert_eq!(
        (sight.decision.replicas, sight.decision.reason),
        (3, Reason::UnseenTasks)
    );
    world.looks(2).await;
    assert_eq!(world.writes.try_recv().ok(), None, "they may all be busy");
    world.orders(&[scaling("100ms"), celery]);
    assert_eq!(world.write().await, ("deployment".to_owned(), 0));
    world.end().await;
}

#[tokio::test]
async fn a_rate_limit_that_is_used_up_does_not_scale_to_the_maximum() {
    let mut world = World::new().await;
    world.stands(TargetKind::Deployment, 2);
    world.bullmq(50, 0).await;
    world
        .redis
        .command::<()>("HSET bull:emails:meta max 5 duration 600000")
        .await;
    world
        .redis
        .command::<()>("SET bull:emails:limiter 5 PX 600000")
        .await;
    world.orders(&[scaling(10)]);
    let sight = world.sees("the limit", |sight| sight.queue.is_ok()).await;
    assert_eq!(
        (sight.decision.replicas, sight.decision.reason),
        (2, Reason::RateLimited)
    );
    // For a moment it is filled again, as a limit of a second is in each.
    world.redis.command::<()>("DEL bull:emails:limiter").await;
    world.looks(1).await;
    assert_eq!(world.writes.try_recv().ok(), None);
    // And then it lasts.
    assert_eq!(world.write().await, ("deployment".to_owned(), 5));
    world.end().await;
}

#[tokio::test]
async fn a_number_that_is_written_over_once_is_set_right_and_then_left_to_the_other_writer() {
    let mut world = World::new().await;
    world.stands(TargetKind::Deployment, 0);
    world.bullmq(25, 0).await;
    let web = json!({
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": {
            "minReplicas": 4, "maxReplicas": 9,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "mailer" }
        }
    });
    world.autoscalers.lock().unwrap().push(web);
    world.orders(&[scaling(10)]);
    assert_eq!(world.write().await, ("deployment".to_owned(), 3));
    world.looks(1).await;
    world.autoscales(2);
    assert_eq!(world.write().await, ("deployment".to_owned(), 3));
    let once = world.sees("a look", |_| true).await;
    assert_eq!(once.another_writer, None, "once may be a person");
    world.looks(1).await;
    world.autoscales(2);
    let named = world
        .sees("the other writer's name", |sight| {
            let told = sight.another_writer.as_deref().unwrap_or_default();
            told.starts_with("HorizontalPodAutoscaler web (field manager kube-controller-manager)")
        })
        .await;
    let told = named.another_writer.as_ref().unwrap();
    assert!(told.contains("2 times, last 2 over 3"), "{told}");
    assert_eq!(named.decision.replicas, 3, "what is decided is told");
    world.looks(2).await;
    assert_eq!(world.writes.try_recv().ok(), None, "it is left alone");
    // Once it is gone, nothing is waited for.
    world.autoscalers.lock().unwrap().clear();
    assert_eq!(world.write().await, ("deployment".to_owned(), 3));
    world
        .sees("that it is over", |sight| sight.another_writer.is_none())
        .await;
    world.end().await;
}

#[tokio::test]
async fn a_number_that_is_for_others_to_set_is_written_over_by_nobody() {
    let mut world = World::new().await;
    world.stands(TargetKind::Deployment, 0);
    world.bullmq(25, 0).await;
    world.orders(&[scaling(10)]);
    assert_eq!(world.write().await, ("deployment".to_owned(), 3));
    let recommend: Edit = ("/spec/scaling", json!({ "mode": "Recommend" }));
    world.orders(&[recommend]);
    for replicas in [5, 1, 4] {
        world.autoscales(replicas);
        world.looks(1).await;
    }
    let sight = world.sees("a look", |_| true).await;
    assert_eq!(sight.another_writer, None);
    world.end().await;
}

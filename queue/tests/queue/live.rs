//! Live events: what is told, to whom, for how long, and that it costs nothing while nobody listens.

use std::collections::BTreeMap;
use std::time::Duration;

use taskqueue_queue::LiveKind::{
    self, Cancelled, Completed, Dead, Dropped, Due, Enqueued, Expired, Log, Lost, Progress, Purged,
    Redriven, Released, Retried, Scaled, Started,
};
use taskqueue_queue::testing::{Cluster, RedisServer, eventually, listed};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Cause, Client, EventLog, Listener, LiveBatch, LiveEvent, LiveId, NewTask, Payload, Policy,
    Queue, Replicas, RetryAction, RetryRule, Schedule, Selection, Stage, TaskId,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::testbed::{Running, SOON, blocked, brisk, name, queue, snapshot, task, tasks, until};

const HOUR: Duration = Duration::from_hours(1);
/// Long enough that it does not come while a test lasts, and short enough to be made to.
const LATER: Duration = Duration::from_mins(30);

/// Reads until there are so many events, and returns them; nothing may be missed.
async fn hear(listener: &mut Listener, count: usize) -> Vec<LiveEvent> {
    let mut events: Vec<LiveEvent> = Vec::new();
    while events.len() < count {
        let batch = listener.next(SOON).await.unwrap();
        assert!(!batch.is_empty(), "only {events:?}");
        assert_eq!(batch.missed, []);
        events.extend(batch.events);
    }
    events
}

/// A listener that is asked all the time, beside the test.
async fn beside(queue: &Queue) -> UnboundedReceiver<LiveBatch> {
    let mut listener = queue.listen(None).await.unwrap();
    let (sender, heard) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok(batch) = listener.next(SOON).await {
            if sender.send(batch).is_err() {
                return;
            }
        }
    });
    heard
}

/// What it hears until an event of this kind; nothing may be missed.
async fn heard_until(heard: &mut UnboundedReceiver<LiveBatch>, what: LiveKind) -> Vec<LiveEvent> {
    let mut events: Vec<LiveEvent> = Vec::new();
    while events.iter().all(|event| event.what != what) {
        let batch = timeout(SOON, heard.recv()).await;
        let batch = batch.expect("it is told in time").unwrap();
        assert_eq!(batch.missed, []);
        events.extend(batch.events);
    }
    events
}

fn kinds(events: &[LiveEvent]) -> Vec<LiveKind> {
    events.iter().map(|event| event.what).collect()
}

/// What happened to each task, in order.
fn by_task(events: &[LiveEvent]) -> BTreeMap<TaskId, Vec<LiveKind>> {
    let mut told: BTreeMap<TaskId, Vec<LiveKind>> = BTreeMap::new();
    for event in events {
        if let Some(task) = event.task {
            told.entry(task).or_default().push(event.what);
        }
    }
    told
}

fn numbers(events: &[LiveEvent]) -> Vec<String> {
    let number = |event: &LiveEvent| {
        let id = event.id.to_string();
        id.rsplit('-').next().unwrap().to_owned()
    };
    events.iter().map(number).collect()
}

async fn put(queue: &Queue, kind: &str) -> TaskId {
    let task = NewTask::new(kind, Payload::of(&7).unwrap());
    queue.enqueue(task).await.unwrap().id()
}

/// Each type ends in its own way, after a failure, a wait or words.
async fn by_type(task: LeasedTask) -> Outcome {
    let error = "it broke".to_owned();
    match (task.kind.as_str(), task.attempt) {
        ("dead", _) => Outcome::Dead { error },
        ("failing", 1) => Outcome::Retry { error, after: None },
        ("dropped", _) => Outcome::Retry {
            error: "drop me".to_owned(),
            after: None,
        },
        ("talks", _) => {
            task.progress(&0.5).unwrap();
            task.log("here");
            task.log("there");
            Outcome::Completed(None)
        }
        _ => Outcome::Completed(None),
    }
}

fn policy() -> Policy {
    let mut policy = brisk();
    policy.retry.max_attempts = 2;
    policy.retry.rules = vec![RetryRule {
        cause: None,
        pattern: Some("drop me".to_owned()),
        action: RetryAction::Drop,
        counts_as_attempt: None,
        after: None,
    }];
    policy
}

/// How often each command was given since the server started.
async fn commands(redis: &RedisServer) -> BTreeMap<String, u64> {
    let info: String = redis.command("INFO commandstats").await;
    let calls = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let count = rest.split(',').next()?.parse().ok()?;
        Some((name.to_owned(), count))
    };
    info.lines().filter_map(calls).collect()
}

#[tokio::test]
async fn each_kind_of_event_comes_once_and_in_order() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&policy()).await.unwrap();
    let (mut one, mut other) = (beside(&queue).await, beside(&queue).await);

    let plain = put(&queue, "plain").await;
    let keyed = NewTask::new("plain", Payload::of(&1).unwrap()).unique("u", HOUR);
    let keyed = queue.enqueue(keyed).await.unwrap().id();
    let talks = put(&queue, "talks").await;
    let failing = put(&queue, "failing").await;
    let dropped = put(&queue, "dropped").await;
    let dead = put(&queue, "dead").await;
    let far = queue.enqueue(task(1).delay(LATER)).await.unwrap().id();
    queue.cancel(&far).await.unwrap();
    let soon = task(1).delay(Duration::from_millis(20));
    let soon = queue.enqueue(soon).await.unwrap().id();
    let late = task(1).delay(LATER).expires_in(Duration::from_millis(1));
    let late = queue.enqueue(late).await.unwrap().id();
    let _: u64 = redis
        .command(&format!("ZADD tq:{{test/jobs}}:expiry 1 {late}"))
        .await;
    queue.tidy().await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), by_type));
    until(&client, &queue, "all have ended", |s| {
        let c = s.counters;
        (c.completed, c.dropped, c.dead, c.expired, c.cancelled) == (5, 1, 1, 1, 1)
    })
    .await;
    worker.stop().await;
    assert_eq!(queue.redrive(Selection::All).await.unwrap().moved, 1);
    let worker = Running::start(Worker::new(queue.clone(), by_type));
    until(&client, &queue, "it is dead again", |s| s.dead == 1).await;
    worker.stop().await;
    assert_eq!(queue.purge(Selection::All).await.unwrap(), 1);
    let replicas = Replicas { from: 1, to: 3 };
    queue
        .tell_scaled(replicas, "ceil(5 / 2) = 3")
        .await
        .unwrap();

    let events = heard_until(&mut one, Scaled).await;
    let told = by_task(&events);
    let expected = BTreeMap::from([
        (plain, vec![Enqueued, Started, Completed]),
        (keyed, vec![Enqueued, Started, Completed]),
        (
            talks,
            vec![Enqueued, Started, Progress, Log, Log, Completed],
        ),
        (
            failing,
            vec![Enqueued, Started, Retried, Due, Started, Completed],
        ),
        (dropped, vec![Enqueued, Started, Dropped]),
        (
            dead,
            vec![Enqueued, Started, Dead, Redriven, Started, Dead, Purged],
        ),
        (far, vec![Enqueued, Cancelled]),
        (soon, vec![Enqueued, Due, Started, Completed]),
        (late, vec![Enqueued, Expired]),
    ]);
    assert_eq!(told, expected);
    // Every listener is told all, each event once.
    assert_eq!(heard_until(&mut other, Scaled).await, events);
    let mut each = numbers(&events);
    each.dedup();
    assert_eq!(each.len(), events.len());
    assert!(events.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(snapshot(&queue, &client).await.counters.untold, 0);
    what_is_told(&events, [plain, failing, dead, far, talks]);
}

/// What the events tell of these tasks.
fn what_is_told(events: &[LiveEvent], [plain, failing, dead, far, talks]: [TaskId; 5]) {
    let of = |task: TaskId, what: LiveKind| {
        let fits = |event: &&LiveEvent| event.task == Some(task) && event.what == what;
        events.iter().find(fits).unwrap()
    };
    let enqueued = of(plain, Enqueued);
    assert_eq!(enqueued.kind.as_deref(), Some("plain"));
    assert_eq!(enqueued.priority.as_deref(), Some("normal"));
    assert_eq!(
        (enqueued.worker, enqueued.attempt, enqueued.due),
        (None, None, None)
    );
    assert!(of(far, Enqueued).due.is_some());
    let (started, completed) = (of(plain, Started), of(plain, Completed));
    assert!(started.worker.is_some() && started.worker == completed.worker);
    assert_eq!((started.attempt, completed.attempt), (Some(1), Some(1)));
    assert_eq!(completed.kind.as_deref(), Some("plain"));
    let retried = of(failing, Retried);
    assert_eq!(
        (retried.attempt, retried.cause),
        (Some(1), Some(Cause::Error))
    );
    assert_eq!(retried.text.as_deref(), Some("it broke"));
    assert_eq!(of(failing, Completed).attempt, Some(2));
    assert_eq!(of(dead, Dead).text.as_deref(), Some("it broke"));
    assert_eq!(of(dead, Purged).kind.as_deref(), Some("dead"));
    assert_eq!(of(talks, Progress).text.as_deref(), Some("0.5"));
    assert_eq!(of(talks, Log).text.as_deref(), Some("here"));
    let scaled = events.last().unwrap();
    assert_eq!(scaled.replicas, Some(Replicas { from: 1, to: 3 }));
    assert_eq!(scaled.text.as_deref(), Some("ceil(5 / 2) = 3"));
}

#[tokio::test]
async fn losses_and_what_is_handed_back_are_told_and_runs_of_schedules() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let mut heard = beside(&queue).await;
    let hangs = put(&queue, "hangs").await;
    let hang = |_: LeasedTask| std::future::pending();
    let doomed = Running::start(Worker::new(queue.clone(), hang));
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    let holder = queue.leases().await.unwrap()[0].1;
    doomed.crash().await;
    let released = queue.release(&[holder], Cause::OomKilled, "pod a").await;
    assert_eq!(released.unwrap().released, 1);
    let stopped = Running::start(Worker::new(queue.clone(), hang));
    until(&client, &queue, "it runs again", |s| s.active == 1).await;
    stopped.abort().await;
    let mut policy = Policy::default();
    let often: Schedule =
        serde_json::from_str(r#"{"name": "often", "cron": "* * * * *", "type": "run"}"#).unwrap();
    policy.schedules = vec![often];
    queue.configure(&policy).await.unwrap();
    queue.tidy().await.unwrap();
    // As if it had been noted some minutes ago.
    let noted: String = redis.command("HGET tq:{test/jobs}:schedules often").await;
    let (at, rest) = noted.split_once(' ').unwrap();
    let before = at.parse::<u64>().unwrap() - 300_000;
    let mut raw = redis.connection().await;
    let mut command = redis::cmd("HSET");
    command.arg("tq:{test/jobs}:schedules").arg("often");
    command.arg(format!("{before} {rest}"));
    command.exec_async(&mut raw).await.unwrap();
    assert_eq!(queue.tidy().await.unwrap().fired, 1);
    let replicas = Replicas { from: 1, to: 2 };
    queue.tell_scaled(replicas, "2 = 2").await.unwrap();

    let events = heard_until(&mut heard, Scaled).await;
    let told = [Enqueued, Started, Lost, Started, Released, Enqueued, Scaled];
    assert_eq!(kinds(&events), told);
    assert_eq!(events[5].kind.as_deref(), Some("run"));
    let lost = &events[2];
    assert_eq!(
        (lost.task, lost.cause),
        (Some(hangs), Some(Cause::OomKilled))
    );
    assert!(lost.text.as_ref().unwrap().contains("pod a"), "{lost:?}");
    assert_eq!((lost.kind.as_deref(), lost.worker), (Some("hangs"), None));
}

#[tokio::test]
async fn with_nobody_to_listen_nothing_is_written_and_no_command_is_given_for_it() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&policy()).await.unwrap();
    for kind in ["plain", "talks", "failing", "dropped", "dead", "dead"] {
        put(&queue, kind).await;
    }
    let far = queue.enqueue(task(1).delay(LATER)).await.unwrap().id();
    queue.cancel(&far).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), by_type));
    let dead = until(&client, &queue, "all have ended", |s| {
        let c = s.counters;
        (c.completed, c.dropped, c.dead) == (3, 1, 2)
    });
    dead.await;
    worker.stop().await;
    let first = listed(&queue, &[Stage::Dead], 100).await[0].id;
    queue.redrive(Selection::Ids(vec![first])).await.unwrap();
    assert_eq!(queue.purge(Selection::All).await.unwrap(), 1);
    let given = commands(&redis).await;
    for command in ["xadd", "xtrim", "xread", "xrevrange"] {
        assert_eq!(given.get(command), None, "{command}");
    }
    let (stream, field): (u64, u64) = (
        redis.command("EXISTS tq:{test/jobs}:live").await,
        redis.command("HEXISTS tq:{test/jobs}:config told").await,
    );
    assert_eq!((stream, field), (0, 0));
}

#[tokio::test]
async fn an_enqueue_gives_no_more_commands_than_it_needs_while_nobody_listens() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    // So that the scripts are known, and the list is not empty.
    put(&queue, "plain").await;
    let given = async || {
        let before = commands(&redis).await;
        put(&queue, "plain").await;
        let after = commands(&redis).await;
        let more = after.into_iter().filter_map(|(command, count)| {
            let more = count - before.get(&command).copied().unwrap_or(0);
            (more > 0 && command != "info" && command != "hello" && !command.starts_with("client"))
                .then_some((command, more))
        });
        more.collect::<BTreeMap<_, _>>()
    };
    let bare = [
        ("evalsha", 1),
        ("hget", 1),
        ("hincrby", 1),
        ("hmget", 1),
        ("hset", 1),
        ("rpush", 1),
        ("spop", 1),
        ("time", 1),
    ];
    let bare: BTreeMap<_, _> = bare.map(|(name, count)| (name.to_owned(), count)).into();
    assert_eq!(given().await, bare);
    let _listener = queue.listen(None).await.unwrap();
    put(&queue, "plain").await;
    let told = given().await;
    assert_eq!((told["xadd"], told["hincrby"]), (1, 3));
}

#[tokio::test]
async fn a_listener_that_is_gone_is_written_for_no_longer_than_its_lease() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    let listener = queue.listen(None).await.unwrap();
    drop(listener);
    put(&queue, "one").await;
    let length = async || -> u64 { redis.command("XLEN tq:{test/jobs}:live").await };
    assert_eq!(length().await, 2, "the beginning, and the task");
    let left: u64 = redis.command("PTTL tq:{test/jobs}:live").await;
    assert!((30_000..=60_000).contains(&left), "{left}");
    redis.move_clock(16);
    put(&queue, "two").await;
    assert_eq!(length().await, 2);
    // A clock that goes back makes nobody listen for longer.
    redis.move_clock(-3_600);
    put(&queue, "three").await;
    assert_eq!(length().await, 2);
    let mut listener = queue.listen(None).await.unwrap();
    put(&queue, "four").await;
    let events = hear(&mut listener, 1).await;
    assert_eq!(events[0].kind.as_deref(), Some("four"));
}

#[tokio::test]
async fn one_goes_on_behind_any_event_and_is_told_of_what_it_missed() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    let mut listener = queue.listen(None).await.unwrap();
    // Many events in one entry, and some in entries of their own.
    queue.enqueue_many(tasks(0..200)).await.unwrap();
    for _ in 0..10 {
        put(&queue, "one").await;
    }
    let all = hear(&mut listener, 210).await;
    drop(listener);
    for place in [0, 7, 199, 200, 208] {
        let behind: LiveId = all[place].id.to_string().parse().unwrap();
        let mut again = queue.listen(Some(behind)).await.unwrap();
        let rest = hear(&mut again, 209 - place).await;
        assert_eq!(rest, all[place + 1..], "{place}");
    }
    // While nobody listens, one is told of nothing, and then of that.
    let last = all[209].id;
    redis.move_clock(16);
    put(&queue, "unheard").await;
    let mut again = queue.listen(Some(last)).await.unwrap();
    let batch = again.next(SOON).await.unwrap();
    assert_eq!(batch.missed, [name("jobs")]);
    put(&queue, "heard").await;
    let events = hear(&mut again, 1).await;
    assert_eq!(events[0].kind.as_deref(), Some("heard"));
    // As if Redis had lost all of it.
    let _: () = redis.command("FLUSHALL").await;
    let mut again = queue.listen(Some(events[0].id)).await.unwrap();
    let batch = again.next(SOON).await.unwrap();
    assert_eq!(batch.missed, [name("jobs")]);
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_one_that_is_slow_is_told_of_its_gap() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let mut listener = queue.listen(None).await.unwrap();
    // So that somebody is heard to listen, however slow this is.
    let _fast = beside(&queue).await;
    let kind = "k".repeat(128);
    let batch = || {
        let task = |n| NewTask::new(kind.clone(), Payload::of(&n).unwrap());
        (0..5_000).map(task).collect::<Vec<_>>()
    };
    for _ in 0..8 {
        queue.enqueue_many(batch()).await.unwrap();
    }
    let bytes: u64 = redis
        .command("MEMORY USAGE tq:{test/jobs}:live SAMPLES 0")
        .await;
    assert!((3_000_000..8_000_000).contains(&bytes), "{bytes}");
    let mut heard: Vec<LiveEvent> = Vec::new();
    let mut gaps = 0;
    // The first number stands for what happened before anybody listened.
    while numbers(&heard).last().is_none_or(|last| last != "40001") {
        let batch = listener.next(SOON).await.unwrap();
        gaps += batch.missed.len();
        heard.extend(batch.events);
    }
    assert_eq!(gaps, 1);
    assert!((10_000..30_000).contains(&heard.len()), "{}", heard.len());
    let kept = numbers(&heard);
    let first: u64 = kept[0].parse().unwrap();
    let without_gap = (first..).map(|n| n.to_string()).take(kept.len());
    assert!(kept.iter().cloned().eq(without_gap));
    // The most that an attempt can say comes whole.
    let long = |task: LeasedTask| async move {
        task.progress(&"p".repeat(1_022)).unwrap();
        Outcome::Completed(None)
    };
    let worker = Running::start(Worker::new(queue.clone(), long));
    until(&client, &queue, "one", |s| s.counters.completed > 0).await;
    worker.stop().await;
    let said = loop {
        let events = hear(&mut listener, 1).await;
        let said = events.into_iter().find(|event| event.what == Progress);
        if let Some(said) = said {
            break said.text.unwrap();
        }
    };
    assert_eq!(said.len(), 1_024);
}

#[tokio::test]
async fn events_that_cannot_be_written_hold_up_nothing_and_are_counted() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let _listener = queue.listen(None).await.unwrap();
    let _: u64 = redis.command("DEL tq:{test/jobs}:live").await;
    let _: String = redis.command("SET tq:{test/jobs}:live none").await;
    queue.enqueue_many(tasks(0..10)).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), by_type));
    let done = until(&client, &queue, "all have ended", |s| {
        s.counters.completed == 10
    })
    .await;
    worker.stop().await;
    assert_eq!(done.counters.untold, 30);
}

#[tokio::test]
async fn many_queues_are_listened_to_over_one_connection_and_all_wakes_come_at_once() {
    let redis = RedisServer::start().await;
    let client = redis.client().await;
    let names: Vec<_> = (0..20).map(|n| name(&format!("q{n}"))).collect();
    let queues: Vec<_> = names
        .iter()
        .map(|name| client.queue(name.clone()))
        .collect();
    let connections = async || -> usize {
        let clients: String = redis.command("CLIENT LIST").await;
        clients.lines().count()
    };
    let before = connections().await;
    let wanted = names.iter().map(|name| (name.clone(), None));
    let mut listener = client.listen(wanted).await.unwrap();
    assert!(listener.next(Duration::ZERO).await.unwrap().is_empty());
    let blocks = async {
        while blocked(&redis, 1).await.is_none() {
            assert_eq!(
                listener.next(Duration::ZERO).await.unwrap(),
                LiveBatch::default()
            );
        }
    };
    timeout(SOON, blocks).await.expect("it blocks");
    assert_eq!(connections().await, before + 1);
    let mut told = Vec::new();
    for queue in &queues {
        let id = put(queue, "one").await;
        let events = hear(&mut listener, 1).await;
        told.push((events[0].queue.clone(), events[0].task));
        assert_eq!(told.last().unwrap().1, Some(id));
    }
    assert!(told.into_iter().map(|(name, _)| name).eq(names));
    drop(listener);
    eventually(SOON, "its connection ends", async || {
        (connections().await == before).then_some(())
    })
    .await;
    let none = client.listen([]).await.unwrap_err();
    assert!(none.to_string().contains("1 to 1000"), "{none}");
}

#[tokio::test]
async fn a_listener_outlives_its_redis() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes"]).await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let mut listener = queue.listen(None).await.unwrap();
    put(&queue, "one").await;
    hear(&mut listener, 1).await;
    redis.kill();
    listener.next(SOON).await.unwrap_err();
    redis.restart().await;
    eventually(SOON, "it is back", async || client.ping().await.ok()).await;
    let goes_on = async {
        loop {
            put(&queue, "two").await;
            match listener.next(Duration::from_secs(1)).await {
                Ok(batch) if !batch.events.is_empty() => break batch.events,
                _ => {}
            }
        }
    };
    let events = timeout(SOON, goes_on).await.expect("it goes on");
    assert_eq!(events[0].kind.as_deref(), Some("two"));
}

#[tokio::test]
async fn in_a_cluster_each_queue_is_listened_to_where_it_is() {
    let cluster = Cluster::start().await;
    let client = Client::connect(&cluster.endpoint()).await.unwrap();
    let names: Vec<_> = (0..3).map(|place| cluster.queue_on(place)).collect();
    let wanted = names.iter().map(|name| (name.clone(), None));
    let mut listener = client.listen(wanted).await.unwrap();
    for name in &names {
        let id = put(&client.queue(name.clone()), "one").await;
        let events = hear(&mut listener, 1).await;
        assert_eq!((&events[0].queue, events[0].task), (name, Some(id)));
    }
}

#[tokio::test]
async fn changes_of_the_workers_are_in_the_log_of_ends_among_the_ends() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let replicas = Replicas { from: 0, to: 2 };
    // Without a log there is nothing to write to.
    queue.tell_scaled(replicas, "2 = 2").await.unwrap();
    let mut policy = policy();
    policy.events = Some(EventLog::default());
    queue.configure(&policy).await.unwrap();
    let far = queue.enqueue(task(1).delay(LATER)).await.unwrap().id();
    queue
        .tell_scaled(replicas, &"é".repeat(1_000))
        .await
        .unwrap();
    queue.cancel(&far).await.unwrap();
    let mut reader = queue.ends("test", "one").unwrap();
    let (mut changes, mut ends) = (Vec::new(), Vec::new());
    while ends.is_empty() {
        let batch = reader.next(SOON).await.unwrap();
        reader.acknowledge(&batch).await.unwrap();
        assert_eq!(batch.skipped, 0);
        changes.extend(batch.changes);
        ends.extend(batch.ends);
    }
    assert_eq!((changes.len(), ends.len()), (1, 1));
    assert_eq!((changes[0].number, ends[0].number), (1, 2));
    assert_eq!(changes[0].replicas, replicas);
    assert_eq!(changes[0].equation, "é".repeat(512));
    assert_eq!(ends[0].task.id, far);
}

//! Who is woken by what, and how much is asked of Redis for it.

use std::time::{Duration, Instant};

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Client, Policy, Queue};

use crate::testbed::proxy::Proxy;
use crate::testbed::pulse::Pulse;
use crate::testbed::{self, Running, SOON, blocked, name, queue, recording, task, tasks, until};

/// How often scripts were called since the server started.
async fn script_calls(redis: &RedisServer) -> u64 {
    let mut raw = redis.connection().await;
    let info: redis::InfoDict = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut raw)
        .await
        .unwrap();
    let line: String = info.get("cmdstat_evalsha").unwrap_or_default();
    let calls = line
        .split(',')
        .next()
        .and_then(|field| field.strip_prefix("calls="));
    calls.map_or(0, |calls| calls.parse().unwrap())
}

/// Begins to note every call, or to note them anew.
async fn note_calls(redis: &RedisServer) {
    let _: () = redis.command("CONFIG SET slowlog-log-slower-than 0").await;
    let _: () = redis.command("CONFIG SET slowlog-max-len 10000").await;
    let _: () = redis.command("SLOWLOG RESET").await;
}

/// How many of the calls since then were fetches: no other script is given the key of the rate
/// limit. Heartbeats and maintenance come when they come.
async fn fetches(redis: &RedisServer) -> usize {
    type Entry = (u64, u64, u64, Vec<Vec<u8>>, String, String);
    let noted: Vec<Entry> = redis.command("SLOWLOG GET 10000").await;
    let is_fetch = |entry: &&Entry| entry.3.iter().any(|word| word.ends_with(b":rate"));
    noted.iter().filter(is_fetch).count()
}

async fn length(redis: &RedisServer, command: &str, key: &str) -> u64 {
    let mut raw = redis.connection().await;
    redis::cmd(command)
        .arg(format!("tq:{{test/jobs}}:{key}"))
        .query_async(&mut raw)
        .await
        .unwrap()
}

#[tokio::test]
async fn n_tasks_wake_as_many_of_m_idle_workers_as_there_is_work_for() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let hang = |_: LeasedTask| async { std::future::pending::<Outcome>().await };
    let mut workers = Vec::new();
    for _ in 0..6 {
        let worker = Worker::new(testbed::queue(&redis).await, hang);
        workers.push(Running::start(worker));
    }
    // So that the server knows the script; whoever sleeps must learn of the new first due time.
    queue
        .enqueue(testbed::task(99).delay(SOON * 100))
        .await
        .unwrap();
    eventually(SOON, "all idle", async || {
        (length(&redis, "SCARD", "idle").await == 6).then_some(())
    })
    .await;
    // Each sleeps for two seconds at most and looks again when those are over; count inside of
    // that.
    let begun = Instant::now();
    note_calls(&redis).await;
    queue.enqueue_many(tasks(0..4)).await.unwrap();
    eventually(SOON, "four run", async || {
        (length(&redis, "HLEN", "active").await == 4).then_some(())
    })
    .await;
    let fetches = fetches(&redis).await;
    if begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(fetches, 4, "one for each worker that was woken");
    }

    queue.enqueue_many(tasks(4..14)).await.unwrap();
    until(&client, &queue, "all run", |s| {
        s.active == 6 && s.backlog() == 8
    })
    .await;
    for worker in workers {
        worker.abort().await;
    }
    assert_eq!(
        length(&redis, "EXISTS", "wake").await,
        0,
        "a queue without workers keeps no tokens"
    );
}

#[tokio::test]
async fn a_worker_with_many_slots_that_is_woken_for_one_task_asks_once() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let hang = |_: LeasedTask| async { std::future::pending::<Outcome>().await };
    let worker = Worker::new(testbed::queue(&redis).await, hang).concurrency(100);
    let worker = Running::start(worker);
    // So that the server knows the script.
    let later = testbed::task(99).delay(SOON * 100);
    queue.enqueue(later).await.unwrap();
    let mut judged = 0;
    for n in 0..20 {
        eventually(SOON, "it sleeps", async || blocked(&redis, 1).await).await;
        // It sleeps for two seconds at most and looks again when those are over.
        let begun = Instant::now();
        note_calls(&redis).await;
        queue.enqueue(testbed::task(n)).await.unwrap();
        eventually(SOON, "it runs, and the worker sleeps", async || {
            let active = length(&redis, "HLEN", "active").await;
            let runs = (active == u64::from(n) + 1).then_some(());
            runs.and(blocked(&redis, 1).await)
        })
        .await;
        let fetches = fetches(&redis).await;
        if begun.elapsed() < Duration::from_secs(1) {
            assert_eq!(fetches, 1, "task {n}");
            judged += 1;
        }
        if judged == 3 {
            break;
        }
    }
    assert_eq!(judged, 3, "so often it was woken within a second");
    worker.abort().await;
}

#[tokio::test]
async fn a_task_for_an_idle_worker_starts_at_once_again_and_again() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (handler, mut seen) = recording();
    let workers: Vec<_> = {
        let handler = std::sync::Arc::new(handler);
        let queues = [
            testbed::queue(&redis).await,
            testbed::queue(&redis).await,
            testbed::queue(&redis).await,
        ];
        queues
            .into_iter()
            .map(|queue| {
                let handler = std::sync::Arc::clone(&handler);
                Running::start(Worker::new(queue, move |task: LeasedTask| {
                    let handler = std::sync::Arc::clone(&handler);
                    async move { taskqueue_queue::worker::Handler::handle(&*handler, task).await }
                }))
            })
            .collect()
    };
    until(&redis.client().await, &queue, "registered", |s| {
        s.workers == 3
    })
    .await;
    let pulse = Pulse::beside(&redis).await;
    for n in 0..100 {
        let enqueued = pulse.watch();
        queue.enqueue(testbed::task(n)).await.unwrap();
        assert_eq!(testbed::next(&mut seen, 1).await, [n]);
        // A wake that got lost would cost up to two seconds.
        enqueued.quick(Duration::from_millis(500));
    }
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn figures_of_many_queues_take_one_round_trip() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::before(redis.port()).await;
    let client = proxy.client().await;
    let queues: Vec<Queue> = (0..60)
        .map(|n| client.queue(name(&format!("q{n}"))))
        .collect();
    for (n, queue) in queues.iter().enumerate() {
        queue
            .enqueue_many(tasks(0..u32::try_from(n).unwrap()))
            .await
            .unwrap();
    }
    let before = script_calls(&redis).await;
    let figures = client.snapshot(&queues).await;
    for (n, figures) in figures.into_iter().enumerate() {
        assert_eq!(figures.unwrap().backlog(), n as u64);
    }
    // The server did not know the script before, so the first of two pipelines ended in the middle
    // of nowhere.
    let calls = script_calls(&redis).await - before;
    assert!((60..=120).contains(&calls), "{calls} calls");
    all_are_asked_before_one_is_answered(&redis, &proxy, &client, &queues).await;

    // One queue's new policy costs that queue a second call and the others nothing.
    let admin = redis.client().await.queue(name("q7"));
    let policy = Policy {
        levels: vec!["only".into()],
        ..Policy::default()
    };
    admin.configure(&policy).await.unwrap();
    let before = script_calls(&redis).await;
    let figures = client.snapshot(&queues).await;
    assert_eq!(script_calls(&redis).await - before, 61);
    let seventh = figures[7].as_ref().unwrap();
    assert_eq!((seventh.version, seventh.backlog()), (1, 7));
    assert_eq!(
        seventh.waiting,
        [("only".to_owned(), 0), ("normal".to_owned(), 7)]
    );
}

#[tokio::test]
async fn figures_of_more_queues_than_a_thousand_take_further_connections_and_one_round_trip_each() {
    let redis = RedisServer::start().await;
    let client = redis.client().await;
    let queues: Vec<Queue> = (0..2_500)
        .map(|n| client.queue(name(&format!("q{n}"))))
        .collect();
    for n in [0, 999, 1_000, 2_499] {
        queues[n].enqueue(task(1)).await.unwrap();
    }
    let connections = async || -> Vec<u64> {
        let clients: String = redis.command("CLIENT LIST").await;
        let id = |line: &str| line.split(['=', ' ']).nth(1).unwrap().parse().unwrap();
        let ours = |line: &&str| line.contains("cmd=evalsha");
        clients.lines().filter(ours).map(id).collect()
    };
    // Has the server learn the script, and the client the policies.
    client.snapshot(&queues).await;
    let before = connections().await;
    assert_eq!(before.len(), 3);
    let calls = script_calls(&redis).await;
    for (n, figures) in client.snapshot(&queues).await.into_iter().enumerate() {
        let expected = [0, 999, 1_000, 2_499].contains(&n);
        assert_eq!(figures.unwrap().backlog(), u64::from(expected), "queue {n}");
    }
    assert_eq!(script_calls(&redis).await - calls, 2_500);
    assert_eq!(connections().await, before, "they are kept");

    // One round trip each, all at the same time: the last is asked before the first has answered.
    let proxy = Proxy::before(redis.port()).await;
    let client = proxy.client().await;
    let queues: Vec<Queue> = (0..2_500)
        .map(|n| client.queue(name(&format!("q{n}"))))
        .collect();
    client.snapshot(&queues).await;
    all_are_asked_before_one_is_answered(&redis, &proxy, &client, &queues).await;
}

/// With the script and the policies known to whom it concerns.
async fn all_are_asked_before_one_is_answered(
    redis: &RedisServer,
    proxy: &Proxy,
    client: &Client,
    queues: &[Queue],
) {
    let before = script_calls(redis).await;
    proxy.hold_answers();
    let asked = async {
        eventually(SOON, "all are asked", async || {
            let calls = script_calls(redis).await - before;
            (calls == queues.len() as u64).then_some(())
        })
        .await;
        proxy.release_answers();
    };
    let (figures, ()) = tokio::join!(client.snapshot(queues), asked);
    assert!(figures.iter().all(Result::is_ok));
}

#[tokio::test]
async fn figures_say_how_old_the_oldest_task_is_and_when_the_next_is_due() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let empty = testbed::snapshot(&queue, &client).await;
    assert_eq!(
        (empty.oldest_waiting, empty.next_due, empty.backlog()),
        (None, None, 0)
    );
    queue.enqueue(testbed::task(1)).await.unwrap();
    let later = testbed::task(2).delay(Duration::from_secs(10));
    let later = queue.enqueue(later).await.unwrap().id();
    let figures = until(&client, &queue, "aged", |s| {
        s.oldest_waiting > Some(Duration::from_millis(50))
    })
    .await;
    let later = queue.get(&later).await.unwrap().unwrap();
    assert_eq!(figures.next_due, later.due);
    assert!(figures.oldest_waiting.unwrap() < SOON);
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_is_an_error_of_its_own_and_not_empty() {
    let redis = RedisServer::start().await;
    let client = redis.client().await;
    let mut raw = redis.connection().await;
    redis::cmd("SET")
        .arg("tq:{test/broken}:tasks")
        .arg("no hash")
        .exec_async(&mut raw)
        .await
        .unwrap();
    redis::cmd("RPUSH")
        .arg("tq:{test/broken}:wait:low")
        .arg("x")
        .exec_async(&mut raw)
        .await
        .unwrap();
    let queues = [client.queue(name("broken")), client.queue(name("fine"))];
    let figures = client.snapshot(&queues).await;
    assert!(figures[0].is_err(), "{figures:?}");
    assert_eq!(figures[1].as_ref().unwrap().backlog(), 0);
}

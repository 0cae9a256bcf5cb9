//! Redis as it fails: restarts, lost answers, freezes, refused access, full memory.

use std::sync::Arc;
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually, ids};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Announcement, Client, Endpoint, Error, NewTask, Payload, State};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::testbed::proxy::Proxy;
use crate::testbed::pulse::Pulse;
use crate::testbed::{
    self, Running, SOON, name, next, number, queue, recording, snapshot, task, tasks, until,
};

/// From the return of Redis until work goes on.
const BACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_given_them_again() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    for n in 0..3 {
        queue.enqueue(task(n)).await.unwrap();
        assert_eq!(next(&mut seen, 1).await, [n]);
        let mut raw = redis.connection().await;
        redis::cmd("SCRIPT")
            .arg("FLUSH")
            .exec_async(&mut raw)
            .await
            .unwrap();
        // The pipelined ones too.
        assert_eq!(
            snapshot(&queue, &client).await.counters.enqueued,
            u64::from(n) + 1
        );
    }
    assert_eq!(worker.stop().await.completed, 3);
}

#[tokio::test]
async fn after_a_restart_workers_deliver_their_acks_and_consume_within_two_seconds() {
    let mut redis =
        RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let finish = Arc::new(Notify::new());
    let ids = ids(&queue.enqueue_many(tasks(0..2)).await.unwrap());
    let handler = {
        let finish = Arc::clone(&finish);
        move |task: LeasedTask| {
            let finish = Arc::clone(&finish);
            async move {
                if number(&task) < 2 {
                    finish.notified().await;
                }
                Outcome::Completed(None)
            }
        }
    };
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(2));
    until(&client, &queue, "both taken", |s| s.active == 2).await;
    for round in 0..2_u32 {
        redis.kill();
        eventually(SOON, "noticed", async || {
            (!worker.probe().redis_up()).then_some(())
        })
        .await;
        finish.notify_one();
        redis.restart().await;
        let pulse = Pulse::beside(&redis).await;
        let back = pulse.watch();
        let id = queue.enqueue(task(10 + round)).await.unwrap().id();
        for id in [ids[round as usize], id] {
            eventually(SOON, "completed", async || {
                queue
                    .get(&id)
                    .await
                    .ok()?
                    .filter(|task| task.state == State::Completed)
            })
            .await;
        }
        back.quick(BACK);
        assert!(worker.probe().redis_up());
    }
    let report = worker.stop().await;
    assert_eq!((report.completed, report.lost), (4, 0));
    assert_eq!(snapshot(&queue, &client).await.counters.completed, 4);
}

#[tokio::test]
async fn an_enqueue_whose_answer_is_lost_is_repeated_and_enqueues_once() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::before(redis.port()).await;
    let queue = proxy.client().await.queue(name("jobs"));
    queue.policy().await.unwrap();
    for (round, batch) in [1, 700, 2_500].into_iter().enumerate() {
        proxy.lose_answer_to_request_holding("doubtful");
        let task = |n: u32| {
            let task = NewTask::new("doubtful", Payload::of(&n).unwrap());
            if n.is_multiple_of(3) {
                task.delay(SOON * 100)
            } else {
                task
            }
        };
        let before = snapshot(&queue, &redis.client().await)
            .await
            .counters
            .enqueued;
        let ids = ids(&queue
            .enqueue_many((0..batch).map(task).collect())
            .await
            .unwrap());
        assert_eq!(proxy.lost(), round + 1);
        let after = snapshot(&queue, &redis.client().await).await;
        assert_eq!(after.counters.enqueued - before, u64::from(batch));
        assert_eq!(after.backlog() + after.scheduled, after.counters.enqueued);
        assert_eq!(ids.len(), batch as usize);
    }
}

#[tokio::test]
async fn tasks_leased_by_a_lost_answer_are_run_by_the_same_worker() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let proxy = Proxy::before(redis.port()).await;
    let consumer = proxy.client().await.queue(name("jobs"));
    let (handler, mut seen) = recording();
    // With a lease that would keep the tasks from anyone for longer than this test waits.
    let worker = Running::start(
        Worker::new(consumer, handler)
            .concurrency(8)
            .lease(SOON * 10),
    );
    until(&client, &queue, "registered", |s| s.workers == 1).await;
    proxy.lose_answer_holding("count");
    queue.enqueue_many(tasks(0..5)).await.unwrap();
    let mut numbers = next(&mut seen, 5).await;
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    assert_eq!(proxy.lost(), 1);
    let report = worker.stop().await;
    assert_eq!((report.completed, report.lost), (5, 0));
}

#[tokio::test]
async fn acks_whose_answer_is_lost_are_sent_again_and_count_once() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let proxy = Proxy::before(redis.port()).await;
    let consumer = proxy.client().await.queue(name("jobs"));
    // Only the acks of a worker that never enqueues carry the task's type to the server.
    proxy.lose_answer_to_request_holding("count");
    queue.enqueue_many(tasks(0..20)).await.unwrap();
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(consumer, handler).concurrency(8));
    next(&mut seen, 20).await;
    until(&client, &queue, "all acked", |s| {
        s.counters.completed == 20 && s.active == 0
    })
    .await;
    assert_eq!(proxy.lost(), 1);
    let report = worker.stop().await;
    assert_eq!((report.completed, report.lost), (20, 0));
    assert_eq!(snapshot(&queue, &client).await.counters.completed, 20);
}

#[tokio::test]
async fn a_frozen_server_is_a_timeout_and_work_goes_on_when_it_thaws() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(testbed::queue(&redis).await, handler));
    queue.enqueue(task(1)).await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [1]);
    redis.freeze();
    let fault = queue.enqueue(task(2)).await.unwrap_err();
    assert!(
        matches!(fault, Error::Timeout { .. }) && fault.is_transient(),
        "{fault}"
    );
    redis.thaw();
    let pulse = Pulse::beside(&redis).await;
    let back = pulse.watch();
    queue.enqueue(task(3)).await.unwrap();
    // The call that timed out may have been done all the same: its outcome is unknown.
    while next(&mut seen, 1).await != [3] {}
    back.quick(BACK);
    worker.stop().await;
}

#[tokio::test]
async fn no_server_at_all_is_unreachable_and_names_the_address() {
    let mut redis = RedisServer::start().await;
    let client = redis.client().await;
    redis.kill();
    let address = format!("127.0.0.1:{}", redis.port());
    for fault in [
        client.ping().await.unwrap_err(),
        Client::connect(&Endpoint::parse(&redis.url()).unwrap())
            .await
            .unwrap_err(),
        client
            .queue(name("jobs"))
            .enqueue(task(1))
            .await
            .unwrap_err(),
    ] {
        assert!(
            matches!(fault, Error::Unreachable { .. }) && fault.is_transient(),
            "{fault}"
        );
        assert!(fault.to_string().contains(&address), "{fault}");
    }
    redis.restart().await;
    client.ping().await.unwrap();
}

#[tokio::test]
async fn refused_access_says_which_kind_and_never_shows_the_password() {
    let redis = RedisServer::start_with(&["--requirepass", "right"]).await;
    let port = redis.port();
    let url = |credentials: &str| format!("redis://{credentials}127.0.0.1:{port}");
    let right = Client::connect(&Endpoint::parse(&url(":right@")).unwrap())
        .await
        .unwrap();
    right.ping().await.unwrap();
    let mut raw = redis::Client::open(url(":right@"))
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER")
        .arg("guest")
        .arg("on")
        .arg(">hunter2")
        .arg("+@connection")
        .arg("+time")
        .arg("~*");
    acl.exec_async(&mut raw).await.unwrap();

    for (credentials, word) in [
        ("", "NOAUTH"),
        (":hunter2@", "WRONGPASS"),
        ("nobody:hunter2@", "WRONGPASS"),
    ] {
        let fault = Client::connect(&Endpoint::parse(&url(credentials)).unwrap())
            .await
            .unwrap_err();
        assert!(
            matches!(fault, Error::AuthFailed { .. }) && !fault.is_transient(),
            "{fault}"
        );
        assert!(
            fault.to_string().contains(word) && !fault.to_string().contains("hunter2"),
            "{fault}"
        );
    }
    let guest = Client::connect(&Endpoint::parse(&url("guest:hunter2@")).unwrap())
        .await
        .unwrap();
    let fault = guest
        .queue(name("jobs"))
        .enqueue(task(1))
        .await
        .unwrap_err();
    assert!(matches!(fault, Error::AuthFailed { .. }), "{fault}");
    assert!(fault.to_string().contains("NOPERM"), "{fault}");

    let worker = Worker::new(guest.queue(name("jobs")), |_: LeasedTask| async {
        Outcome::Completed(None)
    });
    let fault = worker
        .run(CancellationToken::new(), CancellationToken::new())
        .await
        .unwrap_err();
    assert!(
        matches!(fault, Error::AuthFailed { .. }),
        "waiting would not help: {fault}"
    );
}

#[tokio::test]
async fn a_password_for_a_server_without_one_is_refused() {
    let redis = RedisServer::start().await;
    let endpoint =
        Endpoint::parse(&format!("redis://:hunter2@127.0.0.1:{}", redis.port())).unwrap();
    let fault = Client::connect(&endpoint).await.unwrap_err();
    assert!(matches!(fault, Error::AuthFailed { .. }), "{fault}");
    assert!(!fault.to_string().contains("hunter2"), "{fault}");
}

#[tokio::test]
async fn a_full_server_and_a_replica_are_named_as_such_and_recover() {
    let redis = RedisServer::start().await;
    let client = redis.client().await;
    let queue = client.queue(name("jobs"));
    queue.enqueue(task(1)).await.unwrap();
    let mut raw = redis.connection().await;
    for (set, unset, is_it) in [
        (
            ["CONFIG", "SET", "maxmemory", "1"],
            ["CONFIG", "SET", "maxmemory", "0"],
            is_out_of_memory as fn(&Error) -> bool,
        ),
        (
            ["REPLICAOF", "127.0.0.1", "1", ""],
            ["REPLICAOF", "NO", "ONE", ""],
            is_read_only,
        ),
    ] {
        run(&mut raw, &set).await;
        let fault = queue.enqueue(task(2)).await.unwrap_err();
        assert!(is_it(&fault) && fault.is_transient(), "{fault}");
        run(&mut raw, &unset).await;
        queue.enqueue(task(3)).await.unwrap();
    }
    assert_eq!(snapshot(&queue, &client).await.counters.enqueued, 3);
}

fn is_out_of_memory(fault: &Error) -> bool {
    matches!(fault, Error::OutOfMemory { .. })
}

fn is_read_only(fault: &Error) -> bool {
    matches!(fault, Error::ReadOnly { .. })
}

async fn run(raw: &mut redis::aio::MultiplexedConnection, words: &[&str]) {
    let words: Vec<_> = words.iter().filter(|word| !word.is_empty()).collect();
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command.exec_async(raw).await.unwrap();
}

#[tokio::test]
async fn announcements_come_when_a_queue_fills_and_again_after_a_restart() {
    let mut redis = RedisServer::start().await;
    let client = redis.client().await;
    let queue = client.queue(name("jobs"));
    let mut announcements = client.announcements();
    let mut next = async || {
        tokio::time::timeout(SOON, announcements.next())
            .await
            .unwrap()
    };
    assert_eq!(next().await, Announcement::Resync);
    queue.enqueue_many(tasks(0..5)).await.unwrap();
    queue.enqueue(task(6)).await.unwrap();
    queue.enqueue(task(7).priority("high")).await.unwrap();
    // One for each list that was empty before.
    assert_eq!(next().await, Announcement::Ready(name("jobs")));
    assert_eq!(next().await, Announcement::Ready(name("jobs")));
    redis.kill();
    redis.restart().await;
    assert_eq!(next().await, Announcement::Resync);
    queue.enqueue(task(8)).await.unwrap();
    assert_eq!(next().await, Announcement::Ready(name("jobs")));
}

#[tokio::test]
async fn a_server_that_came_back_empty_is_worked_for_as_a_new_one() {
    let mut redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let policy = taskqueue_queue::Policy {
        levels: vec!["only".into()],
        ..Default::default()
    };
    queue.configure(&policy).await.unwrap();
    let hang_on_one = |task: LeasedTask| async move {
        if number(&task) == 1 {
            task.lease_lost().await;
        }
        Outcome::Completed(None)
    };
    let worker = Running::start(Worker::new(queue.clone(), hang_on_one));
    queue.enqueue(task(1)).await.unwrap();
    eventually(SOON, "it runs", async || {
        (worker.probe().running() == 1).then_some(())
    })
    .await;
    redis.kill();
    redis.restart().await;
    let id = queue.enqueue(task(2).priority("high")).await.unwrap().id();
    eventually(SOON, "completed", async || {
        let task = queue.get(&id).await.unwrap();
        task.filter(|task| task.state == State::Completed)
    })
    .await;
    let report = worker.stop().await;
    assert_eq!((report.completed, report.lost), (1, 1));
}

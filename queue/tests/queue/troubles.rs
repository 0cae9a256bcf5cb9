//! A server in trouble, under a running worker: producers are told which trouble it is, and when it
//! is over the worker consumes again within two seconds, without a restart.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::Worker;
use taskqueue_queue::{Client, Error, Queue};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::testbed::pulse::Pulse;
use crate::testbed::{self, Running, SOON, name, next, recording, task};

/// Longest time from the end of a trouble to the first task that is consumed.
const BACK: Duration = Duration::from_secs(2);

/// A server, and a worker that has worked and now sleeps.
struct Scene {
    redis: RedisServer,
    client: Client,
    queue: Queue,
    worker: Running,
    seen: UnboundedReceiver<u32>,
    /// Made before the trouble.
    admin: MultiplexedConnection,
    pulse: Pulse,
    number: u32,
}

impl Scene {
    async fn with(arguments: &[&str]) -> Self {
        let redis = RedisServer::start_with(arguments).await;
        let client = redis.client().await;
        let queue = client.queue(name("jobs"));
        let (handler, seen) = recording();
        // With connections of its own, as a worker has them.
        let worker = Running::start(Worker::new(testbed::queue(&redis).await, handler));
        let mut scene = Self {
            admin: redis.connection().await,
            pulse: Pulse::beside(&redis).await,
            redis,
            client,
            queue,
            worker,
            seen,
            number: 0,
        };
        scene.consumes().await;
        scene
    }

    async fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"]).await
    }

    async fn admin(&mut self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let _: redis::Value = command.query_async(&mut self.admin).await.unwrap();
    }

    /// Waits until a producer is told of the trouble.
    async fn told(&self, is_it: fn(&Error) -> bool) -> Error {
        let fault = eventually(SOON, "the trouble", async || {
            self.queue.enqueue(task(0)).await.err().filter(is_it)
        })
        .await;
        assert!(fault.is_transient(), "{fault}");
        let address = format!("127.0.0.1:{}", self.redis.port());
        assert!(fault.to_string().contains(&address), "{fault}");
        fault
    }

    /// A task that is enqueued now is run within two seconds.
    async fn consumes(&mut self) {
        self.number += 1;
        let begun = self.pulse.watch();
        self.queue.enqueue(task(self.number)).await.unwrap();
        // Those whose outcome was unknown may come first.
        while next(&mut self.seen, 1).await != [self.number] {}
        begun.quick(BACK);
    }

    async fn ends_well(mut self) {
        self.consumes().await;
        let report = self.worker.stop().await;
        assert_eq!(report.lost, 0);
    }
}

#[tokio::test]
async fn out_of_memory() {
    let mut scene = Scene::start().await;
    scene.admin(&["CONFIG", "SET", "maxmemory", "1"]).await;
    scene
        .told(|fault| matches!(fault, Error::OutOfMemory { .. }))
        .await;
    scene.admin(&["CONFIG", "SET", "maxmemory", "0"]).await;
    scene.ends_well().await;
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_for_a_while() {
    let mut scene = Scene::start().await;
    scene.admin(&["REPLICAOF", "127.0.0.1", "1"]).await;
    scene
        .told(|fault| matches!(fault, Error::ReadOnly { .. }))
        .await;
    scene.admin(&["REPLICAOF", "NO", "ONE"]).await;
    scene.ends_well().await;
}

#[tokio::test]
async fn a_disk_that_takes_no_dump() {
    let mut scene = Scene::with(&["--save", "3600 1000000"]).await;
    // A dump is written beside this name and then given it, which a folder there prevents.
    let in_the_way = scene.redis.directory().join("dump.rdb");
    std::fs::create_dir_all(in_the_way.join("folder")).unwrap();
    scene.admin(&["BGSAVE"]).await;
    let fault = scene
        .told(|fault| matches!(fault, Error::Misconfigured { .. }))
        .await;
    assert!(fault.to_string().contains("cannot persist"), "{fault}");
    std::fs::remove_dir_all(&in_the_way).unwrap();
    scene.admin(&["BGSAVE"]).await;
    eventually(SOON, "the dump is written", async || {
        let info: redis::InfoDict = scene.redis.try_command("INFO persistence").await?;
        (info.get::<String>("rdb_last_bgsave_status")? == "ok").then_some(())
    })
    .await;
    scene.ends_well().await;
}

#[tokio::test]
async fn too_few_replicas() {
    let mut scene = Scene::start().await;
    scene
        .admin(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await;
    let fault = scene
        .told(|fault| matches!(fault, Error::TooFewReplicas { .. }))
        .await;
    let fault = fault.to_string();
    assert!(fault.contains("lower min-replicas-to-write"), "{fault}");
    // Nor does a worker end that starts meanwhile.
    let (handler, mut seen) = recording();
    let others = scene.redis.client().await.queue(name("others"));
    let starting = Worker::new(others.clone(), handler);
    let probe = starting.probe();
    let starting = Running::start(starting);
    eventually(SOON, "it has tried", async || {
        (!probe.redis_up()).then_some(())
    })
    .await;
    scene
        .admin(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .await;
    others.enqueue(task(7)).await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [7]);
    starting.stop().await;
    scene.ends_well().await;
}

#[tokio::test]
async fn an_error_that_nobody_knows_is_waited_out_by_a_worker_that_starts() {
    let redis = RedisServer::start().await;
    let queue = testbed::queue(&redis).await;
    // What a script says that comes upon something that is not its own.
    let _: () = redis.command("SET tq:{test/jobs}:workers x").await;
    let (handler, mut seen) = recording();
    let worker = Worker::new(testbed::queue(&redis).await, handler);
    let probe = worker.probe();
    let worker = Running::start(worker);
    eventually(SOON, "it has tried", async || {
        (!probe.redis_up()).then_some(())
    })
    .await;
    let _: u64 = redis.command("DEL tq:{test/jobs}:workers").await;
    queue.enqueue(task(1)).await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [1]);
    worker.stop().await;
}

#[tokio::test]
async fn a_script_of_someone_that_does_not_end() {
    let mut scene = Scene::start().await;
    scene
        .admin(&["CONFIG", "SET", "busy-reply-threshold", "50"])
        .await;
    let mut someone = scene.redis.connection().await;
    let endless = tokio::spawn(async move {
        let mut command = redis::cmd("EVAL");
        command.arg("while true do end").arg(0);
        command.exec_async(&mut someone).await
    });
    scene
        .told(|fault| matches!(fault, Error::Busy { .. }))
        .await;
    // Whoever connects now is told the same.
    let endpoint = scene.client.endpoint();
    let fault = Client::connect(endpoint).await.unwrap_err();
    assert!(matches!(fault, Error::Busy { .. }), "{fault}");
    scene.admin(&["SCRIPT", "KILL"]).await;
    endless.await.unwrap().unwrap_err();
    scene.ends_well().await;
}

#[tokio::test]
async fn a_server_that_reads_its_data_for_a_while() {
    let slow = [
        "--save",
        "3600 1000000",
        "--key-load-delay",
        "2000",
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    let mut scene = Scene::with(&slow).await;
    let fill = "for n = 1, 2000 do redis.call('SET', 'x' .. n, string.rep('x', 100)) end";
    scene.admin(&["EVAL", fill, "0"]).await;
    scene.redis.stop().await;
    scene.redis.restart_loading().await;
    scene
        .told(|fault| matches!(fault, Error::Loading { .. }))
        .await;
    eventually(SOON, "loaded", async || {
        let info: redis::InfoDict = scene.redis.try_command("INFO persistence").await?;
        (info.get::<u8>("loading")? == 0).then_some(())
    })
    .await;
    scene.ends_well().await;
}

#[tokio::test]
async fn writes_that_an_administrator_has_paused() {
    let mut scene = Scene::start().await;
    scene.admin(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let fault = scene
        .told(|fault| matches!(fault, Error::Timeout { .. }))
        .await;
    assert!(fault.to_string().contains("5000 ms"), "{fault}");
    scene.admin(&["CLIENT", "UNPAUSE"]).await;
    scene.ends_well().await;
}

#[tokio::test]
async fn connections_that_are_killed_again_and_again() {
    let mut scene = Scene::start().await;
    for _ in 0..10 {
        scene.admin(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        scene.consumes().await;
    }
    scene.ends_well().await;
}

#[tokio::test]
async fn a_server_that_takes_no_more_clients() {
    let mut scene = Scene::start().await;
    scene.admin(&["CONFIG", "SET", "maxclients", "1"]).await;
    scene.admin(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    let fault = scene
        .told(|fault| matches!(fault, Error::Unreachable { .. }))
        .await;
    assert!(
        fault.to_string().contains("max number of clients"),
        "{fault}"
    );
    scene.admin(&["CONFIG", "SET", "maxclients", "1000"]).await;
    scene.ends_well().await;
}

#[tokio::test]
async fn a_freeze_of_thirty_seconds() {
    let mut scene = Scene::start().await;
    scene.redis.freeze();
    // The time itself is what is tested: three leases long.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!scene.worker.probe().redis_up());
    let fault = scene
        .told(|fault| matches!(fault, Error::Timeout { .. }))
        .await;
    assert!(fault.to_string().contains("did not answer"), "{fault}");
    scene.redis.thaw();
    scene.consumes().await;
    assert!(scene.worker.probe().redis_up());
    scene.worker.stop().await;
}

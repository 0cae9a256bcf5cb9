//! Failover: what a running worker and its producers see when another server takes over. Times are
//! printed; `--nocapture` shows them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use taskqueue_queue::testing::{Cluster, RedisServer, Sentinels, eventually, ids};
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome, Worker};
use taskqueue_queue::{Announcement, Client, Error, Queue, State, TaskId};
use tokio::sync::Notify;

use crate::testbed::pulse::Pulse;
use crate::testbed::{
    Running, SOON, large_tasks, name, next, number, recording, task, tasks, until,
};

/// Longest time between the new primary and the first task that it hands out.
const BACK: Duration = Duration::from_secs(2);

/// A handler that holds the tasks below 2 until it is told to let them end.
fn holding(finish: &Arc<Notify>) -> impl Handler {
    let finish = Arc::clone(finish);
    move |task: LeasedTask| {
        let finish = Arc::clone(&finish);
        async move {
            if number(&task) < 2 {
                finish.notified().await;
            }
            Outcome::Completed(None)
        }
    }
}

async fn completed(queue: &Queue, id: &TaskId) {
    eventually(SOON, "completed", async || {
        let task = queue.get(id).await.ok()??;
        (task.state == State::Completed).then_some(())
    })
    .await;
}

/// Waits until a replica has all that the primary of a queue has.
async fn replicated(primary: &RedisServer, queue: &Queue) {
    let mut connection = primary.connection().await;
    // It waits for what was written before over the same connection.
    let replicas: (String, u64) = redis::pipe()
        .set(format!("fence:{{{}}}", queue.name()), 1)
        .cmd("WAIT")
        .arg(1)
        .arg(5_000)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(replicas.1, 1);
}

/// Kills the primary under a worker that holds two tasks and ends them meanwhile; `taken_over`
/// waits for the new primary.
async fn survives(
    client: &Client,
    queue: &Queue,
    primary: &mut RedisServer,
    taken_over: impl Future<Output = ()>,
) {
    let finish = Arc::new(Notify::new());
    let held = ids(&queue.enqueue_many(tasks(0..2)).await.unwrap());
    let worker = Running::start(Worker::new(queue.clone(), holding(&finish)).concurrency(2));
    until(client, queue, "both taken", |s| s.active == 2).await;
    let waiting = ids(&queue.enqueue_many(tasks(2..50)).await.unwrap());
    replicated(primary, queue).await;
    let mut announcements = client.announcements();
    assert_eq!(announcements.next().await, Announcement::Resync);

    let pulse = Pulse::beside(primary).await;
    primary.kill();
    let fault = eventually(SOON, "a fault", async || queue.policy().await.err()).await;
    assert!(fault.is_transient(), "{fault}");
    finish.notify_waiters();
    taken_over.await;
    let back = pulse.watch();
    for id in held.iter().chain(&waiting) {
        completed(queue, id).await;
    }
    back.quick(BACK);
    // The subscription has followed, too.
    let ready = Announcement::Ready(queue.name().clone());
    let (mut more, mut announced) = (0, None);
    while announced.as_ref() != Some(&ready) {
        queue.enqueue(task(99)).await.unwrap();
        more += 1;
        assert!(more < 50, "no announcement");
        let pause = Duration::from_millis(200);
        let next = tokio::time::timeout(pause, announcements.next()).await;
        announced = next.ok();
    }
    until(client, queue, "all done", |s| {
        s.counters.completed == 50 + more
    })
    .await;
    let report = worker.stop().await;
    assert_eq!((report.completed, report.lost), (50 + more, 0));
}

#[tokio::test]
async fn a_worker_follows_the_sentinels_to_the_new_primary_with_its_acks() {
    let mut set = Sentinels::start().await;
    let client = Client::connect(&set.endpoint()).await.unwrap();
    let queue = client.queue(name("jobs"));
    let mut primary = set.servers.remove(0);
    survives(&client, &queue, &mut primary, set.until_primary(0)).await;

    // The old one comes back and is made a replica; nobody works for it.
    primary.restart().await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    queue.enqueue(task(7)).await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [7]);
    worker.stop().await;
}

#[tokio::test]
async fn a_frozen_primary_is_left_for_the_one_that_the_sentinels_name() {
    let set = Sentinels::start().await;
    let client = Client::connect(&set.endpoint()).await.unwrap();
    let queue = client.queue(name("jobs"));
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    queue.enqueue(task(1)).await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [1]);
    replicated(&set.servers[0], &queue).await;
    set.servers[0].freeze();
    set.until_primary(1).await;
    // A call that was on its way when it froze is given up after five seconds.
    eventually(SOON, "enqueued", async || queue.enqueue(task(2)).await.ok()).await;
    while next(&mut seen, 1).await != [2] {}
    // When it thaws it still believes that it is the primary, for a moment.
    set.servers[0].thaw();
    queue.enqueue(task(3)).await.unwrap();
    while next(&mut seen, 1).await != [3] {}
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_follows_its_slot_to_the_replica_that_took_over_with_its_acks() {
    let mut cluster = Cluster::with_replica().await;
    let client = Client::connect(&cluster.endpoint()).await.unwrap();
    let queue = client.queue(cluster.queue_on(0));
    let mut primary = cluster.nodes.remove(0);
    let taken_over = async {
        eventually(SOON, "a new primary", async || {
            let info: String = cluster.nodes[2].try_command("CLUSTER INFO").await?;
            let role: redis::InfoDict = cluster.nodes[2].try_command("INFO replication").await?;
            let is_primary = role.get::<String>("role")? == "master";
            (is_primary && info.contains("cluster_state:ok")).then_some(())
        })
        .await;
    };
    survives(&client, &queue, &mut primary, taken_over).await;
    primary.restart().await;
    let id = queue.enqueue(task(7)).await.unwrap().id();
    assert_eq!(queue.get(&id).await.unwrap().unwrap().state, State::Waiting);
}

#[tokio::test]
async fn a_lost_node_fails_its_own_queues_and_no_others() {
    let mut cluster = Cluster::start_with(0, &["--cluster-require-full-coverage", "no"]).await;
    let client = Client::connect(&cluster.endpoint()).await.unwrap();
    let queues = [0, 1, 2].map(|place| client.queue(cluster.queue_on(place)));
    for queue in &queues {
        queue.enqueue(task(1)).await.unwrap();
    }
    cluster.nodes[1].kill();
    for _ in 0..2 {
        let figures = client.snapshot(&queues).await;
        let fault = figures[1].as_ref().unwrap_err();
        assert!(matches!(fault, Error::Unreachable { .. }), "{fault}");
        for place in [0, 2] {
            assert_eq!(figures[place].as_ref().unwrap().backlog(), 1);
        }
        // With the table of slots read again without that node.
        cluster.until_missed(1).await;
    }
    client.ping().await.unwrap();
    cluster.nodes[1].restart().await;
    eventually(SOON, "it is back, and empty", async || {
        queues[1].enqueue(task(2)).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_slot_that_moves_under_a_worker_loses_no_task() {
    let cluster = Cluster::start().await;
    let client = Client::connect(&cluster.endpoint()).await.unwrap();
    let jobs = cluster.queue_on(0);
    let slot = cluster.slot(&jobs);
    let queue = client.queue(jobs);
    let finish = Arc::new(Notify::new());
    let held = ids(&queue.enqueue_many(tasks(0..2)).await.unwrap());
    let worker = Running::start(Worker::new(queue.clone(), holding(&finish)).concurrency(2));
    until(&client, &queue, "both taken", |s| s.active == 2).await;
    let waiting = ids(&queue.enqueue_many(large_tasks(2..150)).await.unwrap());

    let (from, to) = (&cluster.nodes[0], &cluster.nodes[1]);
    let ids: Vec<String> = vec![
        from.command("CLUSTER MYID").await,
        to.command("CLUSTER MYID").await,
    ];
    let _: () = to
        .command(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0]))
        .await;
    let _: () = from
        .command(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1]))
        .await;
    let keys: Vec<String> = from
        .command(&format!("CLUSTER GETKEYSINSLOT {slot} 100"))
        .await;
    let (first, rest) = keys.split_at(keys.len() / 2);
    let migrate = async |keys: &[String]| {
        for key in keys {
            let command = format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port());
            let _: String = from.command(&command).await;
        }
    };
    migrate(first).await;
    finish.notify_waiters();
    // Its keys are in two places, so nobody can work on it: told so, and nothing is done.
    let fault = queue.enqueue(task(150)).await.unwrap_err();
    assert!(
        matches!(fault, Error::Busy { .. }) && fault.is_transient(),
        "{fault}"
    );
    migrate(rest).await;
    // Those that a worker made meanwhile.
    let keys: Vec<String> = from
        .command(&format!("CLUSTER GETKEYSINSLOT {slot} 100"))
        .await;
    migrate(&keys).await;
    for node in [to, from, &cluster.nodes[2]] {
        let _: () = node
            .command(&format!("CLUSTER SETSLOT {slot} NODE {}", ids[1]))
            .await;
    }
    let moved = Instant::now();
    for id in held.iter().chain(&waiting) {
        completed(&queue, id).await;
    }
    println!("all was done {:?} after the move", moved.elapsed());
    let report = worker.stop().await;
    assert_eq!((report.completed, report.lost), (150, 0));
    let figures = client.snapshot(std::slice::from_ref(&queue)).await;
    assert_eq!(figures[0].as_ref().unwrap().counters.enqueued, 150);
}

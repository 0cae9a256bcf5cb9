//! Each kind of Redis that users have, as a real one: what a queue does from end to end.
//!
//! Valkey is not among them: Debian 12 has no package of it (`apt-cache search valkey` over its
//! main, updates and security archives finds none; backports are not among the configured sources).

use taskqueue_queue::testing::{Cluster, RedisServer, Sentinels, eventually};
use taskqueue_queue::worker::Worker;
use taskqueue_queue::{Announcement, Client, Endpoint, Error, QueueName, State};

use crate::testbed::{self, Running, SOON, large_tasks, name, next, recording, task, tasks, until};

/// Enqueue, announcement, worker, get by id, snapshot.
async fn everything_works(endpoint: &Endpoint, names: &[QueueName]) {
    let client = Client::connect(endpoint).await.unwrap();
    client.ping().await.unwrap();
    let mut announcements = client.announcements();
    let mut announced = async || {
        tokio::time::timeout(SOON, announcements.next())
            .await
            .unwrap()
    };
    assert_eq!(announced().await, Announcement::Resync);
    let queues: Vec<_> = names
        .iter()
        .map(|name| client.queue(name.clone()))
        .collect();
    for (queue, count) in queues.iter().zip(1..) {
        queue.enqueue_many(tasks(0..count)).await.unwrap();
        assert_eq!(announced().await, Announcement::Ready(queue.name().clone()));
    }
    let figures = client.snapshot(&queues).await;
    for (figures, count) in figures.into_iter().zip(1..) {
        assert_eq!(figures.unwrap().backlog(), count);
    }
    for (queue, count) in queues.iter().zip(1..) {
        let (handler, mut seen) = recording();
        let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(4));
        next(&mut seen, count).await;
        // For one that sleeps, too.
        until(&client, queue, "all done", |s| {
            s.counters.completed == count as u64
        })
        .await;
        let id = queue.enqueue(task(99)).await.unwrap().id();
        assert_eq!(next(&mut seen, 1).await, [99]);
        eventually(SOON, "completed", async || {
            let task = queue.get(&id).await.unwrap();
            task.filter(|task| task.state == State::Completed)
        })
        .await;
        queue.enqueue_many(large_tasks(0..100)).await.unwrap();
        next(&mut seen, 100).await;
        assert_eq!(worker.stop().await.completed, count as u64 + 101);
    }
}

#[tokio::test]
async fn one_server_with_a_database_number() {
    let redis = RedisServer::start().await;
    let endpoint = Endpoint::parse(&format!("{}/3", redis.url())).unwrap();
    everything_works(&endpoint, &[name("a"), name("b")]).await;
    let keys: u64 = redis.command("DBSIZE").await;
    assert_eq!(keys, 0, "nothing is in database 0");
    let fault = Client::connect(&Endpoint::parse(&format!("{}/99", redis.url())).unwrap())
        .await
        .unwrap_err();
    assert!(fault.to_string().contains("out of range"), "{fault}");
}

#[tokio::test]
async fn a_primary_that_sentinels_name() {
    let set = Sentinels::start().await;
    everything_works(&set.endpoint(), &[name("a"), name("b")]).await;

    // One sentinel that answers is enough, and frozen ones cost a second.
    set.sentinels[0].freeze();
    set.sentinels[1].freeze();
    let client = Client::connect(&set.endpoint()).await.unwrap();
    client.ping().await.unwrap();

    let unknown = Endpoint::parse(&set.url().replace("/main", "/other")).unwrap();
    let fault = Client::connect(&unknown).await.unwrap_err();
    assert!(matches!(fault, Error::WrongServer { .. }), "{fault}");
    assert!(fault.to_string().contains("\"other\""), "{fault}");
}

#[tokio::test]
async fn sentinels_with_a_password_of_their_own_and_a_user_on_the_servers() {
    let set = Sentinels::start().await;
    for server in &set.servers {
        let _: () = server
            .command("ACL SETUSER me on >s3cret ~* &* +@all")
            .await;
    }
    for sentinel in &set.sentinels {
        let _: () = sentinel.command("ACL SETUSER default >s3ntinel").await;
    }
    let url = set.url().replace("://", "://me:s3cret@");
    let endpoint = Endpoint::parse(&url).unwrap();
    let fault = Client::connect(&endpoint).await.unwrap_err();
    assert!(matches!(fault, Error::AuthFailed { .. }), "{fault}");
    assert!(fault.to_string().contains("with_sentinel_login"), "{fault}");
    let endpoint = endpoint.with_sentinel_login("", "s3ntinel").unwrap();
    everything_works(&endpoint, &[name("a")]).await;
}

#[tokio::test]
async fn a_cluster_of_which_one_node_is_known() {
    let cluster = Cluster::start().await;
    let names: Vec<_> = (0..3).map(|place| cluster.queue_on(place)).collect();
    let endpoint = Endpoint::parse(&cluster.url()).unwrap();
    everything_works(&endpoint, &names).await;
    for (node, name) in cluster.nodes.iter().zip(&names) {
        let slot: u16 = node.command(&format!("CLUSTER KEYSLOT {{{name}}}")).await;
        assert_eq!(slot, cluster.slot(name));
        let keys: Vec<String> = node.command("KEYS *").await;
        assert!(!keys.is_empty());
        for key in keys {
            assert!(key.starts_with(&format!("tq:{{{name}}}:")), "{key}");
        }
    }
}

#[tokio::test]
async fn figures_of_many_queues_take_one_round_trip_to_each_node() {
    let cluster = Cluster::start().await;
    let client = Client::connect(&cluster.endpoint()).await.unwrap();
    let queues: Vec<_> = (0..90)
        .map(|n| client.queue(name(&format!("q{n}"))))
        .collect();
    let mut known = [0; 3];
    for queue in &queues {
        let slot = cluster.slot(queue.name());
        known[usize::from(slot) * 3 / 16_384] += 1;
        queue.enqueue(task(1)).await.unwrap();
    }
    assert!(known.iter().all(|&queues| queues > 15), "{known:?}");
    // Has every node learn the script.
    client.snapshot(&queues).await;
    let reads = async |place: usize| -> u64 {
        let info: redis::InfoDict = cluster.nodes[place].command("INFO stats").await;
        info.get("total_reads_processed").unwrap()
    };
    let before = [reads(0).await, reads(1).await, reads(2).await];
    for figures in client.snapshot(&queues).await {
        assert_eq!(figures.unwrap().backlog(), 1);
    }
    for (place, before) in before.into_iter().enumerate() {
        let more = reads(place).await - before;
        // A few are the test's own; a round trip for each queue would be more than 15.
        assert!(more < 10, "{more} reads");
    }
}

#[tokio::test]
async fn a_url_for_another_kind_of_server_is_told_what_to_write() {
    let redis = RedisServer::start().await;
    let cluster = Cluster::start().await;
    let set = Sentinels::start().await;
    let plain = format!("127.0.0.1:{}", redis.port());
    let sentinel = format!("127.0.0.1:{}", set.sentinels[0].port());
    let node = format!("127.0.0.1:{}", cluster.nodes[0].port());
    for (url, words) in [
        (
            format!("redis+cluster://{plain}"),
            "redis:// without +cluster",
        ),
        (
            format!("redis+sentinel://{plain}/main"),
            "redis:// without +sentinel",
        ),
        (
            format!("redis://{sentinel}"),
            "redis+sentinel://host:port/primary",
        ),
        (
            format!("redis+cluster://{sentinel}"),
            "redis+sentinel://host:port/primary",
        ),
        (format!("redis+sentinel://{node}/main"), "redis+cluster://"),
        (format!("redis://{node}"), "redis+cluster://"),
    ] {
        let client = Client::lazy(&Endpoint::parse(&url).unwrap());
        let queue = client.queue(cluster.queue_on(1));
        let fault = queue.enqueue(task(1)).await.unwrap_err();
        assert!(
            matches!(fault, Error::WrongServer { .. }) && !fault.is_transient(),
            "{url}: {fault:?}"
        );
        assert!(fault.to_string().contains(words), "{fault}");
    }
}

#[tokio::test]
async fn queues_under_two_prefixes_share_a_server_and_nothing_else() {
    let redis = RedisServer::start().await;
    let ours = Endpoint::parse(&redis.url()).unwrap();
    let theirs = ours.clone().with_prefix("team-b.1").unwrap();
    let client = Client::connect(&ours).await.unwrap();
    let queue = client.queue(name("a"));
    queue.enqueue_many(tasks(0..2)).await.unwrap();
    everything_works(&theirs, &[name("a")]).await;
    assert_eq!(testbed::snapshot(&queue, &client).await.backlog(), 2);
    let keys: Vec<String> = redis.command("KEYS *").await;
    for key in keys {
        assert!(
            key.starts_with("tq:{test/a}:") || key.starts_with("team-b.1:{test/a}:"),
            "{key}"
        );
    }
}

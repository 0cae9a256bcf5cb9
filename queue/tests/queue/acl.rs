//! Users with no more rights than the README names: they can do everything, and one that lacks a
//! right is told which.

use std::time::Duration;

use taskqueue_queue::testing::{Cluster, RedisServer, Sentinels, listed};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Amended, Announcement, Cancelled, Client, Edit, Endpoint, Enqueued, Erased, Error, Payload,
    Pending, Policy, QueueName, Replicas, Selection, Stage, State,
};

use crate::testbed::{self, Running, SOON, name, task, tasks, until};

/// The rights that the README names, of producers and of all others.
fn rights() -> [Vec<&'static str>; 2] {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("**Rights of an ACL user**").unwrap();
    let mut lists = section
        .split('`')
        .filter(|text| text.starts_with('+') && text.contains(' '));
    [(); 2].map(|()| lists.next().unwrap().split(' ').collect())
}

/// Makes a user with a prefix and rights.
async fn allow(server: &RedisServer, user: &str, prefix: &str, rights: &[&str]) {
    let rights = rights.join(" ");
    let command = format!("ACL SETUSER {user} reset on >secret ~{prefix}:* &{prefix}:* {rights}");
    let _: () = server.command(&command).await;
}

fn as_user(endpoint: &Endpoint, user: &str) -> Endpoint {
    let url = endpoint.to_string();
    Endpoint::parse(&url.replacen("://", &format!("://{user}:secret@"), 1)).unwrap()
}

/// All that workers, the operator and `tq` do.
async fn everything_is_allowed(endpoint: &Endpoint, queue: QueueName) {
    let client = Client::connect(endpoint).await.unwrap();
    client.ping().await.unwrap();
    let queue = client.queue(queue);
    let ready = Announcement::Ready(queue.name().clone());
    let mut announcements = client.announcements();
    assert_eq!(announcements.next().await, Announcement::Resync);
    queue.configure(&Policy::default()).await.unwrap();
    queue.enqueue(task(1)).await.unwrap();
    let delayed = task(2).delay(Duration::from_millis(10));
    queue.enqueue(delayed).await.unwrap();
    // In a cluster another queue's may still be on its way between the nodes.
    tokio::time::timeout(SOON, async { while announcements.next().await != ready {} })
        .await
        .unwrap();
    let refuse = |_: LeasedTask| async { Outcome::Dead { error: "no".into() } };
    let worker = Running::start(Worker::new(queue.clone(), refuse));
    until(&client, &queue, "both dead", |s| s.dead == 2).await;
    worker.stop().await;
    queue.reclaim().await.unwrap();
    assert_eq!(listed(&queue, &[Stage::Dead], 1).await.len(), 2);
    assert_eq!(queue.redrive(Selection::All).await.unwrap().moved, 2);
    queue.promote().await.unwrap();
    assert_eq!(queue.purge(Selection::All).await.unwrap(), 0);
    // One that crashed, and its peer who takes over and completes.
    let hang = |_: LeasedTask| async { std::future::pending::<Outcome>().await };
    let lost = Running::start(Worker::new(queue.clone(), hang).lease(Duration::from_secs(1)));
    until(&client, &queue, "taken", |s| s.active == 1).await;
    lost.crash().await;
    let done = |_: LeasedTask| async { Outcome::Completed(None) };
    let peer = Worker::new(queue.clone(), done).lease(Duration::from_secs(1));
    let peer = Running::start(peer);
    let workers = queue.workers().await.unwrap();
    let ids: Vec<_> = workers.iter().map(|worker| worker.id).collect();
    assert!(!queue.drain(&ids, SOON).await.unwrap().is_empty());
    queue.undrain(&ids).await.unwrap();
    until(&client, &queue, "all done", |s| s.counters.completed == 2).await;
    peer.stop().await;
    // And the rest of what there is.
    let mut listener = queue.listen(None).await.unwrap();
    let replicas = Replicas { from: 0, to: 1 };
    queue.tell_scaled(replicas, "1 = 1").await.unwrap();
    let heard = listener.next(SOON).await.unwrap();
    assert_eq!(heard.events[0].replicas, Some(replicas));
    let far = task(3).delay(SOON * 1_000);
    let far = queue.enqueue(far).await.unwrap().id();
    assert_eq!(queue.cancel(&far).await.unwrap(), Cancelled::Removed);
    let unique = task(4)
        .unique("key", SOON)
        .concurrency_key("key")
        .expires_in(SOON);
    let id = queue.enqueue(unique.clone()).await.unwrap().id();
    assert_eq!(queue.enqueue(unique).await.unwrap(), Enqueued::Existing(id));
    assert_eq!(queue.logs(&id).await.unwrap(), Vec::<String>::new());
    queue.get(&id).await.unwrap().unwrap();
    let all = Stage::NOT_ENDED.into_iter().chain(Stage::ENDED);
    let all: Vec<Stage> = all.collect();
    // Where it was left.
    assert!(!listed(&queue, &all, 1).await.is_empty());
    assert_eq!(queue.workers().await.unwrap(), []);
    assert!(!queue.error_groups().await.unwrap().groups.is_empty());
    queue.forget_error_groups(&[]).await.unwrap();
    queue.pause().await.unwrap();
    queue.resume().await.unwrap();
    queue.tidy().await.unwrap();
    let edit = Edit {
        payload: Payload::null(),
        retry: true,
    };
    assert_eq!(queue.edit(&id, &edit).await.unwrap(), Amended::Done);
    let lower = queue.set_priority(&id, "low").await.unwrap();
    assert_eq!(lower, Amended::Done);
    let now = queue.promote_now(&[id]).await.unwrap();
    assert_eq!(now, [Amended::Unchanged]);
    for pending in [Pending::Blocked, Pending::Waiting, Pending::Scheduled] {
        queue.clear(pending, drop).await.unwrap();
    }
    queue.clean(Duration::ZERO).await.unwrap();
    queue.letters(&Selection::All).await.unwrap();
    queue.schedules().await.unwrap();
    assert!(matches!(
        queue.erase(false, drop).await.unwrap(),
        Erased::Keys(1..)
    ));
    let narrow = Policy {
        levels: vec!["only".into()],
        ..Policy::default()
    };
    queue.configure(&narrow).await.unwrap();
}

#[tokio::test]
async fn producers_can_do_with_the_rights_of_producers_and_no_more() {
    let redis = RedisServer::start().await;
    let [producer, _] = rights();
    allow(&redis, "producer", "tq", &producer).await;
    let endpoint = Endpoint::parse(&redis.url()).unwrap();
    let client = Client::connect(&as_user(&endpoint, "producer"))
        .await
        .unwrap();
    client.ping().await.unwrap();
    let queue = client.queue(name("jobs"));
    // Somebody listens, so that they tell events as well.
    testbed::queue(&redis).await.listen(None).await.unwrap();
    // Workers that sleep, so that they have to be woken.
    let (handler, mut seen) = testbed::recording();
    let worker = Running::start(Worker::new(testbed::queue(&redis).await, handler));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    queue.enqueue_many(tasks(2..200)).await.unwrap();
    queue
        .enqueue(task(200).delay(Duration::from_millis(5)))
        .await
        .unwrap();
    testbed::next(&mut seen, 200).await;
    let admin = redis.client().await;
    let done = until(&admin, &queue_of(&admin), "all done", |s| {
        s.counters.completed == 200
    })
    .await;
    assert_eq!(done.counters.untold, 0);
    let far = task(0).delay(SOON * 1_000);
    let far = queue.enqueue(far).await.unwrap().id();
    assert_eq!(queue.cancel(&far).await.unwrap(), Cancelled::Removed);
    let done = queue.get(&id).await.unwrap().unwrap();
    assert_eq!(done.state, State::Completed);
    let purged = queue.purge(Selection::All).await.unwrap_err();
    assert!(matches!(purged, Error::AuthFailed { .. }), "{purged}");
    worker.stop().await;
}

fn queue_of(client: &Client) -> taskqueue_queue::Queue {
    client.queue(name("jobs"))
}

#[tokio::test]
async fn workers_and_operators_can_do_with_theirs_under_a_prefix_and_in_a_database() {
    let redis = RedisServer::start().await;
    let [_, mut everything] = rights();
    allow(&redis, "worker", "tq", &everything).await;
    let endpoint = Endpoint::parse(&redis.url()).unwrap();
    everything_is_allowed(&as_user(&endpoint, "worker"), name("jobs")).await;

    everything.push("+select");
    allow(&redis, "worker", "team.b", &everything).await;
    let endpoint = Endpoint::parse(&format!("{}/2?prefix=team.b", redis.url())).unwrap();
    everything_is_allowed(&as_user(&endpoint, "worker"), name("jobs")).await;
    let denied: Vec<redis::Value> = redis.command("ACL LOG").await;
    assert!(denied.is_empty(), "{denied:?}");
}

#[tokio::test]
async fn a_user_of_one_namespace_can_do_everything_there_and_nothing_elsewhere() {
    let redis = RedisServer::start().await;
    let readme = include_str!("../../README.md");
    for rule in ["`~tq:{NAMESPACE/*`", "`&tq:wake`"] {
        assert!(readme.contains(rule), "the README should name {rule}");
    }
    let user = format!(
        "ACL SETUSER shop {}",
        taskqueue_queue::testing::tenant("shop")
    );
    let _: () = redis.command(&user).await;
    let endpoint = as_user(&Endpoint::parse(&redis.url()).unwrap(), "shop");
    let of = |namespace: &str| QueueName::new(namespace, "jobs").unwrap();
    everything_is_allowed(&endpoint, of("shop")).await;
    let denied: Vec<redis::Value> = redis.command("ACL LOG").await;
    assert!(denied.is_empty(), "{denied:?}");

    let client = Client::connect(&endpoint).await.unwrap();
    let admin = redis.client().await;
    for namespace in ["mail", "shopping", "sho"] {
        let theirs = admin.queue(of(namespace));
        theirs.configure(&Policy::default()).await.unwrap();
        let id = theirs.enqueue(task(1)).await.unwrap().id();
        let queue = client.queue(of(namespace));
        let refused = [
            queue.enqueue(task(2)).await.map(drop),
            queue.get(&id).await.map(drop),
            queue.cancel(&id).await.map(drop),
            queue.policy().await.map(drop),
            queue.configure(&Policy::default()).await.map(drop),
            queue.workers().await.map(drop),
            queue.purge(Selection::All).await.map(drop),
            client
                .snapshot(std::slice::from_ref(&queue))
                .await
                .remove(0)
                .map(drop),
        ];
        for outcome in refused {
            let fault = outcome.unwrap_err();
            assert!(matches!(fault, Error::AuthFailed { .. }), "{fault}");
        }
        let left = admin.snapshot(&[theirs]).await.remove(0).unwrap();
        assert_eq!((left.backlog(), left.counters.enqueued), (1, 1));
    }
}

#[tokio::test]
async fn with_sentinels_and_in_a_cluster_one_more_right_each_is_needed() {
    let [_, everything] = rights();
    let set = Sentinels::start().await;
    allow(&set.servers[0], "worker", "tq", &everything).await;
    let endpoint = as_user(&set.endpoint(), "worker");
    let fault = Client::connect(&endpoint).await.unwrap_err();
    assert!(fault.to_string().contains("'role'"), "{fault}");
    let more = [&everything[..], &["+role"]].concat();
    allow(&set.servers[0], "worker", "tq", &more).await;
    for sentinel in &set.sentinels {
        let asks = "ACL SETUSER asks on >ask +sentinel|get-master-addr-by-name";
        let _: () = sentinel.command(asks).await;
        let _: () = sentinel
            .command("ACL SETUSER default -@all +acl +auth")
            .await;
    }
    let endpoint = endpoint.with_sentinel_login("asks", "ask").unwrap();
    everything_is_allowed(&endpoint, name("jobs")).await;

    let cluster = Cluster::start().await;
    let more = [&everything[..], &["+cluster|slots"]].concat();
    for node in &cluster.nodes {
        allow(node, "worker", "tq", &everything).await;
    }
    let endpoint = as_user(&cluster.endpoint(), "worker");
    let fault = Client::connect(&endpoint).await.unwrap_err();
    assert!(fault.to_string().contains("'cluster|slots'"), "{fault}");
    for node in &cluster.nodes {
        allow(node, "worker", "tq", &more).await;
    }
    for place in 0..2 {
        everything_is_allowed(&endpoint, cluster.queue_on(place)).await;
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let redis = RedisServer::start().await;
    let [producer, _] = rights();
    let endpoint = as_user(&Endpoint::parse(&redis.url()).unwrap(), "producer");
    // A worker sleeps, so that producers need the right to wake it.
    let done = |_: LeasedTask| async { Outcome::Completed(None) };
    let worker = Running::start(Worker::new(testbed::queue(&redis).await, done).lease(SOON));
    let admin = redis.client().await;
    // Its scripts must not be flushed while it registers.
    until(&admin, &queue_of(&admin), "it is there", |s| s.workers == 1).await;
    let mut named = Vec::new();
    for (n, missing) in producer.iter().enumerate() {
        let others: Vec<_> = producer
            .iter()
            .filter(|right| *right != missing)
            .copied()
            .collect();
        allow(&redis, "producer", "tq", &others).await;
        let _: () = redis.command("SCRIPT FLUSH").await;
        let produce = async {
            let client = Client::connect(&endpoint).await?;
            client.ping().await?;
            let queue = client.queue(name("jobs"));
            let id = queue.enqueue(task(1)).await?.id();
            // One that is announced for certain.
            let empty = client.queue(name(&format!("q{n}")));
            empty.enqueue(task(1)).await?;
            queue
                .enqueue(task(2).delay(Duration::from_millis(1)))
                .await?;
            queue.get(&id).await
        };
        if let Err(fault) = produce.await {
            let text = fault.to_string();
            assert!(
                matches!(fault, Error::AuthFailed { .. }) && text.contains("NOPERM"),
                "{missing}: {text}"
            );
            assert!(text.contains(&missing[1..]), "{missing}: {text}");
            named.push(*missing);
        }
    }
    println!("named: {}", named.join(" "));
    for right in [
        "+evalsha",
        "+hmget",
        "+publish",
        "+script|load",
        "+time",
        "+ping",
        "+zadd",
    ] {
        assert!(named.contains(&right), "{right} is not among {named:?}");
    }
    worker.stop().await;

    for (prefixes, word) in [("~no:* &tq:*", "key"), ("~tq:* &no:*", "channel")] {
        let rights = producer.join(" ");
        let user = format!("ACL SETUSER producer reset on >secret {prefixes} {rights}");
        let _: () = redis.command(&user).await;
        let client = Client::connect(&endpoint).await.unwrap();
        let fault = client
            .queue(name("others"))
            .enqueue(task(1))
            .await
            .unwrap_err();
        assert!(matches!(fault, Error::AuthFailed { .. }), "{fault}");
        assert!(fault.to_string().contains(word), "{fault}");
    }
}

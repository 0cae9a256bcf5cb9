//! Servers that mean harm, or hold what does: whoever takes a URL from somebody else is not hurt by
//! what is behind it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taskqueue_queue::testing::{Answer, FakeServer, RedisServer};
use taskqueue_queue::{Bounds, Client, Endpoint, Error, QueueName};
use tokio::sync::Semaphore;

const LIMIT: usize = 1024 * 1024;
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

const TIME: &str = "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n";

/// What an honest server says to one who connects.
fn greeting(words: &[String]) -> Option<String> {
    match words[0].as_str() {
        "HELLO" => Some(FakeServer::hello("redis", "7.2.4", "standalone")),
        "TIME" => Some(TIME.to_owned()),
        _ => None,
    }
}

fn bounds() -> Bounds {
    Bounds {
        largest_answer: Some(LIMIT),
        ..Bounds::default()
    }
}

fn endpoint(url: &str, bounds: Bounds) -> Endpoint {
    Endpoint::parse(url).unwrap().with_bounds(bounds)
}

fn jobs() -> QueueName {
    "test/jobs".parse().unwrap()
}

/// Answers that never end, and whether that is all that is wrong with them.
fn endless() -> Vec<(Answer, bool)> {
    let endless = |first: &str, again: &str| Answer::Endless(first.to_owned(), again.to_owned());
    vec![
        (endless("$99999999999\r\n", "x"), true),
        (endless("*9999999999\r\n", ":1\r\n"), true),
        (endless("*4096\r\n", "*4096\r\n"), true),
        (endless("+", "x"), true),
        (endless("%1000000000\r\n", "_\r\n"), true),
        (endless("*1000\r\n", "$60000\r\n"), false),
        (endless("", "*1\r\n"), false),
        (endless("HTTP/1.1 200 OK\r\n\r\n", "<html>"), false),
    ]
}

#[tokio::test]
async fn an_answer_without_end_is_given_up_wherever_it_comes() {
    for (answer, readable) in endless() {
        for to in ["TIME", "EVALSHA"] {
            let said = answer.clone();
            let server = FakeServer::start(move |words| match greeting(words) {
                _ if words[0] == to => said.clone(),
                Some(said) => said.into(),
                None if words[0] == "HMGET" => "*3\r\n$-1\r\n$-1\r\n$-1\r\n".to_owned().into(),
                None => FakeServer::unknown(words).into(),
            })
            .await;
            let client = Client::lazy(&endpoint(&server.url(), bounds()));
            let queue = client.queue(jobs());
            let read = tokio::time::timeout(PATIENCE, client.snapshot(&[queue])).await;
            let fault = read.unwrap().pop().unwrap().unwrap_err();
            let told = fault.to_string();
            let refused = match &fault {
                Error::AnswerTooLarge { limit, .. } => *limit == LIMIT && told.contains("1 MiB"),
                // What nobody can read breaks the connection sooner.
                Error::Script { .. } | Error::Unreachable { .. } => !readable,
                _ => false,
            };
            assert!(refused, "{answer:?} to {to}: {fault:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_takes_no_other_with_it() {
    let redis = RedisServer::start().await;
    let mut raw = redis.connection().await;
    for (key, bytes) in [("small", 5), ("huge", 3 * LIMIT), ("large", LIMIT / 2)] {
        let mut command = redis::cmd("SET");
        command.arg(key).arg("x".repeat(bytes));
        let _: () = command.query_async(&mut raw).await.unwrap();
    }
    let client = Client::connect(&endpoint(&redis.url(), bounds()))
        .await
        .unwrap();
    let keys = ["small", "large", "huge", "large", "small", "large", "huge"];
    let commands: Vec<_> = keys
        .iter()
        .map(|key| redis::cmd("GET").arg(*key).to_owned())
        .collect();
    let answers = client.read_commands(&commands).await;
    for (key, answer) in keys.iter().zip(answers) {
        match (*key, answer) {
            ("huge", Err(Error::AnswerTooLarge { .. })) | ("small" | "large", Ok(_)) => {}
            (key, answer) => panic!("{key}: {:?}", answer.map(drop)),
        }
    }
    client.ping().await.unwrap();
}

#[tokio::test]
async fn what_others_wrote_under_a_queues_keys_is_not_taken_whole() {
    let redis = RedisServer::start().await;
    let mut raw = redis.connection().await;
    let huge = "x".repeat(3 * LIMIT);
    let client = Client::connect(&endpoint(&redis.url(), bounds()))
        .await
        .unwrap();
    let queue = client.queue(jobs());
    let mut run = async |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let _: redis::Value = command.query_async(&mut raw).await.unwrap();
    };
    run(&["SET", "tq:{test/jobs}:fault", &huge]).await;
    let seen = client
        .snapshot(std::slice::from_ref(&queue))
        .await
        .pop()
        .unwrap()
        .unwrap();
    assert_eq!(seen.fault.unwrap().len(), 1024);
    // Names that no task, span, bucket, schedule or worker has.
    let id = "0".repeat(20);
    run(&["ZADD", "tq:{test/jobs}:expiry", "1", &huge, "1", &id]).await;
    run(&["HSET", "tq:{test/jobs}:tasks", &id, &"x".repeat(10 * LIMIT)]).await;
    run(&["SADD", "tq:{test/jobs}:cancel", &huge]).await;
    run(&["ZADD", "tq:{test/jobs}:later", "1", &huge]).await;
    run(&["ZADD", "tq:{test/jobs}:kept", "1", &huge]).await;
    run(&["HSET", "tq:{test/jobs}:schedules", &huge, "a", "b", &huge]).await;
    run(&["ZADD", "tq:{test/jobs}:parked", "0", &huge]).await;
    run(&["HSET", "tq:{test/jobs}:config", "unpark", "1"]).await;
    queue.tidy().await.unwrap();
    let lease = "99999999999999";
    run(&["ZADD", "tq:{test/jobs}:workers", lease, &huge, lease, &id]).await;
    run(&["HSET", "tq:{test/jobs}:info", &id, &huge]).await;
    let workers = queue.workers().await.unwrap();
    assert_eq!((workers.len(), workers[0].pod.as_str()), (1, ""));
    run(&["HSET", "tq:{test/jobs}:stats", "enqueued", &huge]).await;
    let refused = client.snapshot(&[queue]).await.pop().unwrap().unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains("somebody else has written there"),
        "{refused}"
    );
}

/// A server that says `stale` to every script, with a count of the scripts that it was asked.
async fn stale() -> (FakeServer, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = FakeServer::start(move |words| match (greeting(words), words[0].as_str()) {
        (Some(said), _) => said,
        (None, "HMGET") => "*3\r\n$1\r\n7\r\n$-1\r\n$-1\r\n".to_owned(),
        (None, "EVALSHA") => {
            count.fetch_add(1, Ordering::Relaxed);
            "*1\r\n$5\r\nstale\r\n".to_owned()
        }
        _ => FakeServer::unknown(words),
    })
    .await;
    (server, asked)
}

#[tokio::test]
async fn a_policy_that_changes_for_ever_is_not_followed_for_ever() {
    let (server, asked) = stale().await;
    let client = Client::connect(&endpoint(&server.url(), bounds()))
        .await
        .unwrap();
    let queue = client.queue(jobs());
    let calls = async {
        let read = client
            .snapshot(std::slice::from_ref(&queue))
            .await
            .pop()
            .unwrap();
        [
            read.map(drop),
            queue.promote().await.map(drop),
            queue.pause().await.map(drop),
        ]
    };
    for refused in tokio::time::timeout(PATIENCE, calls).await.unwrap() {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("policy"), "{refused}");
    }
    assert!(asked.load(Ordering::Relaxed) < 200);
}

#[tokio::test]
async fn sentinels_are_asked_four_at_a_time() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (now, high) = (Arc::clone(&open), Arc::clone(&most));
    // Takes connections, and says nothing until the other side hangs up.
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let now = Arc::clone(&now);
            high.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    let hosts = vec![format!("127.0.0.1:{port}"); 12].join(",");
    let endpoint = Endpoint::parse(&format!("redis+sentinel://{hosts}/main")).unwrap();
    Client::connect(&endpoint).await.unwrap_err();
    serving.abort();
    // Each is asked again whether it speaks TLS, beside which the first connection may still stand here.
    let most = most.load(Ordering::SeqCst);
    assert!((1..=8).contains(&most), "{most}");
}

/// Lets nothing but 127.0.0.1 be connected to, and notes what was asked for.
fn only_here(asked: &Arc<Mutex<Vec<String>>>) -> Bounds {
    let asked = Arc::clone(asked);
    Bounds {
        allows: Some(Arc::new(move |host: &str, address: IpAddr| {
            asked.lock().unwrap().push(host.to_owned());
            match address.to_string().as_str() {
                "127.0.0.1" => Ok(()),
                other => Err(format!("{other} is none of yours")),
            }
        })),
        ..Bounds::default()
    }
}

#[tokio::test]
async fn a_rule_holds_for_names_redirects_and_nodes_alike() {
    let sentinel = FakeServer::start(|words| match words[0].as_str() {
        "SENTINEL" => "*2\r\n$9\r\n127.0.0.2\r\n$4\r\n6379\r\n".to_owned(),
        _ => greeting(words).unwrap_or_else(|| FakeServer::unknown(words)),
    })
    .await;
    let node = FakeServer::start(|words| match words[0].as_str() {
        "CLUSTER" => "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.2\r\n:6379\r\n".to_owned(),
        _ => greeting(words).unwrap_or_else(|| FakeServer::unknown(words)),
    })
    .await;
    let of = |server: &FakeServer, scheme: &str| server.url().replace("redis", scheme);
    for url in [
        "redis://127.0.0.2:6379".to_owned(),
        "rediss://127.0.0.2:6379".to_owned(),
        format!("{}/main", of(&sentinel, "redis+sentinel")),
        of(&node, "redis+cluster"),
    ] {
        let asked = Arc::default();
        let client = Client::lazy(&endpoint(&url, only_here(&asked)));
        let refused = client.ping().await.unwrap_err();
        assert!(
            matches!(refused, Error::NotAllowed { .. }),
            "{url}: {refused:?}"
        );
        assert!(!refused.is_transient());
        let told = refused.to_string();
        assert!(told.contains("127.0.0.2 is none of yours"), "{told}");
        assert!(asked.lock().unwrap().contains(&"127.0.0.2".to_owned()));
    }
}

#[tokio::test]
async fn connections_are_made_in_turn_and_no_more_stand_than_may() {
    let redis = RedisServer::start().await;
    let (dialing, standing) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(2)));
    let bounds = Bounds {
        dialing: vec![Arc::clone(&dialing)],
        standing: Some(Arc::clone(&standing)),
        ..Bounds::default()
    };
    let connect = || {
        let endpoint = endpoint(&redis.url(), bounds.clone());
        async move { Client::connect(&endpoint).await }
    };
    let refused = connect().await.unwrap_err();
    assert!(matches!(refused, Error::Timeout { .. }), "{refused:?}");
    dialing.add_permits(1);
    let first = connect().await.unwrap();
    let _second = connect().await.unwrap();
    let refused = connect().await.unwrap_err();
    assert!(matches!(refused, Error::NotAllowed { .. }), "{refused:?}");
    assert!(
        refused.to_string().contains("too many connections"),
        "{refused}"
    );
    drop(first);
    taskqueue_queue::testing::eventually(PATIENCE, "a place", async || {
        (standing.available_permits() == 1).then_some(())
    })
    .await;
    connect().await.unwrap();
    assert_eq!(dialing.available_permits(), 1);
}

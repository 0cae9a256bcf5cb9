//! What servers say of themselves: which settings break a promise, with rights and without; and servers
//! that cannot hold queues, which are told by what they are.

use taskqueue_queue::server::{
    Judgement, Mode, Risk, Role, Safety, ServerReport, Setting, Version,
};
use taskqueue_queue::testing::{Cluster, FakeServer, RedisServer, Sentinels};
use taskqueue_queue::{Client, Endpoint, Error};

use crate::testbed::{name, task};

/// The report of the only server.
async fn report(url: &str) -> ServerReport {
    let client = Client::connect(&Endpoint::parse(url).unwrap())
        .await
        .unwrap();
    let mut reports = client.server_reports().await.unwrap();
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports.remove(0)
}

fn reasons(report: &ServerReport) -> Vec<&'static str> {
    report.risks().iter().map(Risk::reason).collect()
}

/// An evicting Redis took all tasks, and nobody was told.
#[tokio::test]
async fn settings_that_break_a_promise_are_found() {
    let redis = RedisServer::start_with(&[
        "--save",
        "",
        "--maxmemory",
        "30mb",
        "--maxmemory-policy",
        "allkeys-lru",
    ])
    .await;
    let found = report(&redis.url()).await;
    assert_eq!(found.address, format!("127.0.0.1:{}", redis.port()));
    assert_eq!(found.mode, Some(Mode::Standalone));
    assert_eq!(found.role, Some(Role::Primary));
    assert!(found.version.unwrap() >= Version::new(7, 0, 0));
    assert_eq!(found.max_memory, Some(30 << 20));
    assert!(found.used_memory.unwrap() > 100_000);
    assert_eq!(found.fsync.as_deref(), Some("everysec"));
    assert_eq!(found.unseen, []);
    assert_eq!(reasons(&found), ["EvictsTasks", "NotPersisted"]);

    for (setting, wanted) in [
        (
            "maxmemory-policy volatile-ttl",
            vec!["EvictsRecords", "NotPersisted"],
        ),
        ("maxmemory-policy noeviction", vec!["NotPersisted"]),
        ("appendonly yes", vec![]),
        ("maxmemory 1", vec!["NearlyFull"]),
    ] {
        let _: () = redis.command(&format!("CONFIG SET {setting}")).await;
        assert_eq!(reasons(&report(&redis.url()).await), wanted, "{setting}");
    }
}

#[tokio::test]
async fn a_replica_in_the_place_of_a_primary_is_found() {
    let redis = RedisServer::start().await;
    let _: () = redis.command("REPLICAOF 127.0.0.1 1").await;
    let found = report(&redis.url()).await;
    assert_eq!(found.risks()[0].reason(), "Replica");
}

#[tokio::test]
async fn without_rights_it_is_told_which_would_show_more() {
    let redis = RedisServer::start().await;
    let user = |rights: &str| format!("ACL SETUSER me reset on >x ~tq:* +time {rights}");
    let url = redis.url().replace("://", "://me:x@");
    let _: () = redis.command(user("").trim()).await;
    let client = Client::connect(&Endpoint::parse(&url).unwrap())
        .await
        .unwrap();
    let looks = async || client.server_reports().await.unwrap().remove(0);
    let found = looks().await;
    assert!(
        found.version.is_some() && found.role == Some(Role::Primary),
        "{found:?}"
    );
    assert_eq!(found.missing_rights(), ["+config|get", "+info"]);
    assert_eq!(found.judge(Setting::Eviction), Judgement::Unknown);
    assert_eq!(found.risks(), []);
    // The next look leaves no further entry in the log of the server's administrator.
    let denied = async || -> usize {
        let entries: Vec<redis::Value> = redis.command("ACL LOG").await;
        entries.len()
    };
    let before = denied().await;
    assert_eq!(looks().await.missing_rights(), ["+config|get", "+info"]);
    assert_eq!(denied().await, before);

    let _: () = redis.command(&user("+info")).await;
    let found = report(&url).await;
    assert_eq!(found.missing_rights(), ["+config|get"]);
    assert_eq!(found.judge(Setting::Eviction), Judgement::Safe);
    // Nothing is written to a log, and whether snapshots are is for `CONFIG` to tell.
    assert_eq!(found.judge(Setting::Persistence), Judgement::Unknown);

    let _: () = redis.command(&user("+config|get")).await;
    let found = report(&url).await;
    assert_eq!(found.missing_rights(), ["+info"]);
    assert_eq!(reasons(&found), ["NotPersisted"]);
}

#[tokio::test]
async fn managed_services_that_have_no_config_command_are_no_error() {
    let redis = RedisServer::start_with(&[
        "--save",
        "",
        "--appendonly",
        "yes",
        "--rename-command",
        "CONFIG",
        "",
    ])
    .await;
    let found = report(&redis.url()).await;
    assert_eq!(found.missing_rights(), [""; 0]);
    assert_eq!(found.unseen.len(), 1);
    assert_eq!(
        (found.unseen[0].command, found.unseen[0].right),
        ("CONFIG GET", None)
    );
    assert!(
        found.unseen[0].said.contains("unknown command"),
        "{found:?}"
    );
    for setting in Setting::ALL {
        assert_eq!(found.judge(setting), Judgement::Safe, "{setting}");
    }
}

#[tokio::test]
async fn each_node_of_a_cluster_reports_and_the_primary_of_sentinels() {
    let cluster = Cluster::start().await;
    let _: () = cluster.nodes[1]
        .command("CONFIG SET maxmemory-policy allkeys-random")
        .await;
    let client = Client::connect(&cluster.endpoint()).await.unwrap();
    let reports = client.server_reports().await.unwrap();
    let modes: Vec<_> = reports.iter().map(|report| report.mode).collect();
    assert_eq!(modes, [Some(Mode::Cluster); 3]);
    let safety = Safety::of(&reports);
    let evicting = &safety.findings[0];
    assert_eq!(evicting.risk.reason(), "EvictsTasks");
    let address = format!("127.0.0.1:{}", cluster.nodes[1].port());
    assert_eq!((&evicting.servers, evicting.of), (&vec![address], 3));

    // A node that does not answer is unknown and hides no other.
    cluster.nodes[2].freeze();
    let reports = client.server_reports().await.unwrap();
    let safety = Safety::of(&reports);
    cluster.nodes[2].thaw();
    assert_eq!(safety.is_unsafe(Setting::Eviction), Some(true));
    assert_eq!(safety.is_unsafe(Setting::Role), None);
    assert!(
        safety.untold().unwrap().contains("did not answer"),
        "{safety:?}"
    );

    let set = Sentinels::start().await;
    let found = report(&set.url()).await;
    assert_eq!(
        found.address,
        format!("127.0.0.1:{}", set.servers[0].port())
    );
    assert_eq!(found.role, Some(Role::Primary));
}

/// A server of a version that answers scripts, as if it could run them.
async fn of_version(make: &'static str, version: &'static str, knows_hello: bool) -> FakeServer {
    FakeServer::start(move |words| match words[0].as_str() {
        "HELLO" if knows_hello => FakeServer::hello(make, version, "standalone"),
        "TIME" => "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n".to_owned(),
        "INFO" => {
            let info = format!("# Server\r\nredis_version:{version}\r\n");
            format!("${}\r\n{info}\r\n", info.len())
        }
        "PING" => "+PONG\r\n".to_owned(),
        "HMGET" => format!(
            "*{}\r\n{}",
            words.len() - 2,
            "$-1\r\n".repeat(words.len() - 2)
        ),
        "LLEN" => ":7\r\n".to_owned(),
        _ => FakeServer::unknown(words),
    })
    .await
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_by_name() {
    for (version, knows_hello) in [("6.2.14", true), ("6.0.16", true), ("5.0.14", false)] {
        let old = of_version("redis", version, knows_hello).await;
        let endpoint = Endpoint::parse(&old.url()).unwrap();
        let fault = Client::connect(&endpoint).await.unwrap_err();
        assert!(matches!(fault, Error::TooOld { .. }), "{fault:?}");
        assert!(!fault.is_transient());
        let words = format!("it is Redis {version}; the oldest that works is Redis 7.0");
        assert!(fault.to_string().ends_with(&words), "{fault}");
        // Nor is any script called on a connection that was made with the first call.
        let client = Client::lazy(&endpoint);
        let queue = client.queue(name("jobs"));
        for fault in [
            queue.enqueue(task(1)).await.unwrap_err(),
            client.snapshot(&[queue]).await.remove(0).unwrap_err(),
        ] {
            assert!(matches!(fault, Error::TooOld { .. }), "{fault:?}");
        }
        // What only reads foreign keys can go on.
        let length = client
            .read_commands(&[redis::cmd("LLEN").arg("k").to_owned()])
            .await;
        assert_eq!(length, [Ok(redis::Value::Int(7))]);
        let found = client.server_reports().await.unwrap().remove(0);
        assert_eq!(reasons(&found), ["TooOld"]);
    }
    for (make, version) in [("redis", "7.0.0"), ("valkey", "9.1.2"), ("other", "1.0.0")] {
        let server = of_version(make, version, true).await;
        let endpoint = Endpoint::parse(&server.url()).unwrap();
        Client::connect(&endpoint)
            .await
            .unwrap()
            .ping()
            .await
            .unwrap();
    }
}

/// It is told what a server is by what it says of itself, not by one command that it lacks.
#[tokio::test]
async fn a_server_without_a_command_is_called_only_what_it_is() {
    let without = async |hello: Option<&'static str>| {
        FakeServer::start(move |words| match (words[0].as_str(), hello) {
            ("HELLO", Some(mode)) => FakeServer::hello("redis", "7.0.15", mode),
            _ => FakeServer::unknown(words),
        })
        .await
    };
    for (mode, scheme, tail, wanted) in [
        (Some("sentinel"), "redis", "", "it is a sentinel"),
        (Some("sentinel"), "redis", "/2", "it is a sentinel"),
        (Some("sentinel"), "redis+cluster", "", "it is a sentinel"),
        (
            Some("standalone"),
            "redis",
            "",
            "does not know the command TIME",
        ),
        (None, "redis", "", "does not know the command TIME"),
        (
            None,
            "redis+cluster",
            "",
            "does not know the command CLUSTER SLOTS",
        ),
        (
            Some("standalone"),
            "redis+sentinel",
            "/m",
            "redis:// without +sentinel",
        ),
        (
            Some("cluster"),
            "redis+sentinel",
            "/m",
            "write redis+cluster://",
        ),
        (
            None,
            "redis+sentinel",
            "/m",
            "does not know the command SENTINEL",
        ),
    ] {
        let server = without(mode).await;
        let url = server.url().replace("redis", scheme) + tail;
        let fault = Client::connect(&Endpoint::parse(&url).unwrap())
            .await
            .unwrap_err();
        assert!(
            matches!(fault, Error::WrongServer { .. }),
            "{url}: {fault:?}"
        );
        let told = fault.to_string();
        assert!(told.contains(wanted), "{mode:?} {url}: {told}");
        assert!(
            wanted == "it is a sentinel" || !told.contains("it is a sentinel"),
            "{told}"
        );
    }
    // It has TIME and no scripts.
    let scriptless = of_version("other", "1.0.0", true).await;
    let client = Client::connect(&Endpoint::parse(&scriptless.url()).unwrap())
        .await
        .unwrap();
    let fault = client
        .queue(name("jobs"))
        .enqueue(task(1))
        .await
        .unwrap_err();
    assert!(matches!(fault, Error::WrongServer { .. }), "{fault:?}");
    assert!(fault.to_string().contains("the command EVALSHA"), "{fault}");
}

/// Some servers say why they hang up, and do so before they have read what was sent.
#[tokio::test]
async fn a_server_that_hangs_up_with_a_word_is_told_in_that_word() {
    let redis = RedisServer::start().await;
    // The only one that is let in.
    let mut held = redis.connection().await;
    let mut set = redis::cmd("CONFIG");
    set.arg(&["SET", "maxclients", "1"]);
    set.exec_async(&mut held).await.unwrap();
    let endpoint = Endpoint::parse(&redis.url()).unwrap();
    for _ in 0..100 {
        let fault = Client::connect(&endpoint).await.unwrap_err();
        assert!(matches!(fault, Error::Unreachable { .. }), "{fault:?}");
        assert!(
            fault.to_string().contains("max number of clients"),
            "{fault}"
        );
    }
}

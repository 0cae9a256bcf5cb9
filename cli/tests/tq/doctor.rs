//! `tq doctor` beside real servers: what is wrong with each is told with what to do.

use taskqueue_queue::testing::RedisServer;
use tokio::process::Command;

use crate::terminal::{Ended, PROGRAM, Terminal, run};

/// One that keeps what is written, and evicts nothing.
const GOOD: [&str; 4] = ["--appendonly", "yes", "--maxmemory-policy", "noeviction"];

async fn server(more: &[&str]) -> RedisServer {
    RedisServer::start_with(&[&GOOD[..], more].concat()).await
}

/// Looks at a Redis and at no cluster.
async fn doctor(url: &str, more: &[&str]) -> Ended {
    let mut command = Command::new(PROGRAM);
    command
        .args(["doctor", "--redis", url, "--no-cluster"])
        .args(more);
    run(&mut command, "").await
}

/// The lines of this level, each as check and text.
fn lines<'a>(ended: &'a Ended, level: &str) -> Vec<(&'a str, &'a str)> {
    let rows = ended.stdout.lines().skip(1);
    let of_level = rows.filter_map(|line| line.strip_prefix(level)?.strip_prefix(' '));
    let split = of_level.filter_map(|line| line.trim_start().split_once(' '));
    split
        .map(|(check, text)| (check, text.trim_start()))
        .collect()
}

/// That these and no other problems and warnings are told, each by words of its line.
#[track_caller]
fn assert_told(ended: &Ended, problems: &[(&str, &[&str])], warnings: &[(&str, &[&str])]) {
    for (level, expected) in [("problem", problems), ("warning", warnings)] {
        let told = lines(ended, level);
        assert_eq!(told.len(), expected.len(), "{level}: {ended:?}");
        for ((check, text), (wanted, words)) in told.iter().zip(expected) {
            assert_eq!(check, wanted, "{ended:?}");
            for word in *words {
                assert!(text.contains(word), "{text} should contain {word:?}");
            }
        }
    }
    let code = i32::from(!problems.is_empty());
    assert_eq!(ended.code, Some(code), "{ended:?}");
    println!("{}", ended.stdout);
}

#[tokio::test]
async fn a_good_redis_is_fine() {
    let redis = server(&[]).await;
    let ended = doctor(&redis.url(), &["--strict"]).await;
    assert_told(&ended, &[], &[]);
    let fine = lines(&ended, "ok");
    let checks: Vec<_> = fine.iter().map(|(check, _)| *check).collect();
    assert_eq!(checks, ["redis", "settings", "rights"], "{ended:?}");
    assert!(
        fine[0]
            .1
            .contains(&format!("at 127.0.0.1:{}", redis.port())),
        "{fine:?}"
    );
}

#[tokio::test]
async fn one_that_evicts_tasks_is_a_problem() {
    let redis = server(&["--maxmemory", "30mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let ended = doctor(&redis.url(), &[]).await;
    let words = [
        "maxmemory-policy is allkeys-lru",
        "CONFIG SET maxmemory-policy noeviction",
    ];
    assert_told(&ended, &[("settings", &words)], &[]);
    assert_eq!(ended.stderr, "tq: found 1 problem and 0 warnings\n");
}

#[tokio::test]
async fn one_that_evicts_what_expires_is_a_warning() {
    let redis = server(&["--maxmemory", "30mb", "--maxmemory-policy", "volatile-lru"]).await;
    let words = [
        "maxmemory-policy is volatile-lru",
        "CONFIG SET maxmemory-policy noeviction",
    ];
    let ended = doctor(&redis.url(), &[]).await;
    assert_told(&ended, &[], &[("settings", &words)]);
    let strict = doctor(&redis.url(), &["--strict"]).await;
    assert_eq!(strict.code, Some(1));
    assert_eq!(strict.stdout, ended.stdout);
}

#[tokio::test]
async fn a_full_one_is_a_problem() {
    let redis = server(&["--maxmemory", "4mb"]).await;
    let piece = "x".repeat(100_000);
    let mut count = 0;
    while redis
        .try_command::<()>(&format!("SET filler:{count} {piece}"))
        .await
        .is_some()
    {
        count += 1;
    }
    let small = "x".repeat(1000);
    while redis
        .try_command::<()>(&format!("SET filler:{count} {small}"))
        .await
        .is_some()
    {
        count += 1;
    }
    let ended = doctor(&redis.url(), &[]).await;
    let told = [lines(&ended, "problem"), lines(&ended, "warning")].concat();
    assert_eq!(told.len(), 1, "{ended:?}");
    assert_eq!(told[0].0, "settings");
    for word in ["% of maxmemory (4 MiB) are used", "raise maxmemory"] {
        assert!(told[0].1.contains(word), "{ended:?}");
    }
    println!("{}", ended.stdout);
}

#[tokio::test]
async fn one_that_keeps_nothing_on_disk_is_a_warning() {
    let redis = RedisServer::start().await;
    let ended = doctor(&redis.url(), &[]).await;
    let words = ["save is empty", "CONFIG SET appendonly yes"];
    assert_told(&ended, &[], &[("settings", &words)]);
}

#[tokio::test]
async fn one_with_too_few_replicas_is_a_problem() {
    let redis = server(&["--min-replicas-to-write", "1"]).await;
    let ended = doctor(&redis.url(), &[]).await;
    let words = [
        "min-replicas-to-write is 1 and 0 follow",
        "CONFIG SET min-replicas-to-write 0",
    ];
    assert_told(&ended, &[("settings", &words)], &[]);
}

#[tokio::test]
async fn a_replica_is_a_problem() {
    let primary = server(&[]).await;
    let port = primary.port().to_string();
    let replica = server(&["--replicaof", &format!("127.0.0.1 {port}")]).await;
    let ended = doctor(&replica.url(), &[]).await;
    let told = lines(&ended, "problem");
    assert_eq!((told.len(), ended.code), (1, Some(1)), "{ended:?}");
    assert!(told[0].1.contains("replica"), "{ended:?}");
    println!("{}", ended.stdout);
}

#[tokio::test]
async fn a_wrong_password_is_a_problem_and_never_shown() {
    let redis = server(&["--requirepass", "sesame"]).await;
    let with = |login: &str| redis.url().replace("://", &format!("://{login}"));
    for (login, words) in [
        (
            ":opensaysme@",
            &["refused access: WRONGPASS", "redis://user:password@host"][..],
        ),
        (
            "",
            &["NOAUTH: it wants a password; write redis://:password@host"],
        ),
    ] {
        let ended = doctor(&with(login), &[]).await;
        assert_told(&ended, &[("redis", words)], &[]);
        for text in [&ended.stdout, &ended.stderr] {
            assert!(!text.contains("opensaysme"), "{text}");
        }
    }
    assert_told(&doctor(&with(":sesame@"), &[]).await, &[], &[]);
}

/// The rights that the README of the queue names, of producers and of all others.
fn documented() -> [Vec<&'static str>; 2] {
    let readme = include_str!("../../../queue/README.md");
    let (_, section) = readme
        .split_once("**Rights of an ACL user**")
        .expect("a section");
    let mut lists = section
        .split('`')
        .filter(|text| text.starts_with('+') && text.contains(' '));
    [(); 2].map(|()| lists.next().expect("a list").split(' ').collect())
}

#[tokio::test]
async fn a_missing_right_is_named_and_the_documented_ones_do() {
    let redis = server(&[]).await;
    let [producer, everything] = documented();
    let look = async |rights: &[&str], keys: &str| {
        let rights = rights.join(" ");
        let command = format!("ACL SETUSER worker reset on >secret {keys} {rights}");
        redis.command::<()>(&command).await;
        doctor(&redis.url().replace("://", "://worker:secret@"), &[]).await
    };
    let ours = "~tq:* &tq:*";
    let ended = look(&everything, ours).await;
    assert_told(&ended, &[], &[]);
    // What it may not see is no problem, and told with the right.
    let unknown = lines(&ended, "unknown");
    assert!(
        unknown.iter().any(|(_, text)| text.contains("+info")),
        "{ended:?}"
    );
    for right in &everything {
        if ["+evalsha", "+script|load", "+time", "+ping", "+hmget"].contains(right) {
            // Without these no call gets through.
            continue;
        }
        let others: Vec<_> = everything
            .iter()
            .copied()
            .filter(|it| it != right)
            .collect();
        let ended = look(&others, ours).await;
        let told = lines(&ended, "problem");
        assert_eq!((told.len(), told[0].0), (1, "rights"), "{right}: {ended:?}");
        assert!(
            told[0]
                .1
                .ends_with(&format!(": ACL SETUSER <user> {right}")),
            "{right}: {ended:?}"
        );
    }
    println!("{}", look(&everything[1..], ours).await.stdout);
    let ended = look(&producer, ours).await;
    let words = [
        "it may enqueue, look at and cancel tasks",
        "+blpop",
        "+zadd",
    ];
    assert_eq!(lines(&ended, "problem").len(), 1);
    assert!(
        words
            .iter()
            .any(|word| lines(&ended, "problem")[0].1.contains(word)),
        "{ended:?}"
    );
    // All commands, and not on our keys.
    let ended = look(&everything, "~other:* &other:*").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!lines(&ended, "problem").is_empty(), "{ended:?}");
    println!("{}", ended.stdout);
}

#[tokio::test]
async fn a_user_of_one_namespace_is_looked_at_there() {
    let redis = server(&[]).await;
    let [_, everything] = documented();
    let rights = everything.join(" ");
    let command = format!("ACL SETUSER worker reset on >secret ~tq:{{shop/* &tq:wake {rights}");
    redis.command::<()>(&command).await;
    let url = redis.url().replace("://", "://worker:secret@");
    assert_told(&doctor(&url, &["--namespace", "shop"]).await, &[], &[]);
    let told = |ended: &Ended, fix: &str| {
        let told = lines(ended, "problem");
        assert!(told[0].1.contains(fix), "{ended:?}");
    };
    let elsewhere = doctor(&url, &["--namespace", "billing"]).await;
    told(&elsewhere, "~tq:{billing/* &tq:wake +evalsha");
    let anywhere = doctor(&url, &[]).await;
    told(&anywhere, "is looked at with --namespace");
}

#[tokio::test]
async fn a_redis_that_is_away_is_a_problem() {
    let ended = doctor("redis://127.0.0.1:1", &[]).await;
    assert_told(
        &ended,
        &[(
            "redis",
            &["127.0.0.1:1 is unreachable", "kubectl port-forward"],
        )],
        &[],
    );
}

#[tokio::test]
async fn a_redis_that_hangs_holds_nothing_up() {
    let redis = server(&[]).await;
    redis.freeze();
    let ended = doctor(&redis.url(), &[]).await;
    redis.thaw();
    assert_eq!(lines(&ended, "problem").len(), 1, "{ended:?}");
    assert!(
        lines(&ended, "problem")[0]
            .1
            .contains("did not answer within"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn tasks_without_workers_are_told_of_queues_that_are_named() {
    let terminal = Terminal::new().await;
    terminal.tq(&["enqueue", "orders", "t"]).await.lines();
    terminal.tq(&["enqueue", "orders", "t"]).await.lines();
    let ended = doctor(&terminal.redis.url(), &["orders", "shop/empty"]).await;
    let told = lines(&ended, "warning");
    let text = told
        .iter()
        .find(|(check, _)| *check == "queues")
        .expect("a warning")
        .1;
    assert!(
        text.starts_with("default/orders: 2 tasks wait, the oldest for "),
        "{text}"
    );
    assert!(
        text.contains("no worker serves the queue: does one run"),
        "{text}"
    );
    let sum = "2 looked at: 2 tasks wait, 0 run on 0 workers, 0 are dead letters";
    assert!(lines(&ended, "ok").contains(&("queues", sum)), "{ended:?}");
    assert_eq!(
        doctor(&terminal.redis.url(), &["Orders"]).await.code,
        Some(2)
    );
}

#[tokio::test]
async fn as_json_there_is_an_object_with_the_same() {
    let redis = server(&["--maxmemory-policy", "allkeys-lru"]).await;
    let ended = doctor(&redis.url(), &["-o", "json"]).await;
    assert_eq!(ended.code, Some(1));
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).expect("it is JSON");
    assert_eq!(report["problems"], 1);
    let findings = report["findings"].as_array().expect("findings");
    let problem = findings
        .iter()
        .find(|it| it["level"] == "problem")
        .expect("a problem");
    assert_eq!(problem["check"], "settings");
    assert!(
        problem["text"]
            .as_str()
            .expect("a text")
            .contains("allkeys-lru")
    );
}

#[tokio::test]
async fn what_is_not_given_is_not_looked_at_and_nothing_at_all_is_wrong_use() {
    let home = tempfile::tempdir().expect("a folder");
    let look = async |arguments: &[&str], kubeconfig: &str| {
        let mut command = Command::new(PROGRAM);
        command
            .arg("doctor")
            .args(arguments)
            .env_remove("TASKQUEUE_REDIS_URL")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env("HOME", home.path())
            .env("KUBECONFIG", kubeconfig);
        run(&mut command, "").await
    };
    let ended = look(&[], "").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("give --redis URL or TASKQUEUE_REDIS_URL, or a KUBECONFIG"),
        "{ended:?}"
    );
    let unknown = lines(&ended, "unknown");
    assert_eq!(
        unknown.iter().map(|it| it.0).collect::<Vec<_>>(),
        ["redis", "cluster"]
    );

    let redis = server(&[]).await;
    let ended = look(&["--redis", &redis.url()], "").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        lines(&ended, "unknown").iter().any(|it| it.0 == "cluster"),
        "{ended:?}"
    );

    // A cluster that was meant and is not there.
    let missing = look(&["--redis", &redis.url()], "/nonexistent").await;
    assert_eq!(missing.code, Some(1), "{missing:?}");
    let unknown_context = look(&["--context", "none"], "").await;
    assert_eq!(unknown_context.code, Some(1), "{unknown_context:?}");
    let away = home.path().join("away");
    let config = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {"token": "hunter2"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}]}"#;
    std::fs::write(&away, config).expect("it is written");
    let away = away.to_str().expect("a path in UTF-8");
    let ended = look(&["--redis", &redis.url()], away).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = lines(&ended, "problem");
    assert!(
        told[0]
            .1
            .contains("the API server https://127.0.0.1:1/ cannot be reached"),
        "{ended:?}"
    );
    assert!(!ended.stdout.contains("hunter2"), "{ended:?}");
    assert!(
        lines(&ended, "ok").iter().any(|it| it.0 == "settings"),
        "{ended:?}"
    );
}

//! How `tq` is called: without Redis, with a Redis that is away, by another name, and its help.

use std::os::unix::fs::symlink;

use taskqueue_queue::testing::RedisServer;
use tokio::process::Command;

use crate::terminal::{Ended, PROGRAM, run};

async fn tq(arguments: &[&str]) -> Ended {
    run(
        Command::new(PROGRAM)
            .args(arguments)
            .env_remove("TASKQUEUE_REDIS_URL"),
        "",
    )
    .await
}

#[tokio::test]
async fn without_redis_it_exits_2_and_says_how_to_give_it() {
    for arguments in [
        &["stats", "orders"][..],
        &["stats", "orders", "--redis", ""],
    ] {
        let ended = tq(arguments).await;
        assert_eq!(ended.code, Some(2));
        for fix in ["--redis URL", "TASKQUEUE_REDIS_URL", "kubectl port-forward"] {
            assert!(ended.stderr.contains(fix), "{}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn a_redis_that_is_away_exits_1_and_is_named() {
    let ended = tq(&["stats", "orders", "--redis", "redis://:hunter2@127.0.0.1:1"]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("127.0.0.1:1"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

#[tokio::test]
async fn readers_that_are_gone_change_no_exit_code() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let nobody = || std::io::pipe().expect("a pipe").1;
    for (arguments, code) in [
        (&["stats", "orders"][..], 2),
        (&["stats", "orders", "--redis", "redis://127.0.0.1:1"], 1),
        (&["stats"], 2),
        (&["stats", "--help"], 0),
        (&["stats", "orders", "--redis", &url], 0),
        (&["enqueue", "orders", "any", "--redis", &url], 0),
        (
            &[
                "enqueue",
                "orders",
                "any",
                "--lines",
                "/dev/null",
                "--redis",
                &url,
            ],
            0,
        ),
    ] {
        let ended = Command::new(PROGRAM)
            .args(arguments)
            .env_remove("TASKQUEUE_REDIS_URL")
            .stdout(nobody())
            .stderr(nobody())
            .status();
        let status = ended.await.expect("tq runs");
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_redis_url_can_be_an_option_and_a_bad_one_is_wrong_use() {
    let redis = RedisServer::start().await;
    assert_eq!(
        tq(&["stats", "orders", "--redis", &redis.url()])
            .await
            .lines()
            .len(),
        2
    );
    let ended = tq(&["stats", "orders", "--redis", "localhost:6379"]).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("starts with redis://"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_bad_queue_name_is_wrong_use() {
    let redis = RedisServer::start().await;
    let ended = tq(&["stats", "Orders", "--redis", &redis.url()]).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("queue name \"Orders\""),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn help_documents_the_exit_codes() {
    let help = tq(&["--help"]).await;
    let lines = help.lines();
    for code in [
        "  0  done",
        "  3  not found: no such task, no such dead letter, no task that can still be cancelled or changed",
    ] {
        assert!(lines.contains(&code), "{lines:?}");
    }
}

#[tokio::test]
async fn as_a_kubectl_plugin_its_help_says_kubectl() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = folder.path().join("kubectl-tq");
    symlink(PROGRAM, &plugin).expect("a link");
    let ended = run(Command::new(&plugin).args(["get", "--help"]), "").await;
    assert!(
        ended.stdout.contains("Usage: kubectl tq get"),
        "{}",
        ended.stdout
    );
    assert!(
        tq(&["get", "--help"])
            .await
            .stdout
            .contains("Usage: tq get")
    );
}

#[tokio::test]
async fn completion_and_version_need_no_redis() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            tq(&["completion", shell]).await.lines().len() > 50,
            "{shell}"
        );
    }
    assert_eq!(
        tq(&["version"]).await.lines(),
        [format!("tq {}", env!("CARGO_PKG_VERSION"))]
    );
}

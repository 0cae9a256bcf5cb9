//! `tq simulate`: a trace against a manifest, without Redis.

use tokio::process::Command;

use crate::terminal::{Ended, PROGRAM, run};

const QUEUE: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: taskqueue.dev/v1alpha1
kind: TaskQueue
metadata: {name: thumbnails, namespace: shop}
spec:
  worker: {concurrency: 4, handler: {native: {}}}
  scaling: {maxReplicas: 20, target: {backlogPerReplica: 4}, idle: 20s}
";

const TRACE: &str = "at,arrivals,runMs\n0,0,1000\n10,20,1000\n70,0,1000\n120,0,1000\n";

/// Runs the command on this manifest, with this trace on standard input.
async fn simulate(manifest: &str, trace: &str, more: &[&str]) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("queue.yaml");
    std::fs::write(&file, manifest).expect("it can be written");
    let mut command = Command::new(PROGRAM);
    command
        .args(["simulate", "--trace", "-", "--policy"])
        .arg(&file)
        .args(more)
        .env_remove("TASKQUEUE_REDIS_URL");
    run(&mut command, trace).await
}

#[tokio::test]
async fn the_changes_and_the_cost_are_shown_as_a_table() {
    let ended = simulate(QUEUE, TRACE, &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines = ended.lines();
    assert!(lines[0].starts_with("AT"), "{}", lines[0]);
    assert!(lines[1].contains("0 → 1"), "{}", lines[1]);
    assert!(
        lines[1].contains("waiting + 0 active) / 4) = 1"),
        "{}",
        lines[1]
    );
    for figure in [
        "tasks          1200",
        "waiting p95",
        "pod-seconds",
        "changes",
    ] {
        assert!(ended.stdout.contains(figure), "{}", ended.stdout);
    }
}

#[tokio::test]
async fn as_json_there_is_each_second_and_twice_the_same() {
    let ended = simulate(QUEUE, TRACE, &["-o", "json"]).await;
    let again = simulate(QUEUE, TRACE, &["--output", "json"]).await;
    assert_eq!(ended.stdout, again.stdout);
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).expect("it is JSON");
    assert_eq!(document["summary"]["tasks"], 1200);
    let points = document["points"].as_array().expect("points");
    assert_eq!(points.len(), 120);
    assert_eq!(points[119]["replicas"], 0);
    let changes = document["changes"].as_array().expect("changes");
    assert_eq!(document["summary"]["changes"], changes.len());
    assert!(changes[0]["equation"].is_string());
}

#[tokio::test]
async fn a_latency_target_and_limits_count_as_in_the_operator() {
    let limited =
        QUEUE.replace("backlogPerReplica: 4", "latency: 5s") + "  limits: {concurrency: 8}\n";
    let ended = simulate(&limited, TRACE, &["-o", "json"]).await;
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).expect("it is JSON");
    assert_eq!(document["summary"]["mostReplicas"], 2);
}

#[tokio::test]
async fn what_cannot_be_played_exits_2_and_names_file_and_fix() {
    let contradiction = QUEUE.replace("maxReplicas: 20", "minReplicas: 3, maxReplicas: 2");
    for (manifest, trace, told) in [
        (
            contradiction.as_str(),
            TRACE,
            "scaling.minReplicas must not be above scaling.maxReplicas",
        ),
        (
            "kind: Deployment\n",
            TRACE,
            "queue.yaml: it holds no TaskQueue",
        ),
        ("kind: TaskQueue\nspec: 5\n", TRACE, "queue.yaml: "),
        (QUEUE, "0,1,1\n", "-: it needs two lines"),
        (
            QUEUE,
            "0,1,1\n1,a,1\n",
            "line 2: arrivals \"a\" is no number",
        ),
    ] {
        let ended = simulate(manifest, trace, &[]).await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
    let ended = simulate(QUEUE, TRACE, &["--policy", "/nonexistent"]).await;
    assert_ne!(ended.code, Some(0));
}

/// The same manifest with another text for the time that it waits for when idle.
fn idle(text: &str) -> String {
    QUEUE.replace("idle: 20s", &format!("idle: {text}"))
}

#[tokio::test]
async fn a_number_of_any_length_is_refused_and_not_counted() {
    let nines = "9".repeat(40);
    for text in [
        "99999999999999999999999999h",
        &format!("{nines}h"),
        "1s-5s",
        "9999999999h9999999999h9999999h",
        &nines,
    ] {
        let ended = simulate(&idle(text), TRACE, &[]).await;
        assert_eq!(ended.code, Some(2), "{text}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("spec.scaling.idle: "),
            "{}",
            ended.stderr
        );
    }
    // Those of the command line as well.
    for (option, value) in [
        ("--start-time", "99999999999999999999h"),
        ("--start-time", "2562047788015215h"),
        ("--from", "9999-12-30T22:00:00Z"),
        ("--downstream", "99999999999999999999"),
    ] {
        let ended = simulate(QUEUE, TRACE, &[option, value]).await;
        assert_eq!(ended.code, Some(2), "{option} {value}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_manifest_is_read_by_the_rules_of_the_api_server() {
    for taken in [
        idle(""),
        idle("24h"),
        QUEUE.replace("maxReplicas: 20", "maxReplicas: 20.0"),
        QUEUE.replace("maxReplicas: 20", "maxReplicas: 20, minReplicas: "),
        format!("{QUEUE}  timeout:\n"),
        format!("\u{feff}{QUEUE}").replace('\n', "\r\n"),
    ] {
        let ended = simulate(&taken, TRACE, &[]).await;
        assert_eq!(ended.code, Some(0), "{taken}{}", ended.stderr);
    }
    for (refused, told) in [
        (
            idle("48h"),
            "scaling.idle must be a duration from 0s to 24h",
        ),
        (idle("20"), "spec.scaling.idle: 20 is no string"),
        (
            format!("{QUEUE}  timeout: 48h\n"),
            "timeout must be a duration from 100ms to 24h",
        ),
        (
            format!("{QUEUE}  timout: 5s\n"),
            "spec.timout: is no field of a TaskQueue",
        ),
        (
            QUEUE.replace("taskqueue.dev/v1alpha1", "taskqueue.dev/v1"),
            "apiVersion: is \"taskqueue.dev/v1\"",
        ),
    ] {
        let ended = simulate(&refused, TRACE, &[]).await;
        assert_eq!(ended.code, Some(2), "{refused}");
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_trace_may_come_from_windows() {
    let trace = format!("\u{feff}{}", TRACE.replace('\n', "\r\n"));
    let ended = simulate(QUEUE, &trace, &[]).await;
    assert_eq!(ended.stdout, simulate(QUEUE, TRACE, &[]).await.stdout);
}

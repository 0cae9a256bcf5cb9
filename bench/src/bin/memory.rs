//! Resident memory of the operator with 1 and with 200 TaskQueues, and its writes to the API
//! server in an idle minute with 50 quiet queues.
#![allow(clippy::print_stdout, clippy::panic)]

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use taskqueue_e2e::{Patience, SYSTEM, Story, kubectl};

const USER: &str = "system:serviceaccount:taskqueue-system:taskqueue-operator";

#[tokio::main]
async fn main() {
    let story = Story::begin("memory").await;
    let mut made = 0;
    for wanted in [1, 50, 200] {
        story.apply(&manifests(made..wanted));
        made = wanted;
        let last = format!("quiet-{:03}", wanted - 1);
        story
            .status_until(&last, "in place", Patience::LONG, |status| {
                status.desired_replicas == Some(0)
            })
            .await;
        settled().await;
        let resident = metric(&scrape(), "process_resident_memory_bytes");
        println!(
            "{wanted:>4} TaskQueues: operator resident {:.1} MB",
            resident / 1e6
        );
        if wanted == 50 {
            idle_minute().await;
        }
    }
}

fn manifests(numbers: std::ops::Range<usize>) -> String {
    let mut all = String::new();
    for number in numbers {
        let _ = write!(
            all,
            "---
apiVersion: taskqueue.dev/v1alpha1
kind: TaskQueue
metadata: {{name: quiet-{number:03}}}
spec:
  worker: {{handler: {{native: {{}}}}}}
"
        );
    }
    all
}

/// Waits until the operator has not written for five seconds.
async fn settled() {
    let mut before = writes(&scrape());
    for _ in 0..24 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let now = writes(&scrape());
        if before == now {
            return;
        }
        before = now;
    }
    panic!("the operator goes on writing: {before:?}");
}

async fn idle_minute() {
    let (before, audited) = (writes(&scrape()), audited());
    tokio::time::sleep(Duration::from_mins(1)).await;
    let mut after = writes(&scrape());
    for (request, count) in &before {
        if let Some(later) = after.get_mut(request) {
            *later -= count;
        }
    }
    after.retain(|_, count| *count > 0.0);
    println!(
        "writes in an idle minute with 50 queues, by the operator's own count, its Lease apart: {after:?}"
    );
    match (audited, self::audited()) {
        (Some(before), Some(now)) => println!("the same by the audit log: {}", now - before),
        _ => println!("no audit log here"),
    }
}

/// Writes so far by method and resource, leases left out.
fn writes(metrics: &str) -> BTreeMap<String, f64> {
    let lines = metrics.lines().filter_map(|line| {
        let labels = line.strip_prefix("taskqueue_operator_api_requests_total{")?;
        let (labels, count) = labels.split_once("} ")?;
        let read = labels.contains("\"GET\"") || labels.contains("\"leases\"");
        (!read).then(|| (labels.to_owned(), count.parse().unwrap_or(f64::NAN)))
    });
    lines.collect()
}

/// Writes of the operator in the audit log so far, leases left out; `None` without a log.
fn audited() -> Option<usize> {
    let log = std::fs::read_to_string(std::env::var("TASKQUEUE_AUDIT_LOG").ok()?).ok()?;
    let entries = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let ours = entries
        .filter(|entry| entry["user"]["username"] == USER)
        .filter(|entry| entry["objectRef"]["resource"] != "leases");
    Some(ours.count())
}

fn metric(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.trim().parse().ok());
    value.unwrap_or_else(|| panic!("the operator has no metric {name}"))
}

fn scrape() -> String {
    let selector = "app.kubernetes.io/component=operator";
    let name = [
        "get",
        "pods",
        "-n",
        SYSTEM,
        "-l",
        selector,
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ];
    let pod = kubectl(&name, "");
    let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics");
    kubectl(&["get", "--raw", &path], "")
}

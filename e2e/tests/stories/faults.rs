use std::time::Duration;

use taskqueue_e2e::{Patience, SYSTEM, Story, eventually, kubectl};
use taskqueue_queue::Payload;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::workload::Workload;

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_its_tasks_loses_none() {
    let story = Story::begin("kill").await;
    let workload = Workload {
        max: 2,
        concurrency: 2,
        ..Workload::default()
    };
    story.apply(&workload.shell("sleep 1; cat"));
    let ids = story.enqueue("work", 20, "slow", r#""payload""#).await;
    let victim = busy_pod(&story, 1).await;
    story.kubectl(&[
        "exec",
        &victim,
        "--",
        "sh",
        "-c",
        "kill -9 $(pidof taskqueue-worker)",
    ]);

    let snapshot = story.drained("work", 20, Patience::LONG).await;
    assert!(
        snapshot.counters.lost >= 1,
        "the killed worker held tasks: {snapshot:?}"
    );
    assert_eq!(
        snapshot.counters.failed, 0,
        "a lost worker costs no attempt"
    );
    for id in &ids {
        let task = story.task("work", id).await;
        assert_eq!(
            task.result.as_ref().map(Payload::as_bytes),
            Some(&br#""payload""#[..])
        );
    }
}

#[tokio::test]
async fn a_pod_deleted_while_busy_finishes_its_tasks_and_costs_no_attempt() {
    let story = Story::begin("drain").await;
    let workload = Workload {
        max: 2,
        concurrency: 2,
        ..Workload::default()
    };
    story.apply(&workload.native());
    // Long, and every slot busy: the worker is told to stop in the middle of its tasks, and not
    // while it fetches the next ones, which it would hand back.
    story.enqueue("work", 6, "sleep", r#"{"ms": 8000}"#).await;
    let victim = busy_pod(&story, 4).await;
    story.kubectl(&["delete", "pod", &victim, "--wait=false"]);

    let snapshot = story.drained("work", 6, Patience::LONG).await;
    assert_eq!(snapshot.counters.failed, 0, "{snapshot:?}");
    assert_eq!(snapshot.counters.lost, 0, "{snapshot:?}");
    assert_eq!(
        snapshot.counters.released, 0,
        "each task fits into the drain timeout: {snapshot:?}"
    );
}

#[tokio::test]
async fn an_operator_killed_under_load_comes_back_and_nothing_is_lost() {
    let story = Story::begin("operator").await;
    story.apply(
        &Workload {
            concurrency: 2,
            ..Workload::default()
        }
        .native(),
    );
    story.enqueue("work", 20, "sleep", r#"{"ms": 1000}"#).await;
    busy_pod(&story, 1).await;
    let selector = "app.kubernetes.io/component=operator";
    let kill = [
        "delete",
        "pod",
        "-n",
        SYSTEM,
        "-l",
        selector,
        "--grace-period=0",
        "--force",
    ];
    kubectl(&kill, "");
    // Work goes on without it, and what is delayed while it is away is promoted all the same.
    story.tq(&["enqueue", "work", "echo", "--delay", "1s"], "");
    story.drained("work", 21, Patience::LONG).await;
    story
        .status_until("work", "back at zero", Patience::LONG, |status| {
            status.replicas == Some(0)
        })
        .await;
    story.enqueue("work", 5, "echo", "1").await;
    story.drained("work", 26, Patience::LONG).await;
}

#[tokio::test]
async fn a_redis_outage_holds_the_replicas_and_work_goes_on_after_it() {
    let mut story = Story::begin_with_own_redis("outage").await;
    let workload = Workload {
        redis: Some(story.own_redis_url()),
        concurrency: 1,
        ..Workload::default()
    };
    story.apply(&workload.native());
    story.enqueue("work", 45, "sleep", r#"{"ms": 1000}"#).await;
    story
        .status_until("work", "three busy workers", Patience::NORMAL, |status| {
            status.ready_replicas == Some(3)
                && status.depth.as_ref().is_some_and(|depth| depth.active == 3)
        })
        .await;

    let before = eventually("Redis answers", Patience::NORMAL, async || {
        story.snapshot("work").await
    })
    .await;

    story.kubectl(&["scale", "deployment", "redis", "--replicas=0"]);
    let down = story
        .status_until("work", "the outage is seen", Patience::NORMAL, |status| {
            unreachable(status).is_some()
        })
        .await;
    let cause = unreachable(&down).unwrap();
    assert!(!cause.is_empty(), "the condition names the cause");
    let outage = Instant::now();
    while outage.elapsed() < Duration::from_secs(outage_seconds()) {
        assert_eq!(
            story.replicas("work").await,
            Some(3),
            "held through the outage"
        );
        sleep(Duration::from_millis(500)).await;
    }
    story.kubectl(&["scale", "deployment", "redis", "--replicas=1"]);
    let back = connectable(&story.redis).await;
    story.reconnect().await;
    eventually("workers consume again", Patience::NORMAL, async || {
        let now = story.snapshot("work").await?;
        // What they held is acknowledged, and they hold more.
        let acknowledged = now.counters.completed >= before.counters.completed + 3;
        if acknowledged && now.active == 3 {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    eprintln!("workers consume {:?} after Redis' return", back.elapsed());
    let changes = down.decisions.len();
    story
        .status_until(
            "work",
            "the queue is read again",
            Patience::NORMAL,
            |status| unreachable(status).is_none(),
        )
        .await;
    eprintln!(
        "the status says so {:?} after Redis' return",
        back.elapsed()
    );
    let snapshot = story.drained("work", 45, Patience::LONG).await;
    assert_eq!(snapshot.counters.failed, 0, "{snapshot:?}");
    let after = story.status("work").await;
    assert_eq!(after.decisions.len(), changes, "{:?}", after.decisions);
}

/// Waits until a Redis takes connections, looking often, and returns when that was.
async fn connectable(url: &str) -> Instant {
    let address = url.trim_start_matches("redis://");
    let connect = async {
        loop {
            let attempt = timeout(Duration::from_millis(50), TcpStream::connect(address)).await;
            if matches!(attempt, Ok(Ok(_))) {
                return Instant::now();
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_mins(1);
    timeout(patience, connect).await.expect("Redis comes back")
}

/// How long Redis is away; `OUTAGE_SECONDS` sets another length.
fn outage_seconds() -> u64 {
    std::env::var("OUTAGE_SECONDS").map_or(10, |seconds| seconds.parse().expect("a number"))
}

fn unreachable(status: &taskqueue_api::TaskQueueStatus) -> Option<String> {
    let condition = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "RedisReachable" && condition.status == "False")?;
    Some(condition.message.clone())
}

/// A pod that is ready while at least `busy` tasks run.
async fn busy_pod(story: &Story, busy: u64) -> String {
    eventually("a busy worker", Patience::NORMAL, async || {
        let active = story.snapshot("work").await?.active;
        let pods = story.pods("work").await;
        let running = pods.into_iter().find(|pod| {
            let status = pod.status.as_ref();
            let conditions = status.and_then(|status| status.conditions.as_ref());
            conditions
                .into_iter()
                .flatten()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        });
        match running.and_then(|pod| pod.metadata.name) {
            Some(name) if active >= busy => Ok(name),
            name => Err(format!("{active} active, ready pod {name:?}")),
        }
    })
    .await
}

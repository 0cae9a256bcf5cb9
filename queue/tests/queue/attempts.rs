//! What a task tells of its attempts.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker, WorkerInfo};
use taskqueue_queue::{
    Attempt, AttemptOutcome, Cause, ErrorGroup, EventLog, Queue, State, Task, TaskId, fingerprint,
};

use crate::testbed::{Running, SOON, brisk, queue, task};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn in_pod(pod: &str) -> WorkerInfo {
    WorkerInfo {
        pod: pod.to_owned(),
        node: "node".to_owned(),
    }
}

async fn when(queue: &Queue, id: TaskId, what: &str, wanted: impl Fn(&Task) -> bool) -> Task {
    eventually(SOON, what, async || {
        let task = queue.get(&id).await.unwrap();
        task.filter(&wanted)
    })
    .await
}

/// Fails twice, and then goes on and on.
async fn fail_and_hang(task: LeasedTask) -> Outcome {
    task.traced(format!("00-{TRACE}-{SPAN}-01"));
    if task.attempt > 2 {
        return std::future::pending().await;
    }
    Outcome::Retry {
        error: format!("no luck {}", task.attempt),
        after: None,
    }
}

async fn complete(task: LeasedTask) -> Outcome {
    task.traced(format!("00-{TRACE}-{SPAN}-01"));
    Outcome::Completed(None)
}

#[tokio::test]
async fn each_attempt_is_told_with_its_place_and_times_and_so_is_the_one_that_runs() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut policy = brisk();
    policy.events = Some(EventLog::default());
    queue.configure(&policy).await.unwrap();
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let one = Worker::new(queue.clone(), fail_and_hang).info(in_pod("one"));
    let one = Running::start(one);
    let runs = when(&queue, id, "its start is known", |task| {
        let last = task.history.last();
        last.is_some_and(|last| last.number == 3 && last.started.is_some())
    })
    .await;
    assert_eq!(runs.state, State::Active);
    let running = &runs.history[2];
    assert_eq!(running.outcome, AttemptOutcome::Running);
    assert_eq!((running.ended, running.worker), (None, runs.worker));
    assert_eq!(running.pod.as_deref(), Some("one"));
    assert_eq!(running.node.as_deref(), Some("node"));
    let lost = runs.worker.unwrap();
    one.crash().await;
    let released = queue.release(&[lost], Cause::OomKilled, "pod one").await;
    assert_eq!(released.unwrap().released, 1);

    let two = Worker::new(queue.clone(), complete).info(in_pod("two"));
    let two = Running::start(two);
    let done = when(&queue, id, "it completes", |task| {
        task.state == State::Completed
    })
    .await;
    two.stop().await;
    let of = |pick: fn(&Attempt) -> String| done.history.iter().map(pick).collect::<Vec<_>>();
    assert_eq!(of(|it| it.number.to_string()), ["1", "2", "3", "3"]);
    assert_eq!(
        of(|it| format!("{:?}", it.outcome)),
        ["Failed", "Failed", "Lost", "Completed"]
    );
    let pods = of(|it| it.pod.clone().unwrap_or_default());
    assert_eq!(pods, ["one", "one", "one", "two"]);
    assert!(
        done.history
            .iter()
            .all(|it| it.node.as_deref() == Some("node"))
    );
    let workers: Vec<_> = done.history.iter().map(|it| it.worker).collect();
    assert_eq!(workers[..3], [Some(lost); 3]);
    assert_eq!((workers[3], workers[3] == workers[0]), (done.worker, false));
    let messages = of(|it| it.message.clone().unwrap_or_default());
    let expected = ["no luck 1", "no luck 2", "lost its worker: pod one", ""];
    assert_eq!(messages, expected);
    assert_eq!(done.history[2].cause, Some(Cause::OomKilled));
    assert_eq!(done.history[2].started, running.started);
    // The span of the one that was lost went with its worker.
    let traced = of(|it| it.trace_id.clone().unwrap_or_default());
    assert_eq!(traced, [TRACE, TRACE, "", TRACE]);
    assert_eq!(done.history[3].span_id.as_deref(), Some(SPAN));
    // By the clock of Redis as this process estimates it.
    let times = done.history.iter().flat_map(|it| [it.started, it.ended]);
    let times: Vec<_> = times.map(Option::unwrap).collect();
    for pair in times.windows(2) {
        let gap = pair[1].duration_since(pair[0]).as_millis();
        assert!((-1_000..60_000).contains(&gap), "{times:?}");
    }
    assert_eq!(done.errors.len(), 3);

    let mut reader = queue.ends("test", "one").unwrap();
    let ends = reader.next(SOON).await.unwrap().ends;
    assert_eq!(ends[0].task.history, done.history);
    let told = serde_json::to_value(&done).unwrap();
    assert_eq!(told["history"][2]["outcome"], "Lost");
    assert_eq!(told["history"][3]["traceId"], TRACE);
    let groups = queue.error_groups().await.unwrap().groups;
    let counted = |group: &ErrorGroup| (group.cause, group.count, group.message.clone());
    let mut counted: Vec<_> = groups.iter().map(counted).collect();
    counted.sort_by_key(|(_, count, _)| *count);
    let expected = [
        (Cause::OomKilled, 1, "lost its worker: pod one".to_owned()),
        (Cause::Error, 2, "no luck #".to_owned()),
    ];
    assert_eq!(counted, expected);
    let print = fingerprint("count", Cause::Error, "no luck 17");
    assert!(groups.iter().any(|group| group.fingerprint == print));
}

#[tokio::test]
async fn a_task_that_completes_at_once_tells_of_its_attempt_and_of_the_pod_while_the_worker_is_there()
 {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let plain = |_: LeasedTask| async { Outcome::Completed(None) };
    let worker = Running::start(Worker::new(queue.clone(), plain).info(in_pod("one")));
    let done = when(&queue, id, "it completes", |task| {
        task.state == State::Completed
    })
    .await;
    let [attempt] = done.history.as_slice() else {
        panic!("{:?}", done.history);
    };
    assert_eq!(
        (attempt.number, attempt.outcome),
        (1, AttemptOutcome::Completed)
    );
    assert_eq!(
        (attempt.started, attempt.ended),
        (done.started, done.finished)
    );
    assert_eq!(attempt.pod.as_deref(), Some("one"));
    worker.stop().await;
    let later = queue.get(&id).await.unwrap().unwrap().history;
    assert_eq!(
        (later[0].worker, later[0].pod.as_deref()),
        (done.worker, None)
    );
}

#[tokio::test]
async fn as_many_attempts_are_kept_as_the_policy_says() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut policy = brisk();
    policy.retry.max_attempts = 15;
    policy.retry.backoff.max = Duration::from_millis(1);
    let fail = |_: LeasedTask| async {
        Outcome::Retry {
            error: "no".into(),
            after: None,
        }
    };
    for (kept, first) in [(10, 6), (3, 13), (1, 15), (100, 1)] {
        policy.attempts_kept = kept;
        queue.configure(&policy).await.unwrap();
        let id = queue.enqueue(task(1)).await.unwrap().id();
        let worker = Running::start(Worker::new(queue.clone(), fail));
        let dead = when(&queue, id, "it dies", |task| task.state == State::Dead).await;
        let numbers: Vec<_> = dead.history.iter().map(|it| it.number).collect();
        assert_eq!(numbers, (first..=15).collect::<Vec<u32>>());
        assert_eq!(dead.errors.len(), numbers.len());
        worker.stop().await;
    }
}

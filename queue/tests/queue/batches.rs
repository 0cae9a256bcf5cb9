//! Tasks that run many in one call, each with an outcome, a timeout and a cancellation of its own.

use std::future::{Ready, ready};
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually, ids};
use taskqueue_queue::worker::{
    Batch, BatchHandler, Batched, Batching, LeasedTask, Outcome, Routes, TaskError, Worker,
};
use taskqueue_queue::{Cause, NewTask, Payload, Policy, Queue, State, Task, TaskId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::testbed::{Running, SOON, next, number, queue, tasks, until};

const MINUTE: Duration = Duration::from_mins(1);

type Results = Result<Vec<Result<u32, TaskError>>, TaskError>;

type Tasks = Vec<(u32, LeasedTask)>;

/// A function that tells how many tasks it was given, and returns a result for each.
fn sized() -> (
    impl Fn(Tasks) -> Ready<Results> + Send + Sync + 'static,
    UnboundedReceiver<u32>,
) {
    let (sender, receiver) = unbounded_channel();
    let function = move |tasks: Tasks| {
        let size = u32::try_from(tasks.len()).unwrap();
        let _ = sender.send(size);
        let results = tasks.iter().map(|(number, _)| match *number {
            13 => Err(TaskError::dead("unlucky")),
            14 => Err(TaskError::snooze(Duration::from_hours(1))),
            number => Ok(number * 2),
        });
        ready(Ok(results.collect()))
    };
    (function, receiver)
}

/// A policy without second attempts.
fn once(timeout: Duration) -> Policy {
    let mut policy = Policy {
        timeout,
        ..Policy::default()
    };
    policy.retry.max_attempts = 1;
    policy
}

async fn reaches(queue: &Queue, id: &TaskId, state: State) -> Task {
    eventually(SOON, "the state", async || {
        let task = queue.get(id).await.unwrap()?;
        (task.state == state).then_some(task)
    })
    .await
}

async fn put(queue: &Queue, tasks: Vec<NewTask>) -> Vec<TaskId> {
    ids(&queue.enqueue_many(tasks).await.unwrap())
}

#[tokio::test]
async fn a_full_batch_runs_at_once_and_each_of_its_tasks_ends_as_its_result_says() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&once(MINUTE)).await.unwrap();
    let (function, mut sizes) = sized();
    let routes = Routes::new().on_batch("count", 4, MINUTE, function);
    let worker = Running::start(Worker::new(queue.clone(), routes).concurrency(8));
    let mut all = tasks(12..15);
    all.push(NewTask::new("count", Payload::of("no number").unwrap()));
    let ids = put(&queue, all).await;
    let done = reaches(&queue, &ids[0], State::Completed).await;
    assert_eq!(done.result.unwrap().parse::<u32>().unwrap(), 24);
    let dead = reaches(&queue, &ids[1], State::Dead).await;
    assert_eq!(dead.errors[0].message, "unlucky");
    let snoozed = reaches(&queue, &ids[2], State::Scheduled).await;
    assert_eq!((snoozed.attempts, snoozed.errors.len()), (0, 0));
    let misfit = reaches(&queue, &ids[3], State::Dead).await;
    let message = &misfit.errors[0].message;
    assert!(
        message.starts_with("the payload does not fit a count task"),
        "{message}"
    );
    assert_eq!(next(&mut sizes, 1).await, [3]);
    worker.stop().await;
}

#[tokio::test]
async fn a_batch_begins_when_its_first_has_waited_and_is_of_one_type() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (function, mut counts) = sized();
    let (other, mut others) = sized();
    let second = Duration::from_secs(1);
    let routes = Routes::new()
        .on_batch("count", 10, second, function)
        .on_batch("other", 10, second, other);
    let mut all = tasks(0..3);
    let number = Payload::of(&1).unwrap();
    all.insert(1, NewTask::new("other", number));
    let ids = put(&queue, all).await;
    let worker = Running::start(Worker::new(queue.clone(), routes).concurrency(8));
    for id in &ids {
        reaches(&queue, id, State::Completed).await;
    }
    assert_eq!(next(&mut counts, 1).await, [3]);
    assert_eq!(next(&mut others, 1).await, [1]);
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_drains_begins_with_what_it_has() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (function, mut sizes) = sized();
    let routes = Routes::new().on_batch("count", 10, MINUTE, function);
    let worker = Running::start(Worker::new(queue.clone(), routes).concurrency(10));
    let ids = put(&queue, tasks(0..2)).await;
    // What comes after the stop would be handed back.
    eventually(SOON, "both are in flight", async || {
        (worker.probe().running() == 2).then_some(())
    })
    .await;
    let report = worker.stop().await;
    assert_eq!((report.completed, report.released), (2, 0));
    assert_eq!(next(&mut sizes, 1).await, [2]);
    for id in &ids {
        reaches(&queue, id, State::Completed).await;
    }
}

#[tokio::test]
async fn a_task_that_is_cancelled_while_it_waits_leaves_and_the_others_run() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let (function, mut sizes) = sized();
    let routes = Routes::new().on_batch("count", 3, MINUTE, function);
    let worker = Running::start(Worker::new(queue.clone(), routes).concurrency(10));
    let ids = put(&queue, tasks(0..2)).await;
    until(&client, &queue, "they wait", |s| s.active == 2).await;
    queue.cancel(&ids[0]).await.unwrap();
    reaches(&queue, &ids[0], State::Cancelled).await;
    let more = put(&queue, tasks(2..4)).await;
    for id in ids[1..].iter().chain(&more) {
        reaches(&queue, id, State::Completed).await;
    }
    assert_eq!(next(&mut sizes, 1).await, [3]);
    worker.stop().await;
}

#[tokio::test]
async fn a_task_s_time_does_not_run_while_it_waits_for_others() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let timeout = Duration::from_millis(300);
    queue.configure(&once(timeout)).await.unwrap();
    let (function, _sizes) = sized();
    let routes = Routes::new().on_batch("count", 10, timeout * 4, function);
    let ids = put(&queue, tasks(0..2)).await;
    let worker = Running::start(Worker::new(queue.clone(), routes).concurrency(10));
    for id in &ids {
        assert_eq!(reaches(&queue, id, State::Completed).await.errors.len(), 0);
    }
    worker.stop().await;
}

/// Ends the task of number 0 and does what its field says with the others.
struct EndsOne {
    begun: UnboundedSender<u32>,
    then: Then,
}

enum Then {
    Hang,
    Panic,
    Return,
    /// Gives the task of number 1 a minute, and hangs.
    Extend,
}

impl BatchHandler for EndsOne {
    async fn handle_batch(&self, batch: &Batch) {
        for member in batch.members() {
            let _ = self.begun.send(number(member.task()));
            if number(member.task()) == 0 {
                let id = member.task().id;
                assert!(batch.end(id, Outcome::Completed(None)));
                assert!(!batch.end(id, Outcome::Released), "it has an outcome");
            }
        }
        match self.then {
            Then::Hang => std::future::pending().await,
            Then::Panic => panic!("oh no"),
            Then::Return => {}
            Then::Extend => {
                let members = batch.members();
                let one = members.iter().find(|member| number(member.task()) == 1);
                one.unwrap().task().extend(MINUTE);
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Runs three tasks in one batch; returns what became of them after their only attempt.
async fn three(then: Then, timeout: Duration) -> Vec<Task> {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&once(timeout)).await.unwrap();
    let (begun, mut numbers) = unbounded_channel();
    let handler = Batched::new(EndsOne { begun, then }, Batching::new(3, MINUTE));
    let ids = put(&queue, tasks(0..3)).await;
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(3));
    let mut ended = Vec::new();
    for id in &ids {
        let task = eventually(SOON, "it ends", async || {
            let task = queue.get(id).await.unwrap()?;
            matches!(task.state, State::Completed | State::Dead).then_some(task)
        });
        ended.push(task.await);
    }
    assert_eq!(next(&mut numbers, 3).await, [0, 1, 2]);
    worker.stop().await;
    ended
}

#[tokio::test]
async fn what_has_an_outcome_when_the_time_is_over_keeps_it_and_the_others_time_out() {
    let ended = three(Then::Hang, Duration::from_millis(300)).await;
    assert_eq!(ended[0].state, State::Completed);
    for task in &ended[1..] {
        assert_eq!(task.state, State::Dead);
        assert_eq!(task.errors[0].cause, Cause::Timeout);
        let message = &task.errors[0].message;
        assert_eq!(message, "ran longer than 300 ms");
    }
}

#[tokio::test]
async fn the_shortest_time_is_that_of_the_batch_whoever_got_more() {
    let ended = three(Then::Extend, Duration::from_millis(300)).await;
    for task in &ended[1..] {
        assert_eq!(task.errors[0].cause, Cause::Timeout);
    }
}

#[tokio::test]
async fn a_panic_fails_each_task_of_its_batch_that_has_no_outcome() {
    let ended = three(Then::Panic, MINUTE).await;
    assert_eq!(ended[0].state, State::Completed);
    for task in &ended[1..] {
        assert_eq!(task.errors[0].message, "panicked: oh no");
    }
}

#[tokio::test]
async fn a_task_that_its_handler_forgot_has_failed() {
    let ended = three(Then::Return, MINUTE).await;
    assert_eq!(ended[0].state, State::Completed);
    for task in &ended[1..] {
        let message = &task.errors[0].message;
        assert!(message.contains("without an outcome"), "{message}");
    }
}

#[tokio::test]
async fn results_that_are_not_as_many_as_the_tasks_fail_them_all() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&once(MINUTE)).await.unwrap();
    let routes = Routes::new().on_batch("count", 2, MINUTE, |_: Vec<(u32, LeasedTask)>| {
        std::future::ready(Results::Ok(vec![Ok(1)]))
    });
    let ids = put(&queue, tasks(0..2)).await;
    let worker = Running::start(Worker::new(queue.clone(), routes).concurrency(2));
    for id in &ids {
        let dead = reaches(&queue, id, State::Dead).await;
        let message = &dead.errors[0].message;
        assert!(message.contains("1 results for 2 tasks"), "{message}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn an_error_of_the_whole_batch_is_that_of_each_task() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&once(MINUTE)).await.unwrap();
    let routes = Routes::new().on_batch("count", 2, MINUTE, |tasks: Vec<(u32, LeasedTask)>| {
        let parsed = "x".repeat(tasks.len()).parse::<u32>();
        async move { Results::Ok(vec![Ok(parsed?)]) }
    });
    let ids = put(&queue, tasks(0..2)).await;
    let worker = Running::start(Worker::new(queue.clone(), routes).concurrency(2));
    for id in &ids {
        let dead = reaches(&queue, id, State::Dead).await;
        assert_eq!(dead.errors[0].message, "invalid digit found in string");
    }
    worker.stop().await;
}

/// Tells when it is dropped.
struct Told(UnboundedSender<u32>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(0);
    }
}

#[tokio::test]
async fn a_batch_goes_on_without_a_task_that_is_cancelled_and_nobody_runs_for_none() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let (dropped, mut drops) = unbounded_channel();
    let routes =
        Routes::new().on_batch("count", 2, MINUTE, move |tasks: Vec<(u32, LeasedTask)>| {
            let told = Told(dropped.clone());
            async move {
                let _told = told;
                let one = tasks.iter().find(|(number, _)| *number == 1).unwrap();
                one.1.cancelled().await;
                std::future::pending::<Results>().await
            }
        });
    let ids = put(&queue, tasks(0..2)).await;
    let worker = Running::start(Worker::new(queue.clone(), routes).concurrency(2));
    until(&client, &queue, "they run", |s| s.active == 2).await;
    queue.cancel(&ids[1]).await.unwrap();
    reaches(&queue, &ids[1], State::Cancelled).await;
    assert!(drops.try_recv().is_err(), "the other task still runs");
    queue.cancel(&ids[0]).await.unwrap();
    reaches(&queue, &ids[0], State::Cancelled).await;
    assert_eq!(next(&mut drops, 1).await, [0]);
    worker.stop().await;
}

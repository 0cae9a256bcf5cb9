//! What is done to a wrecked queue: every call of the public API, whatever comes of it; and, at the
//! end, an honest worker that must find nothing left undone.

use std::time::Duration;

use rand::RngExt;
use tokio_util::sync::CancellationToken;

use super::Dice;
use crate::testing::eventually;
use crate::worker::{LeasedTask, Outcome, Worker};
use crate::{
    Client, Cursor, Edit, Enqueued, Error, Filter, NewTask, Payload, Pending, Policy, Queue,
    QueueName, Selection, Snapshot, Stage, TaskId,
};

/// Longer than anything here may take; the worker's longest sleep and a lease are in it many times.
pub(super) const SOON: Duration = Duration::from_secs(30);

/// Makes each call once. What fails must say why.
pub(super) async fn call_everything(client: &Client, name: &QueueName, dice: &mut Dice) {
    let queue = client.queue(name.clone());
    let payload = |number: u64| Payload::of(&format!("{number:064}")).unwrap();
    let task = |number: u64| NewTask::new("more", payload(number));
    said(&client.ping().await);
    said(&queue.policy().await);
    let soon = Duration::from_millis(dice.random_range(0..50));
    let ids = [
        queue.enqueue(task(1_000_001).priority("high")).await,
        queue.enqueue(task(1_000_002)).await,
        queue.enqueue(task(1_000_003).delay(soon)).await,
    ];
    ids.iter().for_each(said);
    let mut ids: Vec<TaskId> = ids.into_iter().flatten().map(|new| new.id()).collect();
    let many = (0..3).map(|n| task(1_000_010 + n).priority("low"));
    let many = queue.enqueue_many(many.collect()).await;
    said(&many);
    ids.extend(many.unwrap_or_default().iter().map(Enqueued::id));
    ids.push(client.next_task_id());
    let keyed = |number| task(number).idempotency_key("own 12", SOON);
    said(&queue.enqueue(keyed(1_000_004)).await);
    said(&queue.get_by_key("own 12").await);
    for id in &ids {
        said(&queue.get(id).await);
    }
    for id in &ids {
        said(&queue.logs(id).await);
        if dice.random_bool(0.3) {
            said(&queue.cancel(id).await);
        }
    }
    let all = [Stage::Dead].into_iter();
    let all = all.chain(Stage::NOT_ENDED).chain(Stage::ENDED);
    for stage in all {
        let (filter, mut cursor) = (Filter::of([stage]), None::<Cursor>);
        // More than an honest listing of so few tasks takes.
        for _ in 0..3 {
            let limit = dice.random_range(0..1_100);
            let page = queue.list(&filter, cursor.as_ref(), limit).await;
            said(&page);
            let Ok(page) = page else { break };
            ids.extend(page.tasks.iter().map(|listed| listed.task.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    said(&queue.schedules().await);
    said(&queue.run_schedule("often").await);
    said(&queue.promote_now(&ids).await);
    for id in &ids {
        let edit = Edit {
            payload: payload(2_000_000),
            retry: dice.random_bool(0.5),
        };
        said(&queue.edit(id, &edit).await);
        said(&queue.set_priority(id, "low").await);
    }
    let other = format!("{}-other", name.name());
    let other = client.queue(QueueName::new(name.namespace(), &other).unwrap());
    if dice.random_bool(0.2) {
        said(&queue.letters(&Selection::All).await);
        said(&queue.redrive_into(&other, &ids).await);
    }
    said(&queue.clean(Duration::from_hours(1)).await);
    if dice.random_bool(0.1) {
        for pending in [Pending::Blocked, Pending::Waiting, Pending::Scheduled] {
            said(&queue.clear(pending, drop).await);
        }
    }
    said(&other.erase(false, drop).await);
    said(&queue.redrive(Selection::Ids(ids.clone())).await);
    said(&queue.purge(Selection::Ids(ids)).await);
    said(&queue.redrive(Selection::All).await);
    said(&queue.error_groups().await);
    said(&queue.forget_error_groups(&[]).await);
    said(&queue.promote().await);
    said(&queue.tidy().await);
    let workers = queue.workers().await;
    said(&workers);
    for worker in workers.unwrap_or_default() {
        let span = Duration::from_millis(dice.random_range(0..300));
        said(&queue.drain(&[worker.id], span).await);
        if dice.random_bool(0.5) {
            said(&queue.undrain(&[worker.id]).await);
        }
    }
    said(&queue.reclaim().await);
    let policy = Policy {
        max_losses: dice.random_range(2..5),
        ..Policy::default()
    };
    said(&queue.configure(&policy).await);
    for figures in client.snapshot(&[queue.clone(), queue]).await {
        said(&figures);
    }
}

/// An error has a text, and debugging it does not fail.
fn said<T: std::fmt::Debug>(result: &Result<T, Error>) {
    match result {
        Ok(value) => assert!(!format!("{value:?}").is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub(super) async fn figures(client: &Client, queue: &Queue) -> Result<Snapshot, Error> {
    client.snapshot(std::slice::from_ref(queue)).await.remove(0)
}

/// Runs a worker of an honest client until nothing is left to run.
pub(super) async fn drained(client: &Client, queue: &Queue, lease: Duration) {
    let stop = CancellationToken::new();
    let handler = |_: LeasedTask| async { Outcome::Completed(None) };
    let worker = Worker::new(queue.clone(), handler)
        .concurrency(10)
        .lease(lease);
    let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    eventually(SOON, "nothing left to run", async || {
        let figures = figures(client, queue).await.unwrap();
        let rest = figures.backlog() + figures.scheduled + figures.active;
        (rest == 0).then_some(())
    })
    .await;
    stop.cancel();
    run.await.unwrap().unwrap();
}

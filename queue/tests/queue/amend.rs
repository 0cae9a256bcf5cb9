//! Tasks that do not run are changed: another payload, another level, at once instead of later.

use std::collections::HashMap;
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, ids};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Amended, Client, Edit, Error, Payload, Policy, Queue, Selection, State, TaskId,
};
use tokio::sync::mpsc::unbounded_channel;

use crate::testbed::{Running, next, per_key, queue, recording, snapshot, task, tasks, until};

const HOUR: Duration = Duration::from_hours(1);
/// Tasks that are edited while a worker runs them.
const COUNT: u32 = 400;

fn edit(number: u32) -> Edit {
    Edit {
        payload: Payload::of(&number).unwrap(),
        retry: false,
    }
}

async fn die(_: LeasedTask) -> Outcome {
    Outcome::Dead {
        error: "no".to_owned(),
    }
}

async fn hang(_: LeasedTask) -> Outcome {
    std::future::pending().await
}

/// A worker that holds a task, which is all that waits.
async fn held(client: &Client, queue: &Queue) -> (Running, TaskId) {
    let id = queue.enqueue(task(0)).await.unwrap().id();
    let worker = Running::start(Worker::new(queue.clone(), hang));
    until(client, queue, "it runs", |s| s.active == 1).await;
    (worker, id)
}

/// Enqueues these tasks, all of which die.
async fn dead(client: &Client, queue: &Queue, all: Vec<taskqueue_queue::NewTask>) -> Vec<TaskId> {
    let count = all.len() as u64;
    let letters = ids(&queue.enqueue_many(all).await.unwrap());
    let worker = Running::start(Worker::new(queue.clone(), die));
    until(client, queue, "dead", |s| s.dead == count).await;
    worker.stop().await;
    letters
}

async fn payload(queue: &Queue, id: &TaskId) -> u32 {
    let task = queue.get(id).await.unwrap().unwrap();
    task.payload.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_scheduled_task_that_is_promoted_runs_at_once() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    until(&client, &queue, "it is there", |s| s.workers == 1).await;
    let later = [1, 2].map(|n| task(n).delay(HOUR));
    let later = ids(&queue.enqueue_many(later.to_vec()).await.unwrap());
    assert_eq!(
        queue.promote_now(&later[..1]).await.unwrap(),
        [Amended::Done]
    );
    assert_eq!(next(&mut seen, 1).await, [1]);
    until(&client, &queue, "completed", |s| s.counters.completed == 1).await;
    worker.stop().await;
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.scheduled, figures.backlog()), (1, 0));

    let unknown = "00000000000000000000".parse().unwrap();
    assert_eq!(
        queue
            .promote_now(&[later[1], later[1], later[0], unknown])
            .await
            .unwrap(),
        [
            Amended::Done,
            Amended::Unchanged,
            Amended::Ended,
            Amended::Unknown
        ]
    );
    let task = queue.get(&later[1]).await.unwrap().unwrap();
    assert_eq!(task.state, State::Waiting);
    let now = snapshot(&queue, &client).await.now;
    assert!(task.due.is_some_and(|due| due <= now), "{task:?}");
}

#[tokio::test]
async fn what_is_to_be_retried_runs_at_once_when_it_is_promoted_and_keeps_its_attempts() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let retry = |_: LeasedTask| async {
        Outcome::Retry {
            error: "not yet".to_owned(),
            after: Some(HOUR),
        }
    };
    let worker = Running::start(Worker::new(queue.clone(), retry));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    until(&client, &queue, "it failed", |s| s.scheduled == 1).await;
    assert_eq!(queue.promote_now(&[id]).await.unwrap(), [Amended::Done]);
    until(&client, &queue, "it failed again", |s| {
        s.counters.failed == 2 && s.scheduled == 1
    })
    .await;
    worker.stop().await;
    let task = queue.get(&id).await.unwrap().unwrap();
    assert_eq!((task.attempts, task.errors.len()), (2, 2));
}

#[tokio::test]
async fn a_promoted_task_whose_key_has_no_room_waits_for_it() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    queue.configure(&per_key(Some(1))).await.unwrap();
    let keyed = |n| task(n).concurrency_key("k");
    queue.enqueue(keyed(1)).await.unwrap();
    let later = queue.enqueue(keyed(2).delay(HOUR)).await.unwrap().id();
    assert_eq!(
        queue.promote_now(&[later]).await.unwrap(),
        [Amended::Blocked]
    );
    let figures = snapshot(&queue, &client).await;
    assert_eq!(
        (figures.backlog(), figures.blocked, figures.scheduled),
        (1, 1, 0)
    );
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue, handler));
    assert_eq!(next(&mut seen, 2).await, [1, 2]);
    worker.stop().await;
}

#[tokio::test]
async fn a_task_has_the_payload_that_it_was_given_wherever_it_waits() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    queue.configure(&per_key(Some(1))).await.unwrap();
    let letter = dead(&client, &queue, vec![task(0)]).await[0];
    let keyed = |n| task(n).concurrency_key("k");
    let waiting = vec![
        task(1),
        keyed(2),
        keyed(3),
        task(4).unique("u", HOUR).expires_in(HOUR),
        task(5).delay(HOUR),
    ];
    let waiting = ids(&queue.enqueue_many(waiting).await.unwrap());
    for (id, number) in waiting.iter().chain([&letter]).zip(11..) {
        let before = queue.get(id).await.unwrap().unwrap();
        assert_eq!(queue.edit(id, &edit(number)).await.unwrap(), Amended::Done);
        let mut after = queue.get(id).await.unwrap().unwrap();
        assert_eq!(payload(&queue, id).await, number);
        after.payload.clone_from(&before.payload);
        assert_eq!(after, before, "nothing else has changed");
    }
    let figures = snapshot(&queue, &client).await;
    assert_eq!(
        (
            figures.backlog(),
            figures.blocked,
            figures.scheduled,
            figures.dead
        ),
        (3, 1, 1, 1)
    );
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    let mut numbers = next(&mut seen, 4).await;
    numbers.sort_unstable();
    assert_eq!(numbers, [11, 12, 13, 14]);
    worker.stop().await;
}

#[tokio::test]
async fn what_runs_or_has_ended_keeps_its_payload_and_one_that_is_too_large_is_refused() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let policy = Policy {
        max_payload_bytes: 10,
        ..Policy::default()
    };
    queue.configure(&policy).await.unwrap();
    let ended = queue.enqueue(task(1)).await.unwrap().id();
    queue.cancel(&ended).await.unwrap();
    let (worker, active) = held(&client, &queue).await;
    let unknown = "00000000000000000000".parse().unwrap();
    for (id, expected) in [
        (active, Amended::Active),
        (ended, Amended::Ended),
        (unknown, Amended::Unknown),
    ] {
        assert_eq!(queue.edit(&id, &edit(7)).await.unwrap(), expected);
        assert_eq!(queue.set_priority(&id, "low").await.unwrap(), expected);
        assert_eq!(queue.promote_now(&[id]).await.unwrap(), [expected]);
    }
    assert_eq!(payload(&queue, &active).await, 0);
    let large = Edit {
        payload: Payload::of("0123456789").unwrap(),
        retry: false,
    };
    let refused = queue.edit(&active, &large).await.unwrap_err();
    assert_eq!(refused.to_string(), "payload has 12 bytes, the limit is 10");
    worker.abort().await;
}

#[tokio::test]
async fn a_worker_runs_the_payload_that_an_edit_says_it_has() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let all = ids(&queue.enqueue_many(tasks(0..COUNT)).await.unwrap());
    let (sender, mut ran) = unbounded_channel();
    let handler = move |task: LeasedTask| {
        let sender = sender.clone();
        async move {
            let number: u32 = task.payload.parse().unwrap();
            let _ = sender.send((task.id, number));
            Outcome::Completed(None)
        }
    };
    // Each is edited while a worker takes one after the other from the other end.
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(1));
    let mut said = HashMap::new();
    for (id, number) in all.iter().zip(0..COUNT).rev() {
        let amended = queue.edit(id, &edit(COUNT + number)).await.unwrap();
        assert!(
            matches!(amended, Amended::Done | Amended::Active | Amended::Ended),
            "{amended:?}"
        );
        let now = if amended == Amended::Done { COUNT } else { 0 };
        said.insert(*id, now + number);
    }
    until(&client, &queue, "all done", |s| {
        s.counters.completed == u64::from(COUNT)
    })
    .await;
    worker.stop().await;
    while let Ok((id, number)) = ran.try_recv() {
        assert_eq!(said.remove(&id), Some(number));
    }
    assert!(said.is_empty(), "{} did not run", said.len());
}

#[tokio::test]
async fn a_dead_letter_goes_round_again_with_its_new_payload() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let unique = |n| task(n).unique("u", HOUR);
    let letters = dead(&client, &queue, vec![unique(1), task(2)]).await;
    let again = Edit {
        retry: true,
        ..edit(9)
    };
    let stands = queue.enqueue(unique(3)).await.unwrap().id();
    assert_eq!(
        queue.edit(&letters[0], &again).await.unwrap(),
        Amended::Outdone(stands)
    );
    assert_eq!(payload(&queue, &letters[0]).await, 1);
    queue.cancel(&stands).await.unwrap();
    for id in &letters {
        assert_eq!(queue.edit(id, &again).await.unwrap(), Amended::Retried);
        let task = queue.get(id).await.unwrap().unwrap();
        assert_eq!((task.state, task.attempts), (State::Waiting, 0));
        assert_eq!(task.errors.len(), 1);
        // Once more changes the payload alone.
        assert_eq!(queue.edit(id, &again).await.unwrap(), Amended::Done);
    }
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.dead, figures.counters.redriven), (0, 2));
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    assert_eq!(next(&mut seen, 2).await, [9, 9]);
    worker.stop().await;
}

#[tokio::test]
async fn a_task_moves_to_the_tail_of_another_level_wherever_it_waits() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    queue.configure(&per_key(Some(1))).await.unwrap();
    let letter = dead(&client, &queue, vec![task(0).priority("low")]).await[0];
    let high = |n| task(n).priority("high");
    let keyed = |n| task(n).concurrency_key("k");
    let all = vec![
        high(1),
        task(2),
        task(3),
        keyed(4),
        keyed(5),
        task(6).delay(HOUR),
    ];
    let all = ids(&queue.enqueue_many(all).await.unwrap());
    for place in [2, 3, 4, 5] {
        let id = &all[place];
        let moved = queue.set_priority(id, "high").await.unwrap();
        assert_eq!(moved, Amended::Done);
        let again = queue.set_priority(id, "high").await.unwrap();
        assert_eq!(again, Amended::Unchanged);
        let task = queue.get(id).await.unwrap().unwrap();
        assert_eq!(task.priority.as_deref(), Some("high"));
    }
    let moved = queue.set_priority(&letter, "high").await.unwrap();
    assert_eq!(moved, Amended::Done);
    let figures = snapshot(&queue, &client).await;
    let by_level: Vec<u64> = figures.waiting.iter().map(|(_, tasks)| *tasks).collect();
    assert_eq!(by_level, [3, 1, 0]);
    assert_eq!(
        (figures.blocked, figures.scheduled, figures.dead),
        (1, 1, 1)
    );
    assert_eq!(queue.promote_now(&all[5..]).await.unwrap(), [Amended::Done]);
    let all_dead = Selection::All;
    assert_eq!(queue.redrive(all_dead).await.unwrap().moved, 1);
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(1));
    // The one that is blocked comes in when the one before it has ended.
    let numbers = next(&mut seen, 7).await;
    let order: Vec<_> = numbers.iter().filter(|n| **n != 5).copied().collect();
    assert_eq!(order, [1, 3, 4, 6, 0, 2], "{numbers:?}");
    worker.stop().await;

    let refused = queue.set_priority(&letter, "urgent").await.unwrap_err();
    assert!(matches!(refused, Error::UnknownLevel { .. }), "{refused}");
    assert!(
        refused.to_string().contains("high, normal, low"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_task_that_lies_deep_in_a_long_list_stays_and_the_answer_says_so() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let all = ids(&queue.enqueue_all(tasks(0..200_001)).await.unwrap());
    // 100,000 are before it, and behind it.
    let stays = queue.set_priority(&all[100_000], "high").await.unwrap();
    assert_eq!(stays, Amended::Deep);
    assert_eq!(
        queue
            .get(&all[100_000])
            .await
            .unwrap()
            .unwrap()
            .priority
            .as_deref(),
        Some("normal")
    );
    // One less before it, one less behind it, and then it is near enough itself.
    for place in [99_999, 100_001, 100_000] {
        let moved = queue.set_priority(&all[place], "high").await.unwrap();
        assert_eq!(moved, Amended::Done, "{place}");
    }
    let figures = snapshot(&queue, &client).await;
    let by_level: Vec<u64> = figures.waiting.iter().map(|(_, tasks)| *tasks).collect();
    assert_eq!(by_level, [3, 199_998, 0]);
}

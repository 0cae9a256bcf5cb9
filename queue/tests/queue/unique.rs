//! Unique keys: one unfinished task for each.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Cancelled, Enqueued, NewTask, Outdone, Queue, Selection, State, TaskId};

use crate::testbed::{self, Running, SOON, next, queue, recording, snapshot, task, until};

const HOUR: Duration = Duration::from_hours(1);

fn unique(number: u32, key: &str) -> NewTask {
    task(number).unique(key, HOUR)
}

#[tokio::test]
async fn the_same_id_comes_back_until_the_task_completes() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let first = queue.enqueue(unique(1, "report")).await.unwrap();
    assert!(matches!(first, Enqueued::New(_)));
    // By anyone, and whatever else the task says.
    let other = testbed::queue(&redis).await;
    let again = other
        .enqueue(unique(2, "report").delay(HOUR))
        .await
        .unwrap();
    assert_eq!(again, Enqueued::Existing(first.id()));
    let another = queue.enqueue(unique(3, "another")).await.unwrap();
    assert!(matches!(another, Enqueued::New(_)));
    assert_eq!(snapshot(&queue, &client).await.counters.enqueued, 2);

    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    assert_eq!(next(&mut seen, 2).await, [1, 3]);
    until(&client, &queue, "completed", |s| s.counters.completed == 2).await;
    let anew = queue.enqueue(unique(4, "report")).await.unwrap();
    assert!(matches!(anew, Enqueued::New(id) if id != first.id()));
    assert_eq!(next(&mut seen, 1).await, [4]);
    worker.stop().await;
}

#[tokio::test]
async fn two_in_one_batch_are_one_task() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let batch = vec![unique(1, "a"), task(2), unique(3, "a"), unique(4, "b")];
    let answers = queue.enqueue_many(batch).await.unwrap();
    let is_new: Vec<bool> = answers
        .iter()
        .map(|answer| matches!(answer, Enqueued::New(_)))
        .collect();
    assert_eq!(is_new, [true, true, false, true]);
    assert_eq!(answers[2].id(), answers[0].id());
}

#[tokio::test]
async fn callers_at_the_same_time_get_one_task() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let calls = (0..32).map(|n| queue.enqueue(unique(n, "only")));
    let answers = futures::future::try_join_all(calls).await.unwrap();
    let new = answers.iter().filter(|a| matches!(a, Enqueued::New(_)));
    assert_eq!(new.count(), 1);
    assert!(answers.iter().all(|answer| answer.id() == answers[0].id()));
}

#[tokio::test]
async fn a_key_is_free_again_when_its_time_is_over() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let brief = || task(1).unique("brief", Duration::from_millis(200));
    let first = queue.enqueue(brief()).await.unwrap().id();
    let second = eventually(SOON, "free", async || {
        let answer = queue.enqueue(brief()).await.unwrap();
        matches!(answer, Enqueued::New(_)).then_some(answer.id())
    })
    .await;
    assert_ne!(first, second);
    // While there is a task, it is not asked for.
    let client = redis.client().await;
    assert_eq!(snapshot(&queue, &client).await.tidy_at, None);
    // The end of the one that had it before does not free it.
    queue.cancel(&first).await.unwrap();
    let third = queue.enqueue(unique(3, "brief")).await.unwrap();
    assert_eq!(third, Enqueued::Existing(second));
}

#[tokio::test]
async fn a_key_is_free_again_after_death_and_after_cancellation() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let first = queue.enqueue(unique(1, "k")).await.unwrap().id();
    assert_eq!(queue.cancel(&first).await.unwrap(), Cancelled::Removed);
    let second = queue.enqueue(unique(2, "k")).await.unwrap();
    assert!(matches!(second, Enqueued::New(_)));
    let die = |_: LeasedTask| async {
        Outcome::Dead {
            error: "no".to_owned(),
        }
    };
    let worker = Running::start(Worker::new(queue.clone(), die));
    eventually(SOON, "dead", async || {
        let task = queue.get(&second.id()).await.unwrap();
        task.filter(|task| task.state == State::Dead)
    })
    .await;
    worker.stop().await;
    let third = queue.enqueue(unique(3, "k")).await.unwrap();
    assert!(matches!(third, Enqueued::New(_)));
}

#[tokio::test]
async fn a_key_is_kept_through_retries() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let retry = |_: LeasedTask| async {
        Outcome::Retry {
            error: "not yet".to_owned(),
            after: Some(HOUR),
        }
    };
    let first = queue.enqueue(unique(1, "k")).await.unwrap().id();
    let worker = Running::start(Worker::new(queue.clone(), retry));
    let client = redis.client().await;
    until(&client, &queue, "failed", |s| s.scheduled == 1).await;
    worker.stop().await;
    let again = queue.enqueue(unique(2, "k")).await.unwrap();
    assert_eq!(again, Enqueued::Existing(first));
}

async fn dead(queue: &Queue, id: &TaskId) {
    eventually(SOON, "dead", async || {
        let task = queue.get(id).await.unwrap();
        task.filter(|task| task.state == State::Dead)
    })
    .await;
}

async fn die(_: LeasedTask) -> Outcome {
    Outcome::Dead {
        error: "no".to_owned(),
    }
}

#[tokio::test]
async fn a_dead_letter_that_is_retried_has_its_key_again_until_it_ends() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let brief = || task(1).unique("k", Duration::from_millis(200));
    let first = queue.enqueue(brief()).await.unwrap().id();
    let worker = Running::start(Worker::new(queue.clone(), die));
    dead(&queue, &first).await;
    worker.stop().await;
    let redriven = queue.redrive(Selection::Ids(vec![first])).await.unwrap();
    assert_eq!((redriven.moved, redriven.outdone), (1, vec![]));
    // Not only for the time that was given once.
    let later = snapshot(&queue, &client).await.now + Duration::from_millis(300);
    until(&client, &queue, "the time has passed", |s| s.now > later).await;
    queue.tidy().await.unwrap();
    let again = queue.enqueue(unique(2, "k")).await.unwrap();
    assert_eq!(again, Enqueued::Existing(first));
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    assert_eq!(next(&mut seen, 1).await, [1]);
    until(&client, &queue, "completed", |s| s.counters.completed == 1).await;
    worker.stop().await;
    let anew = queue.enqueue(unique(3, "k")).await.unwrap();
    assert!(matches!(anew, Enqueued::New(_)));
}

#[tokio::test]
async fn a_dead_letter_whose_key_another_task_has_stays_and_the_answer_says_so() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut letters = Vec::new();
    let worker = Running::start(Worker::new(queue.clone(), die));
    // Two with one key, one with another, and one with none.
    for key in [Some("k"), Some("k"), Some("other"), None] {
        let one = task(1);
        let one = key.map_or(one.clone(), |key| one.unique(key, HOUR));
        let id = queue.enqueue(one).await.unwrap().id();
        dead(&queue, &id).await;
        letters.push(id);
    }
    worker.stop().await;
    let stands = queue.enqueue(unique(2, "other")).await.unwrap().id();
    let redriven = queue.redrive(Selection::All).await.unwrap();
    let outdone = |letter, holder| Outdone { letter, holder };
    let expected = vec![outdone(letters[1], letters[0]), outdone(letters[2], stands)];
    assert_eq!((redriven.moved, redriven.outdone), (2, expected));
    for (letter, state) in
        letters
            .iter()
            .zip([State::Waiting, State::Dead, State::Dead, State::Waiting])
    {
        assert_eq!(queue.get(letter).await.unwrap().unwrap().state, state);
    }
    // Once the others have ended, they go.
    for id in [letters[0], stands] {
        assert_eq!(queue.cancel(&id).await.unwrap(), Cancelled::Removed);
    }
    let these = Selection::Ids(vec![letters[1], letters[2]]);
    let redriven = queue.redrive(these).await.unwrap();
    assert_eq!((redriven.moved, redriven.outdone), (2, vec![]));
}

#[tokio::test]
async fn a_dead_letter_named_twice_waits_once() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let worker = Running::start(Worker::new(queue.clone(), die));
    dead(&queue, &id).await;
    worker.stop().await;
    let twice = Selection::Ids(vec![id, id]);
    assert_eq!(queue.redrive(twice).await.unwrap().moved, 1);
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.backlog(), figures.counters.redriven), (1, 1));
}

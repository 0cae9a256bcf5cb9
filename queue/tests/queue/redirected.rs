//! Dead letters that go round in another queue.

use std::time::Duration;

use taskqueue_queue::testing::{Cluster, RedisServer, ids};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Client, Error, Limits, Outdone, Policy, Queue, Selection, State, TaskId};

use crate::testbed::{Running, limited, name, next, queue, recording, snapshot, task, until};

const HOUR: Duration = Duration::from_hours(1);

/// Three letters: of an own level, with a unique key, and with a concurrency key.
async fn letters(client: &Client, queue: &Queue) -> Vec<TaskId> {
    let all = vec![
        task(1).priority("high"),
        task(2).unique("u", HOUR).expires_in(HOUR),
        task(3).concurrency_key("k"),
    ];
    let letters = ids(&queue.enqueue_many(all).await.unwrap());
    let die = |_: LeasedTask| async {
        Outcome::Dead {
            error: "no".to_owned(),
        }
    };
    let worker = Running::start(Worker::new(queue.clone(), die));
    until(client, queue, "dead", |s| s.dead == 3).await;
    worker.stop().await;
    letters
}

async fn runs_all(queue: &Queue) {
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    let mut numbers = next(&mut seen, 3).await;
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(worker.stop().await.completed, 3);
}

#[tokio::test]
async fn letters_go_round_in_the_other_queue_with_their_ids_and_history() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let letters = letters(&client, &queue).await;
    let target = client.queue(name("other"));
    let two = Policy {
        levels: vec!["fast".to_owned(), "slow".to_owned()],
        ..Policy::default()
    };
    target.configure(&two).await.unwrap();
    let waits = queue.enqueue(task(9)).await.unwrap().id();
    let asked = [&letters[..], &[waits]].concat();
    let moved = queue.redrive_into(&target, &asked).await.unwrap();
    assert_eq!((moved.moved, moved.outdone), (3, vec![]));
    for id in &letters {
        assert_eq!(queue.get(id).await.unwrap(), None);
        let task = target.get(id).await.unwrap().unwrap();
        assert_eq!((task.state, task.attempts), (State::Waiting, 0));
        assert_eq!((task.errors.len(), task.expires), (1, None));
        assert_eq!(task.priority.as_deref(), Some("slow"));
    }
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.dead, figures.counters.purged), (0, 3));
    assert_eq!(
        queue.get(&waits).await.unwrap().unwrap().state,
        State::Waiting
    );
    runs_all(&target).await;
}

#[tokio::test]
async fn a_call_that_died_between_the_two_queues_is_made_again_and_doubles_nothing() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let letters = letters(&client, &queue).await;
    let target = client.queue(name("other"));
    // As if they had not been thrown away here, twice: while they wait there, and when they have ended.
    for kept in ["tasks", "dead"] {
        let _: u64 = redis
            .command(&format!("COPY tq:{{test/jobs}}:{kept} copy:{kept}"))
            .await;
    }
    for round in 0..3 {
        let all = queue.letters(&Selection::All).await.unwrap();
        assert_eq!(all, letters, "{round}");
        let moved = queue.redrive_into(&target, &all).await.unwrap();
        assert_eq!(moved.moved, 3, "{round}");
        let figures = snapshot(&target, &client).await;
        assert_eq!(figures.counters.enqueued, 3, "{round}");
        for kept in ["tasks", "dead"] {
            let _: u64 = redis
                .command(&format!("COPY copy:{kept} tq:{{test/jobs}}:{kept}"))
                .await;
        }
        if round == 1 {
            runs_all(&target).await;
        }
    }
}

#[tokio::test]
async fn letters_that_the_other_queue_cannot_take_stay() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let letters = letters(&client, &queue).await;
    let same = queue.redrive_into(&queue, &letters).await.unwrap_err();
    assert!(same.to_string().contains("another queue"), "{same}");
    let target = client.queue(name("other"));
    target
        .configure(&limited(Limits {
            max_backlog: Some(2),
            ..Limits::default()
        }))
        .await
        .unwrap();
    let full = queue.redrive_into(&target, &letters).await.unwrap_err();
    assert!(matches!(full, Error::Backlog { .. }), "{full}");
    let small = Policy {
        max_payload_bytes: 0,
        ..Policy::default()
    };
    target.configure(&small).await.unwrap();
    let large = queue.redrive_into(&target, &letters).await.unwrap_err();
    assert!(matches!(large, Error::TooLarge { .. }), "{large}");
    assert_eq!(snapshot(&queue, &client).await.dead, 3);
    assert_eq!(snapshot(&target, &client).await.counters.enqueued, 0);

    target.configure(&Policy::default()).await.unwrap();
    let unique = task(2).unique("u", HOUR);
    let holder = target.enqueue(unique).await.unwrap().id();
    let moved = queue.redrive_into(&target, &letters).await.unwrap();
    let letter = letters[1];
    assert_eq!(
        (moved.moved, moved.outdone),
        (2, vec![Outdone { letter, holder }])
    );
    let left = queue.letters(&Selection::All).await.unwrap();
    assert_eq!(left, [letter]);
}

#[tokio::test]
async fn the_other_queue_may_be_on_another_node_of_a_cluster() {
    let cluster = Cluster::start().await;
    let client = Client::connect(&cluster.endpoint()).await.unwrap();
    let [queue, target] = [0, 1].map(|place| client.queue(cluster.queue_on(place)));
    let letters = letters(&client, &queue).await;
    let moved = queue.redrive_into(&target, &letters).await.unwrap();
    assert_eq!(moved.moved, 3);
    runs_all(&target).await;
    assert_eq!(snapshot(&queue, &client).await.dead, 0);
}

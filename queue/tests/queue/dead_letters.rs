//! Choosing dead letters, to send them round again or to throw them away.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, fitting, listed};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Cause, Error, Filter, Moment, NewTask, Payload, Queue, Selection, Stage, Task, fingerprint,
};

use crate::testbed::{Running, number, queue, snapshot, until};

fn numbers(tasks: &[Task]) -> Vec<u32> {
    let numbers = tasks
        .iter()
        .map(|task| task.payload.as_ref().unwrap().parse().unwrap());
    numbers.collect()
}

/// Dead letters of two types with different messages.
async fn graveyard(redis: &RedisServer, queue: &Queue, count: u32) {
    let kind = |n: u32| if n.is_multiple_of(2) { "mail" } else { "sms" };
    let letters = (0..count).map(|n| NewTask::new(kind(n), Payload::of(&n).unwrap()));
    queue.enqueue_many(letters.collect()).await.unwrap();
    let die = |task: LeasedTask| async move {
        let error = match number(&task) % 3 {
            0 => "no route".to_owned(),
            n => format!("code {n} from the relay"),
        };
        Outcome::Dead { error }
    };
    let worker = Running::start(Worker::new(queue.clone(), die).concurrency(50));
    let client = redis.client().await;
    until(&client, queue, "dead", |s| s.dead == u64::from(count)).await;
    worker.stop().await;
}

fn filter(kind: Option<&str>, error: Option<&str>, older_than: Option<Duration>) -> Selection {
    Selection::Matching(Filter {
        kind: kind.map(str::to_owned),
        error: error.map(str::to_owned),
        ended_before: older_than.map(Moment::Ago),
        ..Filter::default()
    })
}

#[tokio::test]
async fn dead_letters_are_redriven_and_purged_by_filter() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    graveyard(&redis, &queue, 2_400).await;
    let old = filter(None, None, Some(Duration::from_hours(1)));
    assert_eq!(queue.purge(old.clone()).await.unwrap(), 0);
    assert_eq!(queue.redrive(old).await.unwrap().moved, 0);
    let mail = filter(Some("mail"), Some("code 1 "), None);
    assert_eq!(queue.redrive(mail).await.unwrap().moved, 400);
    let found = listed(&queue, &[Stage::Waiting], 7).await;
    assert!(numbers(&found).iter().all(|n| n % 2 == 0 && n % 3 == 1));
    assert!(
        found
            .iter()
            .all(|task| task.attempts == 0 && task.errors.len() == 1)
    );
    let code = filter(None, Some("code 2"), Some(Duration::ZERO));
    assert_eq!(queue.purge(code).await.unwrap(), 800);
    let left = listed(&queue, &[Stage::Dead], 7).await;
    assert!(numbers(&left).iter().all(|n| n % 3 == 0 || n % 2 == 1));
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.dead, figures.backlog()), (1_200, 400));
    let chosen = vec![left[0].id, left[1].id, found[0].id];
    assert_eq!(queue.purge(Selection::Ids(chosen)).await.unwrap(), 2);

    // The group of a failure, whatever the numbers in its message.
    let group = |kind: &str, message| Filter {
        group: Some(fingerprint(kind, Cause::Error, message)),
        ..Filter::of([Stage::Dead])
    };
    let sms = group("sms", "code 17 from the relay");
    assert!(!fitting(&queue, &sms, 100).await.is_empty());
    assert!(
        fitting(&queue, &group("mail", "code 17 from the relay"), 100)
            .await
            .is_empty()
    );
    let purged = queue.purge(Selection::Matching(sms.clone())).await.unwrap();
    assert!((398..=400).contains(&purged), "{purged}");
    assert!(fitting(&queue, &sms, 100).await.is_empty());

    let wrong = Selection::Matching(Filter::of([Stage::Waiting]));
    let refused = queue.purge(wrong).await.unwrap_err();
    assert!(
        matches!(refused, Error::Invalid { field: "state", .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn letters_that_cannot_be_read_stay_and_do_not_keep_the_others() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    graveyard(&redis, &queue, 500).await;
    let mut raw = redis.connection().await;
    let oldest: Vec<String> = redis::cmd("ZRANGE")
        .arg("tq:{test/jobs}:dead")
        .arg(&[0, 2])
        .query_async(&mut raw)
        .await
        .unwrap();
    for id in &oldest {
        let mut command = redis::cmd("HSET");
        command.arg("tq:{test/jobs}:tasks").arg(id).arg("nonsense");
        command.exec_async(&mut raw).await.unwrap();
    }
    assert_eq!(queue.redrive(Selection::All).await.unwrap().moved, 497);
    let figures = snapshot(&queue, &redis.client().await).await;
    assert_eq!((figures.dead, figures.backlog()), (3, 497));
    assert_eq!(queue.purge(Selection::All).await.unwrap(), 3);
}

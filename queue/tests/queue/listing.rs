//! Listing tasks page by page, in every state and by every filter.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use taskqueue_queue::testing::{Cluster, RedisServer, fitting, ids, listed};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Client, Cursor, Error, Filter, Moment, NewTask, Payload, PayloadIs, Policy, Queue, Stage,
    State, Task,
};

use crate::testbed::{Running, large_tasks, name, per_key, queue, recording, task, tasks, until};

/// All in a stage, a few at a time.
async fn all(queue: &Queue, stage: Stage) -> Vec<Task> {
    listed(queue, &[stage], 7).await
}

fn numbers(tasks: &[Task]) -> Vec<u32> {
    let numbers = tasks
        .iter()
        .map(|task| task.payload.as_ref().unwrap().parse().unwrap());
    numbers.collect()
}

fn are(tasks: &[Task], state: State) {
    assert!(tasks.iter().all(|task| task.state == state), "{tasks:?}");
}

fn in_level(level: &str) -> Filter {
    Filter {
        level: Some(level.to_owned()),
        ..Filter::of([Stage::Waiting])
    }
}

async fn raw(redis: &RedisServer, words: &str) {
    let _: redis::Value = redis.command(words).await;
}

#[tokio::test]
async fn waiting_tasks_are_listed_level_by_level_the_next_one_first() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let enqueued = queue.enqueue_many(tasks(0..20)).await.unwrap();
    queue.enqueue(task(99).priority("high")).await.unwrap();
    queue.enqueue(task(98).priority("low")).await.unwrap();
    let found = all(&queue, Stage::Waiting).await;
    are(&found, State::Waiting);
    let expected: Vec<u32> = [99].into_iter().chain(0..20).chain([98]).collect();
    assert_eq!(numbers(&found), expected);
    for (level, expected) in [("high", &[99][..]), ("low", &[98])] {
        assert_eq!(
            numbers(&fitting(&queue, &in_level(level), 1).await),
            expected
        );
    }
    // One that was cancelled is not listed, though it is looked at.
    queue.cancel(&enqueued[3].id()).await.unwrap();
    let page = queue.list(&in_level("normal"), None, 5).await.unwrap();
    assert_eq!(page.looked, 6);
    let next = page.next.clone().unwrap();
    assert_eq!(numbers(&page.into_tasks()), [0, 1, 2, 4, 5]);
    let page = queue.list(&in_level("normal"), Some(&next), 1_000).await;
    let page = page.unwrap();
    assert_eq!(page.next, None);
    assert_eq!(numbers(&page.into_tasks()), (6..20).collect::<Vec<_>>());
    let unknown = queue.list(&in_level("none"), None, 1).await;
    assert!(matches!(unknown, Err(Error::UnknownLevel { .. })));
}

#[tokio::test]
async fn all_scheduled_and_blocked_tasks_are_listed_in_their_order() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&per_key(Some(1))).await.unwrap();
    let at = |n: u32| task(n).delay(Duration::from_hours(1 + 24 * u64::from(60 - n)));
    queue.enqueue_many((0..20).map(at).collect()).await.unwrap();
    // And more that are due at the same time than go into a page.
    let then = Timestamp::now() + Duration::from_mins(10);
    let same = (20..60).map(|n| task(n).run_at(then));
    queue.enqueue_many(same.collect()).await.unwrap();
    let keyed = (0..20).map(|n| task(n).concurrency_key("k"));
    queue.enqueue_many(keyed.collect()).await.unwrap();
    let found = all(&queue, Stage::Scheduled).await;
    are(&found, State::Scheduled);
    let expected: Vec<u32> = (20..60).chain((0..20).rev()).collect();
    assert_eq!(numbers(&found), expected);
    assert!(found.is_sorted_by_key(|task| task.due.unwrap()));
    let found = all(&queue, Stage::Blocked).await;
    are(&found, State::Waiting);
    assert_eq!(numbers(&found), (1..20).collect::<Vec<_>>());
    assert_eq!(found[0].concurrency_key.as_deref(), Some("k"));
    // What has not ended, one stage behind the other.
    let found = fitting(&queue, &Filter::default(), 9).await;
    let expected: Vec<u32> = (0..20).chain(20..60).chain((0..20).rev()).collect();
    assert_eq!(numbers(&found), expected);
}

#[tokio::test]
async fn active_tasks_are_listed_with_their_workers() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let enqueued = queue.enqueue_many(tasks(0..20)).await.unwrap();
    let hang = |_: LeasedTask| async { std::future::pending::<Outcome>().await };
    let worker = Running::start(Worker::new(queue.clone(), hang).concurrency(20));
    until(&redis.client().await, &queue, "all run", |s| s.active == 20).await;
    let found = all(&queue, Stage::Active).await;
    are(&found, State::Active);
    let found_ids: Vec<_> = found.iter().map(|task| task.id).collect();
    assert_eq!(found_ids, ids(&enqueued));
    let worker_id = found[0].worker.unwrap();
    for (asked, count) in [(worker_id, 20), ("0".repeat(20).parse().unwrap(), 0)] {
        let filter = Filter {
            worker: Some(asked),
            ..Filter::default()
        };
        assert_eq!(fitting(&queue, &filter, 7).await.len(), count);
    }
    worker.abort().await;
}

/// Runs all that wait to their ends.
async fn complete(client: &Client, queue: &Queue, count: u64) {
    let (handler, _seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(50));
    until(client, queue, "done", |s| s.counters.completed == count).await;
    worker.stop().await;
}

#[tokio::test]
async fn ended_tasks_are_listed_whatever_their_end() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.enqueue_many(tasks(0..15)).await.unwrap();
    complete(&redis.client().await, &queue, 15).await;
    let rest = queue.enqueue_many(tasks(15..20)).await.unwrap();
    for one in &rest {
        queue.cancel(&one.id()).await.unwrap();
    }
    let found = listed(&queue, &Stage::ENDED, 3).await;
    assert_eq!(numbers(&found), (0..20).rev().collect::<Vec<_>>());
    let found = all(&queue, Stage::Cancelled).await;
    are(&found, State::Cancelled);
    assert_eq!(numbers(&found), (15..20).rev().collect::<Vec<_>>());
    assert_eq!(all(&queue, Stage::Completed).await.len(), 15);
    assert!(all(&queue, Stage::Expired).await.is_empty());
    // Buckets whose tasks are gone, but whose names are there still, hide nothing.
    let mut gone = redis::cmd("EVAL");
    gone.arg("for i = 1, 1200 do redis.call('HSET', KEYS[1], string.format('vv%07d', i), '1') end")
        .arg(1)
        .arg("tq:{test/jobs}:keptcount");
    gone.exec_async(&mut redis.connection().await)
        .await
        .unwrap();
    assert_eq!(listed(&queue, &Stage::ENDED, 3).await.len(), 20);
}

#[tokio::test]
async fn more_than_one_call_reads_is_listed_once_in_every_state() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    // Two buckets of other processes, one of them larger than is read at once.
    let mut script = redis::cmd("EVAL");
    let fill = "
        for i = 0, 6999 do
          redis.call('HSET', KEYS[1], '0000001000' .. string.format('%05d', i) .. '00000', ARGV[1])
          redis.call('HSET', KEYS[2], '0000002000' .. string.format('%05d', i) .. '00000', 'w' .. i)
          redis.call('HSET', KEYS[3], '0000002000' .. string.format('%05d', i) .. '00000', ARGV[2])
        end
        redis.call('HSET', KEYS[4], '000000100', '7000')";
    queue.enqueue(task(1)).await.unwrap();
    complete(&client, &queue, 1).await;
    let waits = queue.enqueue(task(2)).await.unwrap().id();
    let done = listed(&queue, &Stage::ENDED, 1).await[0].id;
    let mut connection = redis.connection().await;
    let mut get = async |key: &str, id: &str| -> Vec<u8> {
        let mut command = redis::cmd("HGET");
        command.arg(format!("tq:{{test/jobs}}:{key}")).arg(id);
        command.query_async(&mut connection).await.unwrap()
    };
    let done = get(&format!("done:{}", &done.as_str()[..9]), done.as_str()).await;
    let record = get("tasks", waits.as_str()).await;
    script.arg(fill).arg(4);
    for key in ["done:000000100", "active", "tasks", "keptcount"] {
        script.arg(format!("tq:{{test/jobs}}:{key}"));
    }
    script.arg(done).arg(record);
    let _: redis::Value = script
        .query_async(&mut redis.connection().await)
        .await
        .unwrap();
    for (stage, count) in [(Stage::Completed, 7_001), (Stage::Active, 7_000)] {
        let found = listed(&queue, &[stage], 1_000).await;
        let ids: BTreeSet<_> = found.iter().map(|task| task.id).collect();
        assert_eq!((found.len(), ids.len()), (count, count), "{stage:?}");
    }
}

#[tokio::test]
async fn a_task_that_cannot_be_read_hides_no_other() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let enqueued = queue.enqueue_many(tasks(0..6)).await.unwrap();
    for one in &enqueued[..3] {
        queue.cancel(&one.id()).await.unwrap();
    }
    for (key, id) in [
        (
            format!("done:{}", &enqueued[1].id().as_str()[..9]),
            enqueued[1].id(),
        ),
        ("tasks".to_owned(), enqueued[4].id()),
    ] {
        raw(
            &redis,
            &format!("HSET tq:{{test/jobs}}:{key} {id} nonsense"),
        )
        .await;
    }
    for limit in [1, 10] {
        let found = listed(&queue, &[Stage::Cancelled], limit).await;
        assert_eq!(numbers(&found), [2, 0]);
        let found = listed(&queue, &[Stage::Waiting], limit).await;
        assert_eq!(numbers(&found), [3, 5]);
    }
}

#[tokio::test]
async fn tasks_are_chosen_by_what_they_are() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let payload = |n: u32| {
        let text = format!(
            r#"{{"customer": {{"id": {}}}, "items": [{{"sku": "A-{n}"}}]}}"#,
            n % 3
        );
        Payload::json(text).unwrap()
    };
    let kind = |n: u32| if n.is_multiple_of(2) { "mail" } else { "sms" };
    for n in 0..12 {
        let task = NewTask::new(kind(n), payload(n)).concurrency_key(format!("c{}", n % 4));
        let task = task.unique(format!("u{n}"), Duration::from_hours(1));
        let task = task.delay(Duration::from_hours(u64::from(n)));
        let level = if n < 4 { "high" } else { "low" };
        queue.enqueue(task.priority(level)).await.unwrap();
    }
    let count = async |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        fitting(&queue, &filter, 5).await.len()
    };
    let hour = Duration::from_hours(1);
    assert_eq!(count(&|_| {}).await, 12);
    assert_eq!(count(&|f| f.kind = Some("mail".into())).await, 6);
    assert_eq!(count(&|f| f.key = Some("c1".into())).await, 3);
    assert_eq!(count(&|f| f.key = Some("u7".into())).await, 1);
    assert_eq!(count(&|f| f.level = Some("high".into())).await, 4);
    assert_eq!(
        count(&|f| f.created_before = Some(Moment::Ago(hour))).await,
        0
    );
    assert_eq!(
        count(&|f| f.created_after = Some(Moment::Ago(hour))).await,
        12
    );
    assert_eq!(count(&|f| f.error = Some("no".into())).await, 0);
    let with = |texts: &[&str]| -> Vec<PayloadIs> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    assert_eq!(count(&|f| f.payload = with(&["customer.id=1"])).await, 4);
    assert_eq!(
        count(&|f| f.payload = with(&["customer.id=1", "items[0].sku=A-4"])).await,
        1
    );
    assert_eq!(
        count(&|f| {
            f.kind = Some("mail".into());
            f.level = Some("low".into());
            f.payload = with(&["customer.id=0"]);
        })
        .await,
        1
    );
}

#[tokio::test]
async fn a_page_ends_when_it_has_looked_at_enough_and_the_next_goes_on() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    for part in 0..5 {
        let tasks = tasks(5_000 * part..5_000 * (part + 1));
        queue.enqueue_many(tasks).await.unwrap();
    }
    queue
        .enqueue(NewTask::new("rare", Payload::null()))
        .await
        .unwrap();
    let filter = Filter {
        kind: Some("rare".to_owned()),
        ..in_level("normal")
    };
    let page = queue.list(&filter, None, 10).await.unwrap();
    assert!(page.is_cut(10) && page.tasks.is_empty());
    assert!((20_000..21_000).contains(&page.looked), "{}", page.looked);
    assert_eq!(Filter::default().narrower(), "ask for one state");
    let page = queue.list(&filter, page.next.as_ref(), 10).await.unwrap();
    assert_eq!((page.tasks.len(), page.next), (1, None));
}

#[tokio::test]
async fn large_tasks_make_small_pages() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let policy = Policy {
        max_payload_bytes: 4 * 1024 * 1024,
        ..Policy::default()
    };
    queue.configure(&policy).await.unwrap();
    let large = Payload::of(&"x".repeat(900_000)).unwrap();
    for _ in 0..12 {
        let task = NewTask::new("large", large.clone());
        queue.enqueue(task).await.unwrap();
    }
    let page = queue.list(&Filter::default(), None, 100).await.unwrap();
    assert!((2..8).contains(&page.tasks.len()), "{}", page.tasks.len());
    assert!(page.is_cut(100));
    for limit in [1, 5, 100] {
        let found = listed(&queue, &[Stage::Waiting], limit).await;
        assert_eq!(found.len(), 12);
        assert!(found.is_sorted_by_key(|task| task.id));
    }
}

#[tokio::test]
async fn a_cursor_is_refused_where_it_cannot_go_on() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.enqueue_many(tasks(0..10)).await.unwrap();
    queue
        .enqueue_many((0..10).map(|n| task(n).priority("high")).collect())
        .await
        .unwrap();
    let waiting = Filter::of([Stage::Waiting]);
    let page = queue.list(&waiting, None, 5).await.unwrap();
    let cursor = page.next.unwrap();
    let cursor: Cursor = cursor.to_string().parse().unwrap();
    let refused = queue.list(&Filter::default(), Some(&cursor), 5).await;
    assert!(
        matches!(
            &refused,
            Err(Error::Invalid {
                field: "cursor",
                ..
            })
        ),
        "{refused:?}"
    );
    let other = redis.client().await.queue(name("other"));
    other.list(&waiting, Some(&cursor), 5).await.unwrap_err();

    // Its level is drained and gone.
    let narrow = Policy {
        levels: vec!["normal".into(), "low".into()],
        ..Policy::default()
    };
    queue.configure(&narrow).await.unwrap();
    // It is the last one now, and the others still come behind it.
    let rest = queue.list(&waiting, Some(&cursor), 100).await.unwrap();
    assert_eq!(rest.next, None);
    let expected: Vec<u32> = (5..10).chain(0..10).collect();
    assert_eq!(numbers(&rest.into_tasks()), expected);
    complete(&redis.client().await, &queue, 20).await;
    queue.configure(&narrow).await.unwrap();
    let rest = queue.list(&waiting, Some(&cursor), 100).await.unwrap();
    assert_eq!((rest.tasks.len(), rest.next), (0, None));

    // More came and went than is searched.
    queue.enqueue_many(tasks(0..10)).await.unwrap();
    let page = queue.list(&waiting, None, 5).await.unwrap();
    let mut crowd = redis::cmd("EVAL");
    crowd
        .arg("for i = 1, 30001 do redis.call('LPUSH', KEYS[1], 'x') redis.call('RPUSH', KEYS[1], 'x') end")
        .arg(1)
        .arg("tq:{test/jobs}:wait:low");
    let mut connection = redis.connection().await;
    crowd.exec_async(&mut connection).await.unwrap();
    let lost = queue
        .list(&waiting, page.next.as_ref(), 5)
        .await
        .unwrap_err();
    assert!(matches!(lost, Error::CursorLost { .. }), "{lost}");
    assert!(lost.to_string().contains("begin it anew"), "{lost}");
}

#[tokio::test]
async fn a_cluster_lists_as_one_server_does() {
    let cluster = Cluster::start().await;
    let client = Client::connect(&cluster.endpoint()).await.unwrap();
    for queue_name in ["a", "b", "c"] {
        let queue = client.queue(name(queue_name));
        queue.enqueue_many(large_tasks(0..300)).await.unwrap();
        let far = (0..10).map(|n| task(n).delay(Duration::from_hours(1)));
        queue.enqueue_many(far.collect()).await.unwrap();
        complete(&client, &queue, 300).await;
        queue.enqueue_many(large_tasks(0..100)).await.unwrap();
        assert_eq!(listed(&queue, &Stage::NOT_ENDED, 30).await.len(), 110);
        let ended = listed(&queue, &Stage::ENDED, 70).await;
        assert_eq!(numbers(&ended), (0..300).rev().collect::<Vec<_>>());
    }
}

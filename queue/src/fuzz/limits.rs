//! Arguments at their bounds and one over, and every byte where text is taken. What is refused
//! changes nothing in Redis; what is taken can be read back as it was given.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use crate::id::Sequence;
use crate::testing::RedisServer;
use crate::{
    Error, Filter, MAX_PAYLOAD_BYTES, NewTask, Payload, Policy, Queue, QueueName, Selection, Stage,
    TaskId, WorkerId,
};

const MOST_PAYLOAD: u32 = 1_000;

/// A queue, and a look at everything that Redis holds.
struct Bench {
    queue: Queue,
    raw: MultiplexedConnection,
    _redis: RedisServer,
}

impl Bench {
    async fn new() -> Self {
        let redis = RedisServer::start().await;
        let queue = redis
            .client()
            .await
            .queue(QueueName::new("n", "q").unwrap());
        let policy = Policy {
            max_payload_bytes: MOST_PAYLOAD,
            ..Policy::default()
        };
        queue.configure(&policy).await.unwrap();
        for delay in [0, 3_600] {
            let task = task().delay(Duration::from_secs(delay));
            queue.enqueue(task).await.unwrap();
        }
        Self {
            queue,
            raw: super::connection(&redis).await,
            _redis: redis,
        }
    }

    /// Every key and all that is in it.
    async fn contents(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        let mut keys: Vec<Vec<u8>> = self.ask("KEYS", b"*").await;
        keys.sort();
        for key in keys {
            let dump = self.ask("DUMP", &key).await;
            all.push((key, dump));
        }
        all
    }

    async fn ask<T: redis::FromRedisValue>(&mut self, command: &str, key: &[u8]) -> T {
        let mut command = redis::cmd(command);
        command.arg(key);
        command.query_async(&mut self.raw).await.unwrap()
    }

    /// Refused alone and at the end of a batch, for the same reason, and without a trace.
    async fn refuses(&mut self, bad: NewTask) -> Error {
        let before = self.contents().await;
        let alone = self.queue.enqueue(bad.clone()).await.unwrap_err();
        let mut batch = vec![task(); 1_500];
        batch.push(bad);
        let with_others = self.queue.enqueue_many(batch).await.unwrap_err();
        assert_eq!(alone, with_others);
        assert!(!alone.is_transient(), "{alone}");
        assert_eq!(self.contents().await, before, "{alone}");
        alone
    }

    async fn takes(&mut self, good: NewTask) {
        let (kind, payload) = (good.kind.clone(), good.payload.clone());
        self.queue.enqueue(good).await.unwrap();
        let newest: Vec<Vec<u8>> = self.ask("HKEYS", b"tq:{n/q}:tasks").await;
        let id = newest.iter().max().unwrap();
        let id: TaskId = String::from_utf8_lossy(id).parse().unwrap();
        let task = self.queue.get(&id).await.unwrap().unwrap();
        assert_eq!((task.kind, task.payload), (kind, Some(payload)));
    }
}

fn task() -> NewTask {
    NewTask::new("any", Payload::of(&1).unwrap())
}

/// JSON of exactly that many bytes.
fn payload(size: u32) -> Payload {
    let text = "x".repeat(usize::try_from(size).unwrap() - 2);
    Payload::of(&text).unwrap()
}

#[tokio::test]
async fn a_task_is_taken_at_each_bound_and_refused_without_a_trace_one_over() {
    let mut bench = Bench::new().await;
    let years = Duration::from_hours(10 * 365 * 24);
    for good in [
        NewTask::new("any", payload(MOST_PAYLOAD)),
        NewTask::new("t".repeat(128), payload(2)),
        NewTask::new("\u{fc}".repeat(64), payload(2)),
        task().delay(years),
        task().delay(Duration::from_nanos(1)),
        task().priority("low"),
    ] {
        bench.takes(good).await;
    }
    for bad in [
        NewTask::new("any", payload(MOST_PAYLOAD + 1)),
        NewTask::new("t".repeat(129), payload(2)),
        NewTask::new("\u{fc}".repeat(65), payload(2)),
        NewTask::new("", payload(2)),
        task().delay(years + Duration::from_nanos(1)),
        task().delay(Duration::MAX),
        task().priority(""),
        task().priority("low\0"),
        task().priority("Low"),
        task().priority("}:tasks"),
        task().priority("x".repeat(100_000)),
    ] {
        let refusal = bench.refuses(bad).await.to_string();
        assert!(refusal.len() < 1_000, "{refusal}");
    }
}

#[tokio::test]
async fn every_character_of_one_byte_is_a_type_or_is_refused_without_a_trace() {
    let mut bench = Bench::new().await;
    for character in (0..=u8::MAX).map(char::from) {
        let task = NewTask::new(format!("a{character}b"), payload(2));
        if character.is_control() {
            bench.refuses(task).await;
        } else {
            bench.takes(task).await;
        }
    }
}

#[tokio::test]
async fn a_batch_of_any_size_is_taken_whole_or_refused_without_a_trace() {
    let mut bench = Bench::new().await;
    for size in [0, 1, 999, 1_000, 1_001, 10_000, 10_001] {
        let before = bench.contents().await;
        let held: u64 = bench.ask("LLEN", b"tq:{n/q}:wait:normal").await;
        match bench.queue.enqueue_many(vec![task(); size]).await {
            Ok(ids) => {
                assert_eq!(ids.len(), size);
                let holds: u64 = bench.ask("LLEN", b"tq:{n/q}:wait:normal").await;
                assert_eq!(holds, held + size as u64);
            }
            Err(refusal) => {
                assert!(size > 10_000, "{refusal}");
                assert_eq!(bench.contents().await, before);
            }
        }
    }
}

#[tokio::test]
async fn a_policy_is_taken_at_each_bound_and_refused_without_a_trace_one_over() {
    let mut bench = Bench::new().await;
    let levels = |levels: &[String]| Policy {
        levels: levels.to_vec(),
        ..Policy::default()
    };
    let many = |count: usize| (0..count).map(|n| format!("l{n}")).collect::<Vec<_>>();
    let years = Duration::from_hours(10 * 365 * 24);
    let largest = u32::try_from(MAX_PAYLOAD_BYTES).unwrap();
    let with = |change: &dyn Fn(&mut Policy)| {
        let mut policy = Policy::default();
        change(&mut policy);
        policy
    };
    let mut good = vec![
        levels(&many(16)),
        levels(&["x".repeat(32)]),
        with(&|p| p.max_payload_bytes = largest),
        with(&|p| p.timeout = Duration::from_millis(1)),
        with(&|p| p.timeout = years),
        with(&|p| p.retry.backoff.jitter = 1.0),
        with(&|p| p.retry.max_attempts = u32::MAX),
    ];
    let over = Duration::from_millis(1);
    let mut bad = vec![
        levels(&[]),
        levels(&many(17)),
        levels(&["x".repeat(33)]),
        levels(&[String::new()]),
        levels(&["a".to_owned(), "a".to_owned()]),
        with(&|p| p.max_payload_bytes = largest + 1),
        with(&|p| p.timeout = Duration::ZERO),
        with(&|p| p.timeout = years + over),
        with(&|p| p.completed_max_age = years + over),
        with(&|p| p.dead_max_age = Duration::MAX),
        with(&|p| p.retry.backoff.max = years + over),
        with(&|p| p.retry.backoff.initial = p.retry.backoff.max + over),
        with(&|p| p.retry.backoff.jitter = 1.000_001),
        with(&|p| p.retry.backoff.jitter = -0.000_001),
        with(&|p| p.retry.backoff.jitter = f64::NAN),
        with(&|p| p.retry.max_attempts = 0),
    ];
    for character in (0..=u8::MAX).map(char::from) {
        let policy = levels(&[format!("a{character}b")]);
        let is_allowed = matches!(character, 'a'..='z' | '0'..='9' | '-');
        if is_allowed {
            good.push(policy);
        } else {
            bad.push(policy);
        }
    }
    for policy in good {
        bench.queue.configure(&policy).await.unwrap();
        let read = bench.queue.policy().await.unwrap().value;
        assert_eq!(read.levels, policy.levels);
    }
    let before = bench.contents().await;
    for policy in bad {
        let refusal = bench.queue.configure(&policy).await;
        assert!(refusal.is_err(), "{policy:?}");
        assert_eq!(bench.contents().await, before, "{policy:?}");
    }
}

#[tokio::test]
async fn only_the_digits_of_ids_are_taken_for_ids_at_every_place() {
    let mut bench = Bench::new().await;
    let before = bench.contents().await;
    let id = Sequence::new(1).task(1_000).to_string();
    for place in 0..id.len() {
        for character in (0..=u8::MAX).map(char::from) {
            let text: String = [&id[..place], &id[place + 1..]].join(&character.to_string());
            let is_digit = matches!(character, '0'..='9' | 'a'..='v');
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(text.parse::<WorkerId>().is_ok(), is_digit, "{text:?}");
            let read = serde_json::from_str::<TaskId>(&json);
            assert_eq!(read.is_ok(), is_digit, "{text:?}");
            let Ok(id) = text.parse::<TaskId>() else {
                continue;
            };
            assert_eq!(id.to_string(), text);
            assert_eq!(bench.queue.get(&id).await.unwrap(), None);
        }
    }
    let strangers: Vec<TaskId> = vec![id.parse().unwrap(); 1_000];
    let these = Selection::Ids(strangers);
    assert_eq!(bench.queue.redrive(these.clone()).await.unwrap().moved, 0);
    assert_eq!(bench.queue.purge(these).await.unwrap(), 0);
    assert_eq!(bench.contents().await, before);
}

#[tokio::test]
async fn no_name_of_a_queue_reaches_beyond_its_keys() {
    let mut bench = Bench::new().await;
    let before = bench.contents().await;
    let longest = "a".repeat(63);
    assert!(QueueName::new(&longest, &longest).is_ok());
    let hostile = [
        "",
        "}",
        "{",
        "{}",
        "}:tasks",
        "q}:tasks",
        "q}{q",
        "q:tasks",
        "q/q",
        "/",
        "q\0",
        "\0",
        "q\n",
        "q\r\nFLUSHALL\r\n",
        "q ",
        "*",
        "q*",
        "[a-z]",
        "?",
        "\\",
        "\u{fc}",
        "\u{202e}q",
        "\u{ff51}",
        "Q",
        "q_q",
        "..\u{2215}q",
        "%7d",
    ];
    for name in hostile
        .into_iter()
        .chain([&*"a".repeat(64), &*"a".repeat(1 << 20)])
    {
        for (namespace, name) in [(name, "q"), ("n", name)] {
            let refusal = QueueName::new(namespace, name).unwrap_err();
            assert!(matches!(refusal, Error::Invalid { .. }));
            assert!(refusal.to_string().len() < 2_000);
            // A slash inside one part cannot be told from the one between them.
            if !name.contains('/') && !namespace.contains('/') {
                let text = format!("{namespace}/{name}");
                assert!(text.parse::<QueueName>().is_err(), "{text:?}");
            }
        }
    }
    for character in (0..=u8::MAX).map(char::from) {
        let is_allowed = matches!(character, 'a'..='z' | '0'..='9' | '-' | '.');
        let name = QueueName::new("n", &format!("q{character}"));
        assert_eq!(name.is_ok(), is_allowed, "{character:?}");
        let Ok(name) = name else { continue };
        // Another queue, however alike its name, has nothing of this one.
        let other = bench.queue.client().queue(name);
        assert_eq!(other.policy().await.unwrap().version, 0);
        other.enqueue(task()).await.unwrap();
        assert_eq!(other.purge(Selection::All).await.unwrap(), 0);
    }
    let ours = |(key, _): &(Vec<u8>, Vec<u8>)| key.starts_with(b"tq:{n/q}:");
    let mut after = bench.contents().await;
    after.retain(ours);
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_page_of_any_size_is_read_or_refused_without_a_trace() {
    let mut bench = Bench::new().await;
    let before = bench.contents().await;
    let dead = Filter::of([Stage::Dead]);
    for limit in [0, 1, 1_000, 1_001, u32::MAX] {
        match bench.queue.list(&dead, None, limit).await {
            Ok(page) => assert!(page.tasks.is_empty() && page.next.is_none()),
            Err(error) => {
                assert!(limit == 0 || limit > 1_000, "{error}");
                assert!(matches!(error, Error::Invalid { field: "limit", .. }));
            }
        }
    }
    assert_eq!(bench.contents().await, before);
}

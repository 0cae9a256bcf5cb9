//! Keys as they are documented, in a real Redis: plain ones, and Sidekiq's, for which no library
//! runs here.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::Duration;

use jiff::Timestamp;
use taskqueue_queue::{
    Error,
    testing::{RedisServer, eventually},
};
use taskqueue_sources::{
    Asked, Asynq, BullMq, Celery, Command, Depth, Expression, Kind, List, Role, Rq, Running,
    Scores, Sidekiq, SortedSet, Source, SourceError, Stream, Unit, Wakes, commands, look, read,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn list(key: &str, in_flight: Option<&str>) -> Source {
    Source::List(List {
        key: key.to_owned(),
        in_flight_key: in_flight.map(ToOwned::to_owned),
    })
}

fn sorted_set(scores: Scores) -> Source {
    Source::SortedSet(SortedSet {
        key: "jobs".to_owned(),
        scores,
        in_flight_key: None,
    })
}

fn stream() -> Source {
    Source::Stream(Stream {
        key: "orders".to_owned(),
        group: "workers".to_owned(),
    })
}

fn sidekiq() -> Source {
    Source::Sidekiq(Sidekiq {
        queue: "mail".to_owned(),
    })
}

fn every_kind() -> Vec<Source> {
    let queue = || "jobs".to_owned();
    vec![
        Source::BullMq(BullMq {
            queue: queue(),
            prefix: "bull".to_owned(),
            limiter_max: None,
        }),
        Source::Celery(Celery {
            queue: queue(),
            exchange: queue(),
            key_prefix: "app:".to_owned(),
            // As many as the resource allows.
            priority_steps: (0..10).collect(),
            separator: Celery::SEPARATOR.to_owned(),
            acks_late: false,
        }),
        Source::Rq(Rq {
            queue: queue(),
            key_prefix: "rq".to_owned(),
            scheduler: true,
        }),
        sidekiq(),
        Source::Asynq(Asynq {
            queue: queue(),
            aggregates: true,
        }),
        list("jobs", Some("running")),
        sorted_set(Scores::Due(Unit::Seconds)),
        stream(),
        Source::Expressions(vec![
            expression(Command::Zcount(Unit::Seconds), "a", Role::Deferred),
            expression(Command::Hlen, "b", Role::InFlight),
        ]),
    ]
}

fn expression(command: Command, key: &str, role: Role) -> Expression {
    Expression {
        command,
        key: key.to_owned(),
        role,
    }
}

struct World {
    redis: RedisServer,
    client: taskqueue_queue::Client,
}

impl World {
    async fn new() -> Self {
        let redis = RedisServer::start().await;
        let client = redis.client().await;
        Self { redis, client }
    }

    async fn run(&self, commands: &[&str]) {
        for command in commands {
            let _: redis::Value = self.redis.command(command).await;
        }
    }

    async fn look(&self, source: &Source, seen: bool) -> Result<Depth, SourceError> {
        let asked = Asked { source, seen };
        look(&self.client, &[asked], Timestamp::now())
            .await
            .pop()
            .unwrap()
    }

    async fn depth(&self, source: &Source) -> Depth {
        self.look(source, false).await.unwrap()
    }
}

fn missing_key(depth: Result<Depth, SourceError>) -> String {
    match depth {
        Err(SourceError::KeyMissing { key, .. }) => key,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_list_that_was_never_seen_is_an_error_and_one_that_was_is_empty() {
    let world = World::new().await;
    let jobs = list("jobs", Some("running"));
    assert_eq!(missing_key(world.look(&jobs, false).await), "jobs");
    world.run(&["RPUSH jobs a b c", "RPUSH running d"]).await;
    let depth = world.depth(&jobs).await;
    assert_eq!((depth.runnable, depth.in_flight), (3, 1));
    world.run(&["DEL jobs running"]).await;
    assert_eq!(world.look(&jobs, true).await, Ok(Depth::default()));
    assert_eq!(missing_key(world.look(&jobs, false).await), "jobs");
}

#[tokio::test]
async fn scores_are_an_order_or_times_in_either_unit() {
    let world = World::new().await;
    let now = Timestamp::now().as_second();
    for (unit, factor) in [(Unit::Seconds, 1), (Unit::Milliseconds, 1_000)] {
        let (past, next, far) = (now - 5, now + 60, now + 600);
        let [past, next, far] = [past, next, far].map(|time| time * factor);
        world
            .run(&["DEL jobs", &format!("ZADD jobs {past} a {next} b {far} c")])
            .await;
        let depth = world.depth(&sorted_set(Scores::Due(unit))).await;
        assert_eq!(
            (depth.runnable, depth.deferred, depth.deferred_due),
            (0, 3, 1)
        );
        let next = depth.next_due.unwrap().as_secs();
        assert!((50..=60).contains(&next), "{next}");
    }
    let depth = world.depth(&sorted_set(Scores::Order)).await;
    assert_eq!(
        (depth.runnable, depth.deferred, depth.next_due),
        (3, 0, None)
    );
}

#[tokio::test]
async fn a_stream_is_read_by_its_group_to_the_last_acknowledgement() {
    let world = World::new().await;
    assert_eq!(missing_key(world.look(&stream(), false).await), "orders");
    world
        .run(&[
            "XADD orders 1-1 k v",
            "XADD orders 2-1 k v",
            "XADD orders 3-1 k v",
        ])
        .await;
    assert_eq!(
        missing_key(world.look(&stream(), false).await),
        "orders group workers"
    );
    let figures = async || {
        let depth = world.depth(&stream()).await;
        (depth.runnable, depth.in_flight)
    };
    world.run(&["XGROUP CREATE orders workers 0"]).await;
    assert_eq!(figures().await, (3, 0));
    world
        .run(&["XREADGROUP GROUP workers w COUNT 2 STREAMS orders >"])
        .await;
    assert_eq!(figures().await, (1, 2));
    world.run(&["XACK orders workers 1-1 2-1"]).await;
    assert_eq!(figures().await, (1, 0));
    // An entry that is deleted before it was delivered: Redis does not know the lag any more.
    world
        .run(&[
            "XADD orders 9999999999999-1 k v",
            "XADD orders 9999999999999-2 k v",
        ])
        .await;
    world.run(&["XDEL orders 9999999999999-1"]).await;
    assert_eq!(figures().await, (4, 0), "at most all that the stream holds");
    world
        .run(&["XREADGROUP GROUP workers w COUNT 10 STREAMS orders >"])
        .await;
    assert_eq!(figures().await, (0, 2));
}

/// Redis 7.0 and 7.2 say of such a group for ever that it lags.
#[tokio::test]
async fn what_a_stream_let_go_unread_is_no_backlog() {
    let world = World::new().await;
    for number in 1..=10 {
        world.run(&[&format!("XADD orders {number}-1 k v")]).await;
    }
    let figures = async || {
        let depth = world.depth(&stream()).await;
        (depth.runnable, depth.in_flight)
    };
    world
        .run(&[
            "XGROUP CREATE orders workers 0",
            "XREADGROUP GROUP workers w COUNT 3 STREAMS orders >",
            "XTRIM orders MINID 8-1",
        ])
        .await;
    assert_eq!(figures().await, (3, 3), "what there is to read");
    let read = ["XREADGROUP GROUP workers w COUNT 10 STREAMS orders >"];
    world.run(&read).await;
    assert_eq!(figures().await, (0, 6));
    world.run(&["XADD orders MAXLEN 1 11-1 k v"]).await;
    assert_eq!(figures().await.0, 1);
    world.run(&read).await;
    assert_eq!(figures().await.0, 0);
}

#[tokio::test]
async fn sidekiq_is_read_by_its_documented_keys() {
    let world = World::new().await;
    let mail = sidekiq();
    assert_eq!(
        missing_key(world.look(&mail, false).await),
        "queues member mail"
    );
    let now = Timestamp::now().as_second();
    let seconds = format!(
        r#"LPUSH queue:mail {{"class":"M","enqueued_at":{}.5}}"#,
        now - 60
    );
    world
        .run(&[
            "SADD queues mail other",
            &seconds,
            r#"LPUSH queue:mail {"class":"M"}"#,
            &format!("ZADD schedule {} a {} b", now - 1, now + 60),
            &format!("ZADD retry {} c", now + 30),
            "SADD processes one two gone",
            r#"HSET one busy 3 info {"queues":["mail","other"]}"#,
            r#"HSET two busy 9 info {"queues":["other"]}"#,
        ])
        .await;
    let depth = world.depth(&mail).await;
    assert_eq!((depth.runnable, depth.in_flight), (2, 3));
    assert_eq!((depth.deferred, depth.deferred_due), (3, 1));
    assert!((20..=30).contains(&depth.next_due.unwrap().as_secs()));
    assert!((55..=70).contains(&depth.oldest.unwrap().as_secs()));
    // Sidekiq 8 keeps milliseconds.
    world
        .run(&[&format!(
            r#"RPUSH queue:mail {{"enqueued_at":{}}}"#,
            (now - 90) * 1_000
        )])
        .await;
    assert!((85..=100).contains(&world.depth(&mail).await.oldest.unwrap().as_secs()));
}

#[tokio::test]
async fn a_sidekiq_job_that_was_only_ever_scheduled_is_demand() {
    let world = World::new().await;
    world.run(&["ZADD schedule 1 a"]).await;
    assert_eq!(world.depth(&sidekiq()).await.deferred_due, 1);
}

#[tokio::test]
async fn expressions_add_up_by_role() {
    let world = World::new().await;
    let expressions = Source::Expressions(vec![
        expression(Command::Llen, "list", Role::Runnable),
        expression(Command::Scard, "set", Role::Runnable),
        expression(Command::Get, "number", Role::Runnable),
        expression(Command::Xlen, "stream", Role::Runnable),
        expression(Command::Hlen, "hash", Role::InFlight),
        expression(Command::Zcard, "sorted", Role::InFlight),
        expression(Command::Zcount(Unit::Milliseconds), "later", Role::Deferred),
    ]);
    let keys = "list, set, number, stream, hash, sorted, later";
    assert_eq!(missing_key(world.look(&expressions, false).await), keys);
    let in_a_minute = Timestamp::now().as_millisecond() + 60_000;
    world
        .run(&[
            "RPUSH list a b",
            "SADD set a b c",
            "SET number 40",
            "XADD stream * k v",
            "HSET hash a 1 b 2",
            "ZADD sorted 1 a",
            &format!("ZADD later 1 a {in_a_minute} b"),
        ])
        .await;
    let depth = world.depth(&expressions).await;
    assert_eq!(
        (depth.runnable, depth.in_flight, depth.deferred_due),
        (46, 3, 1)
    );
    assert!((50..=60).contains(&depth.next_due.unwrap().as_secs()));
    world.run(&["SET number many"]).await;
    let error = world.look(&expressions, false).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "number cannot be read: not a whole number"
    );
}

#[tokio::test]
async fn a_key_of_another_type_is_named_with_the_type_found() {
    let world = World::new().await;
    let jobs = list("jobs", None);
    for (command, found) in [
        ("ZADD jobs 1 a", "sorted set"),
        ("SET jobs a", "string"),
        ("SADD jobs a", "set"),
    ] {
        world.run(&["DEL jobs", command]).await;
        let error = world.look(&jobs, true).await.unwrap_err();
        let wants = SourceError::WrongType {
            key: "jobs".to_owned(),
            wants: Kind::List,
            found: Some(found.to_owned()),
        };
        assert_eq!(error, wants);
        assert_eq!(
            error.to_string(),
            format!("key jobs should be a list, and is a {found}")
        );
    }
    // One source's trouble is no other's.
    world.run(&["RPUSH others a"]).await;
    let others = list("others", None);
    let asked = [&jobs, &others].map(|source| Asked {
        source,
        seen: false,
    });
    let depths = look(&world.client, &asked, Timestamp::now()).await;
    assert!(matches!(depths[0], Err(SourceError::WrongType { .. })));
    assert_eq!(depths[1].as_ref().unwrap().runnable, 1);
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_no_empty_queue() {
    let mut world = World::new().await;
    world.run(&["RPUSH jobs a"]).await;
    world.redis.kill();
    let error = world.look(&list("jobs", None), true).await.unwrap_err();
    assert!(
        matches!(error, SourceError::Redis(Error::Unreachable { .. })),
        "{error:?}"
    );
}

fn bullmq(limiter_max: Option<u64>) -> Source {
    Source::BullMq(BullMq {
        queue: "jobs".to_owned(),
        prefix: "bull".to_owned(),
        limiter_max,
    })
}

#[tokio::test]
async fn a_rate_limit_of_bullmq_is_used_up_at_its_own_max_that_of_the_workers_or_when_told() {
    let world = World::new().await;
    world
        .run(&["HSET bull:jobs:meta version 6", "LPUSH bull:jobs:wait 1 2"])
        .await;
    let limited = async |limiter_max| {
        let depth = world.depth(&bullmq(limiter_max)).await;
        assert_eq!(depth.runnable, 2, "what is limited waits all the same");
        depth.limited
    };
    assert_eq!(limited(Some(1)).await, None, "nothing has begun yet");
    // A worker's own maximum is nowhere in Redis.
    world.run(&["SET bull:jobs:limiter 10 PX 600000"]).await;
    assert_eq!(limited(None).await, None);
    assert_eq!(limited(Some(11)).await, None);
    let left = limited(Some(10)).await.unwrap().as_secs();
    assert!((500..=600).contains(&left), "{left}");
    // The queue's own counts before that.
    world
        .run(&["HSET bull:jobs:meta max 11 duration 600000"])
        .await;
    assert_eq!(limited(Some(10)).await, None);
    world.run(&["HSET bull:jobs:meta max 10"]).await;
    assert!(limited(None).await.is_some());
    // A worker that was told to wait.
    world
        .run(&[
            "HDEL bull:jobs:meta max",
            "SET bull:jobs:limiter 9007199254740991 PX 600000",
        ])
        .await;
    assert!(limited(None).await.is_some());
    // A limit without an end is none that anyone waits for.
    world.run(&["SET bull:jobs:limiter 9007199254740991"]).await;
    assert_eq!(limited(None).await, None);
}

#[tokio::test]
async fn celery_is_read_by_the_steps_and_the_separator_of_its_application() {
    let world = World::new().await;
    let source = Source::Celery(Celery {
        queue: "jobs".to_owned(),
        exchange: "jobs".to_owned(),
        key_prefix: String::new(),
        priority_steps: vec![0, 5],
        separator: ":".to_owned(),
        acks_late: true,
    });
    // That of a step which its application does not have is another queue's.
    world
        .run(&["LPUSH jobs a", "LPUSH jobs:5 b c", "LPUSH jobs:3 d"])
        .await;
    assert_eq!(world.depth(&source).await.runnable, 3);
}

#[tokio::test]
async fn groups_of_asynq_are_one_task_that_is_due_where_servers_make_tasks_of_them() {
    let world = World::new().await;
    let asynq = |aggregates| {
        Source::Asynq(Asynq {
            queue: "jobs".to_owned(),
            aggregates,
        })
    };
    world
        .run(&["SADD asynq:queues jobs", "SADD asynq:{jobs}:groups a b"])
        .await;
    let depth = world.depth(&asynq(true)).await;
    assert_eq!((depth.deferred, depth.deferred_due), (1, 1));
    assert_eq!(depth.in_flight, 0);
    assert_eq!(world.depth(&asynq(false)).await, Depth::default());
    world.run(&["ZADD asynq:{jobs}:aggregation_sets 1 a"]).await;
    assert_eq!(world.depth(&asynq(true)).await.in_flight, 1);
}

#[tokio::test]
async fn due_jobs_of_rq_count_only_where_a_worker_moves_them_on() {
    let world = World::new().await;
    let later = Timestamp::now().as_second() + 600;
    world
        .run(&[
            "SADD rq:queues rq:queue:jobs",
            &format!("ZADD rq:scheduled:jobs 1 a {later} b"),
        ])
        .await;
    for (scheduler, due) in [(true, 1), (false, 0)] {
        let source = Source::Rq(Rq {
            queue: "jobs".to_owned(),
            key_prefix: "rq".to_owned(),
            scheduler,
        });
        let depth = world.depth(&source).await;
        assert_eq!((depth.deferred, depth.deferred_due), (2, due));
        assert_eq!(depth.next_due.is_some(), scheduler);
    }
}

#[test]
fn each_system_says_what_redis_shows_of_the_tasks_that_run() {
    let shown = |source: &Source| match source.running() {
        Running::Shown => "shown",
        Running::Late(beat) if beat == Duration::from_secs(10) => "10 s late",
        Running::Late(_) => "late",
        Running::Hidden { .. } => "hidden",
    };
    // BullMQ, Celery with its defaults, RQ, Sidekiq, asynq, a list and a sorted set, a stream, sums.
    let all: Vec<_> = every_kind().iter().map(shown).collect();
    let expected = [
        "shown",
        "hidden",
        "shown",
        "10 s late",
        "shown",
        "shown",
        "hidden",
        "shown",
        "shown",
    ];
    assert_eq!(all, expected);
    let late = Source::Celery(Celery {
        queue: "jobs".to_owned(),
        exchange: "jobs".to_owned(),
        key_prefix: String::new(),
        priority_steps: Celery::PRIORITY_STEPS.to_vec(),
        separator: Celery::SEPARATOR.to_owned(),
        acks_late: true,
    });
    assert_eq!(shown(&late), "shown");
    let waiting = expression(Command::Llen, "a", Role::Runnable);
    assert_eq!(shown(&Source::Expressions(vec![waiting])), "hidden");
    assert_eq!(shown(&list("jobs", None)), "hidden");
}

#[test]
fn nonsense_in_an_answer_is_never_read_as_a_depth() {
    let now = Timestamp::now();
    let odd = [
        redis::Value::Nil,
        redis::Value::Int(-1),
        redis::Value::Array(vec![redis::Value::Nil]),
        redis::Value::BulkString(b"\xff".to_vec()),
    ];
    for source in every_kind() {
        let count = commands(&source, now).len();
        assert!((1..=13).contains(&count), "{source}: {count}");
        for value in &odd {
            let answers: Vec<_> = (0..count).map(|_| Ok(value.clone())).collect();
            assert!(
                read(&source, true, now, &answers).is_err(),
                "{source}: {value:?}"
            );
        }
        assert!(
            read(&source, true, now, &[]).is_err(),
            "{source}: no answers"
        );
    }
}

#[tokio::test]
async fn a_job_wakes_whoever_waits_for_its_queue_and_no_other() {
    let world = World::new().await;
    let mut wakes = Wakes::start(&world.client);
    let blocked = async || {
        eventually(PATIENCE, "a blocking connection", async || {
            let clients: String = world.redis.command("CLIENT LIST").await;
            clients.contains("cmd=xread").then_some(())
        })
        .await;
    };
    wakes.wait_for(vec!["bull:a:events".to_owned(), "bull:b:events".to_owned()]);
    blocked().await;
    world
        .run(&[
            "XADD bull:c:events * event added",
            "XADD bull:b:events * event added",
        ])
        .await;
    assert_eq!(wakes.next().await, "bull:b:events");
    wakes.wait_for(Vec::new());
    eventually(PATIENCE, "no connection", async || {
        let clients: String = world.redis.command("CLIENT LIST").await;
        (!clients.contains("cmd=xread")).then_some(())
    })
    .await;
    wakes.wait_for(vec!["bull:c:events".to_owned()]);
    blocked().await;
    world.run(&["XADD bull:c:events * event added"]).await;
    assert_eq!(wakes.next().await, "bull:c:events");
}

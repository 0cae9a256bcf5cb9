//! What each script does on a server whose memory is full: it works, or it is refused and nothing is
//! written. Which of the two is its kind.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::{ALL, Kind, Script};
use crate::lease::{Ack, End, Exchange, Exchanged, Leased, Note, Ran, Settlement};
use crate::produce::Taken;
use crate::record::{Done, Ending, Record};
use crate::stranded::Stranded;
use crate::testing::{RedisServer, listed};
use crate::worker::LONGEST_LEASE;
use crate::{
    Amended, Cancelled, Edit, Erased, Error, EventLog, Filter, LiveKind, NewTask, Payload, Pending,
    Policy, Queue, QueueName, Replicas, Selection, Snapshot, Stage, State, TaskId, WorkerId,
    script,
};

const HOUR: Duration = Duration::from_hours(1);

struct Scene {
    queue: Queue,
    raw: MultiplexedConnection,
    tried: BTreeSet<&'static str>,
    _redis: RedisServer,
}

impl Scene {
    async fn new() -> Self {
        let settings = ["--save", "", "--enable-debug-command", "local"];
        let redis = RedisServer::start_with(&settings).await;
        let client = redis.client().await;
        let mut policy = Policy::default();
        policy.limits.per_key_concurrency = Some(1);
        policy.events = Some(EventLog::default());
        let queue = client.queue(QueueName::new("test", "full").unwrap());
        queue.configure(&policy).await.unwrap();
        Self {
            raw: redis.connection().await,
            queue,
            tried: BTreeSet::new(),
            _redis: redis,
        }
    }

    /// From now on every byte is one too many.
    async fn fill(&mut self) {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("maxmemory").arg(1);
        command.exec_async(&mut self.raw).await.unwrap();
    }

    /// A digest of all that the server holds, whatever order it keeps it in.
    async fn holds(&mut self) -> String {
        let mut command = redis::cmd("DEBUG");
        command.arg("DIGEST");
        command.query_async(&mut self.raw).await.unwrap()
    }

    async fn refused<T, E: Into<Error>>(
        &mut self,
        script: &Script,
        call: impl Future<Output = Result<T, E>>,
    ) {
        self.tried.insert(script.name);
        assert_eq!(script.kind, Kind::Adds, "{}", script.name);
        let before = self.holds().await;
        let Err(error) = call.await else {
            panic!("{} goes through", script.name);
        };
        let error = error.into();
        let expected = matches!(error, Error::OutOfMemory { .. });
        assert!(expected, "{}: {error}", script.name);
        assert_eq!(before, self.holds().await, "{} wrote", script.name);
    }

    async fn works<T, E: Into<Error>>(
        &mut self,
        script: &Script,
        call: impl Future<Output = Result<T, E>>,
    ) -> T {
        self.tried.insert(script.name);
        assert_ne!(script.kind, Kind::Adds, "{}", script.name);
        let result = call.await.map_err(Into::into);
        result.unwrap_or_else(|error: Error| panic!("{}: {error}", script.name))
    }
}

fn task(number: u32) -> NewTask {
    NewTask::new("t".repeat(64), Payload::of(&number).unwrap())
}

fn exchange(worker: WorkerId, slots: usize, acks: &[Ack]) -> Exchange<'_> {
    Exchange {
        worker,
        lease: LONGEST_LEASE,
        slots,
        listen: slots > 0,
        listed: true,
        token: None,
        acks,
    }
}

fn done(worker: WorkerId, leased: &Leased) -> Vec<u8> {
    let record = Record::unpack(&leased.record).unwrap();
    Done {
        what: Ending::Completed.into(),
        record: &record,
        losses: 0,
        started_ms: record.created_ms,
        run_ms: 1,
        worker: Some(worker),
        result: None,
        logged: false,
        site: None,
    }
    .pack()
}

fn failed(leased: &Leased) -> Vec<u8> {
    let mut record = Record::unpack(&leased.record).unwrap();
    let at = jiff::Timestamp::UNIX_EPOCH;
    record.fail(at, crate::Cause::Error, "no", true);
    record.pack()
}

fn settlement(id: TaskId, end: End) -> Settlement {
    let ran = Ran::default();
    let failure = None;
    Settlement {
        id,
        end,
        ran,
        failure,
    }
}

/// How ten tasks of one worker end: each way once, one twice.
fn ends(worker: WorkerId, leased: &[Leased]) -> Vec<Settlement> {
    let record = |place: usize| failed(&leased[place]);
    let ended = |place: usize, ending| End::Done {
        ending,
        done: done(worker, &leased[place]),
        run_ms: 1,
    };
    let after = HOUR;
    let ends = [
        End::Retry {
            record: record(0),
            after,
        },
        End::Snooze {
            record: record(1),
            after,
        },
        End::Dead { record: record(2) },
        End::Dead { record: record(3) },
        End::Release,
        End::Lost {
            record: Some(record(5)),
            after: None,
        },
        End::Quarantined { record: record(6) },
        ended(7, Ending::Cancelled),
        ended(8, Ending::Dropped),
        ended(9, Ending::Completed),
    ];
    let ids = leased.iter().map(|leased| leased.id);
    ids.zip(ends).map(|(id, end)| settlement(id, end)).collect()
}

#[tokio::test]
async fn a_full_server_refuses_what_is_new_and_lets_all_else_through() {
    let mut scene = Scene::new().await;
    let queue = scene.queue.clone();
    let worker = queue.client().next_worker_id();
    queue.register(worker, LONGEST_LEASE, "{}").await.unwrap();
    queue
        .enqueue_many((0..80).map(task).collect())
        .await
        .unwrap();
    let keyed = |n| task(n).concurrency_key("k");
    for n in 0..3 {
        queue.enqueue(keyed(n)).await.unwrap();
    }
    let far = queue.enqueue(task(1).delay(HOUR)).await.unwrap().id();
    for n in 0..2 {
        let soon = task(n).delay(Duration::from_millis(1));
        queue.enqueue(soon).await.unwrap();
    }
    let unique = || task(1).unique("u", HOUR).delay(HOUR);
    let stands = queue.enqueue(unique()).await.unwrap().id();
    let soon_late = task(1).expires_in(Duration::from_millis(1)).delay(HOUR);
    let late = queue.enqueue(soon_late).await.unwrap().id();
    let key = format!("tq:{{{}}}:expiry", queue.name());
    let mut command = redis::cmd("ZADD");
    command.arg(key).arg(1).arg(late.as_str());
    command.exec_async(&mut scene.raw).await.unwrap();

    scene.fill().await;
    refuses(&mut scene, worker).await;
    let again = queue.enqueue(unique()).await.unwrap();
    assert_eq!(again.id(), stands, "there is nothing to write");
    works_off(&mut scene, worker).await;
    keeps_order(&mut scene, far, late).await;
    tells(&mut scene).await;
    let all: BTreeSet<_> = ALL.iter().map(|script| script.name).collect();
    assert_eq!(scene.tried, all, "each is tried");
    assert_eq!(look(&scene.queue).await.counters.missing, 0);
}

/// What is new, of every kind.
async fn refuses(scene: &mut Scene, worker: WorkerId) {
    let queue = scene.queue.clone();
    let batches = [
        vec![task(1)],
        (0..100).map(task).collect(),
        vec![task(1).delay(Duration::from_secs(20))],
        vec![task(1).delay(HOUR)],
        vec![task(1).unique("other", HOUR)],
        vec![task(1).idempotency_key("other", HOUR)],
        vec![task(1).concurrency_key("k")],
        vec![task(1).expires_in(HOUR)],
    ];
    for batch in batches {
        let numbered = batch
            .into_iter()
            .map(|task| (queue.client().next_task_id(), task));
        let tasks: Vec<_> = numbered.collect();
        for (taken, repeated) in [(Taken::Together, false), (Taken::Apart, true)] {
            let put = queue.put_once(&tasks, taken, repeated);
            scene.refused(&script::ENQUEUE, put).await;
        }
    }
    let held = queue.exchange(&exchange(worker, 1, &[])).await.unwrap();
    let id = held.leased[0].id;
    for note in [
        Note {
            progress: Some(b"1".to_vec()),
            lines: Vec::new(),
        },
        Note {
            progress: None,
            lines: vec!["here".to_owned()],
        },
    ] {
        let notes = [(id, note)];
        let call = queue.note(worker, &notes);
        scene.refused(&script::NOTE, call).await;
    }
    let release = settlement(id, End::Release);
    queue.settle(worker, &[release]).await.unwrap();
}

/// What workers do.
async fn works_off(scene: &mut Scene, worker: WorkerId) {
    let queue = scene.queue.clone();
    let other = queue.client().next_worker_id();
    let registered = queue.register(other, LONGEST_LEASE, "{}");
    scene.works(&script::BEAT, registered).await;
    let beaten = queue.beat(worker, LONGEST_LEASE, None);
    scene.works(&script::BEAT, beaten).await;

    let asked = exchange(worker, 40, &[]);
    let got = scene.works(&script::EXCHANGE, queue.exchange(&asked)).await;
    let mut leased = got.leased;
    assert_eq!(leased.len(), 40);
    let held: Vec<TaskId> = leased[..30].iter().map(|leased| leased.id).collect();
    let unknown = queue.held_unknown(worker, held);
    let unknown = scene.works(&script::RESUME, unknown).await.unwrap();
    assert_eq!(unknown.len(), 10);
    let settled = ends(worker, &leased.split_off(30));
    let refused = scene
        .works(&script::SETTLE, queue.settle(worker, &settled))
        .await;
    assert_eq!(refused, []);
    let acks: Vec<Ack> = leased
        .split_off(10)
        .iter()
        .map(|leased| Ack {
            id: leased.id,
            done: done(worker, leased),
            run_ms: 1,
        })
        .collect();
    let delivery = exchange(worker, 0, &acks);
    let delivered = scene
        .works(&script::EXCHANGE, queue.exchange(&delivery))
        .await;
    assert_eq!(delivered.refused, []);
    let figures = look(&scene.queue).await;
    assert_eq!((figures.active, figures.dead), (10, 3));
    assert_eq!(figures.counters.completed, 21);

    // One cannot have been told that it is to be cancelled before it is lost.
    let cancelled = queue.cancel(&leased[0].id);
    let cancelled = scene.works(&script::REMOVE, cancelled).await;
    assert_eq!(cancelled, Cancelled::Requested);
    queue.beat(worker, Duration::ZERO, None).await.unwrap();
    let reclaimed = scene.works(&script::INHERIT, queue.reclaim()).await;
    assert_eq!(reclaimed.released, 10);
    assert_eq!(look(&scene.queue).await.active, 0);
    // Until there is nothing to give, and it is counted among those that block.
    let mut held = Vec::new();
    loop {
        let asked = exchange(other, 50, &[]);
        let call = queue.exchange(&asked);
        let Exchanged { leased, more, .. } = scene.works(&script::EXCHANGE, call).await;
        if leased.is_empty() && !more {
            break;
        }
        let released = leased.into_iter();
        held.extend(released.map(|leased| settlement(leased.id, End::Release)));
    }
    queue.settle(other, &held).await.unwrap();
    let drained = scene
        .works(&script::DRAIN, queue.drain(&[other], HOUR))
        .await;
    assert_eq!(drained, [(other, 0)]);
    scene.works(&script::UNDRAIN, queue.undrain(&[other])).await;
    assert!(scene.works(&script::LEAVE, queue.leave(other)).await);
}

/// What maintenance and administrators do.
async fn keeps_order(scene: &mut Scene, far: TaskId, late: TaskId) {
    let queue = scene.queue.clone();
    scene.works(&script::PROMOTE, queue.promote()).await;
    // As an earlier version left it.
    let mut command = redis::cmd("ZREM");
    command.arg("tq:{test/full}:due").arg(far.as_str());
    command.exec_async(&mut scene.raw).await.unwrap();
    for (kind, key, member) in [("RPUSH", "later:7", far.as_str()), ("ZADD", "later", "7")] {
        let mut command = redis::cmd(kind);
        command.arg(format!("tq:{{test/full}}:{key}"));
        if kind == "ZADD" {
            command.arg(7);
        }
        command.arg(member);
        // Which it did while there was room.
        let mut room = redis::cmd("CONFIG");
        room.arg("SET").arg("maxmemory").arg(0);
        room.exec_async(&mut scene.raw).await.unwrap();
        command.exec_async(&mut scene.raw).await.unwrap();
        scene.fill().await;
    }
    scene.works(&script::MIGRATE, queue.promote()).await;
    assert_eq!(
        queue.get(&far).await.unwrap().unwrap().state,
        State::Scheduled
    );

    // Without a limit all that is parked comes in.
    let mut policy = queue.policy().await.unwrap().value;
    policy.limits.per_key_concurrency = None;
    let often = r#"{"name": "often", "cron": "* * * * *", "type": "t"}"#;
    policy.schedules = vec![serde_json::from_str(often).unwrap()];
    scene
        .works(&script::CONFIGURE, queue.configure(&policy))
        .await;
    scene.works(&script::UNPARK, queue.unpark()).await;
    let nothing = HashMap::new();
    let fired = queue.run_schedules(&nothing);
    scene.refused(&script::FIRE, fired).await;
    // The schedule is refused, and the rest is done.
    let refused = queue.tidy().await.unwrap_err();
    assert!(matches!(refused, Error::OutOfMemory { .. }), "{refused}");
    assert_eq!(
        queue.get(&late).await.unwrap().unwrap().state,
        State::Expired
    );
    policy.schedules.clear();
    queue.configure(&policy).await.unwrap();
    scene.works(&script::SURVEY, queue.tidy()).await;
    let found = queue.find_stranded();
    let found = scene.works(&script::STRAND, found).await;
    assert_eq!(found, Stranded::default());
    let buckets = ["000000000".to_owned()];
    scene
        .works(&script::FORGET, queue.forget(&buckets, 0))
        .await;

    let now = [far];
    let amended = queue.promote_now(&now);
    let amended = scene.works(&script::HASTEN, amended).await;
    assert_eq!(amended, [Amended::Done]);
    let lower = queue.set_priority(&far, "low");
    let lower = scene.works(&script::REPRIORITIZE, lower).await;
    assert_eq!(lower, Amended::Done);
    let edit = Edit {
        payload: Payload::null(),
        retry: false,
    };
    let edited = scene.works(&script::EDIT, queue.edit(&far, &edit)).await;
    assert_eq!(edited, Amended::Done);
    let scheduled = queue.clear(Pending::Scheduled, drop);
    assert_ne!(scene.works(&script::UNSTARTED, scheduled).await, 0);
    let worker = queue.client().next_worker_id();
    queue.register(worker, LONGEST_LEASE, "{}").await.unwrap();
    let erased = scene.works(&script::ERASE, queue.erase(false, drop)).await;
    assert_eq!(erased, Erased::Held(1));
    queue.leave(worker).await.unwrap();

    let one = listed(&queue, &[Stage::Dead], 1).await[0].id;
    let again = queue.redrive(Selection::Ids(vec![one, one]));
    assert_eq!(scene.works(&script::REDRIVE, again).await.moved, 1);
    let purged = queue.purge(Selection::All);
    assert_eq!(scene.works(&script::PURGE, purged).await, 2);
}

/// What is only told.
async fn tells(scene: &mut Scene) {
    let queue = scene.queue.clone();
    let mut reader = queue.ends("test", "one").unwrap();
    let read = scene.works(&script::READ_ENDS, reader.next(Duration::ZERO));
    let batch = read.await;
    assert!(!batch.ends.is_empty());
    let heard = reader.acknowledge(&batch);
    scene.works(&script::HEARD_ENDS, heard).await;
    let groups = scene.works(&script::GROUPS, queue.error_groups()).await;
    assert!(!groups.groups.is_empty());
    let forgotten = queue.forget_error_groups(&[]);
    let forgotten = scene.works(&script::UNGROUP, forgotten).await;
    assert_eq!(forgotten, groups.groups.len() as u64);
    let mut listener = scene.works(&script::LISTEN, queue.listen(None)).await;
    let scaled = queue.tell_scaled(Replicas { from: 1, to: 2 }, "2 = 2");
    scene.works(&script::SCALED, scaled).await;
    let heard = listener.next(HOUR).await.unwrap().events;
    assert_eq!(heard[0].what, LiveKind::Scaled);
    let told = queue.tell_fault(Some("broken"), HOUR);
    scene.works(&script::FAULT, told).await;
    let figures = async { Ok::<_, Error>(look(&queue).await) };
    let figures = scene.works(&script::SNAPSHOT, figures).await;
    assert_eq!(figures.fault.as_deref(), Some("broken"));
    assert!(figures.backlog() > 0);
    let (waiting, ended) = (Filter::default(), Filter::of(Stage::ENDED));
    let page = queue.list(&waiting, None, 1);
    let waiting = scene.works(&script::PAGE, page).await.into_tasks();
    let page = queue.list(&ended, None, 1);
    let ended = scene.works(&script::SCAN, page).await;
    assert_eq!(ended.tasks.len(), 1);
    let seen = scene
        .works(&script::INSPECT, queue.get(&waiting[0].id))
        .await;
    assert_eq!(seen.unwrap().state, State::Waiting);
    let found = scene.works(&script::FIND, queue.id_of_key("k")).await;
    assert_eq!(found, None);
    scene.works(&script::WORKERS, queue.workers()).await;
    let lacking = queue.client().lacking_rights(None);
    let lacking = scene.works(&script::LACKED, lacking).await;
    assert!(lacking.commands.is_empty() && lacking.produces);
}

async fn look(queue: &Queue) -> Snapshot {
    let queues = std::slice::from_ref(queue);
    queue.client().snapshot(queues).await.remove(0).unwrap()
}

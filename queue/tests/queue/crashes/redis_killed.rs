//! Redis killed under load, again and again, with either of the two durable settings; and a power
//! failure under the weaker one, for which the end of its file is cut off: SIGKILL alone loses
//! nothing that the system has been handed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use taskqueue_queue::testing::RedisServer;

use super::ledger::Forgotten;
use super::rig::Rig;

const KILLS: usize = 12;
/// How long Redis is away the first time: longer than an enqueue has patience.
const AWAY: Duration = Duration::from_secs(3);
const POWER_FAILURES: usize = 4;
/// What `appendfsync everysec` may lose.
const LAST_SECOND: Duration = Duration::from_secs(1);
/// How much older the oldest lost acknowledgement may be: Redis begins its write to the disk once a
/// second, and on a busy machine that takes its time.
const MARGIN: Duration = Duration::from_millis(500);

async fn server(fsync: &str) -> RedisServer {
    let arguments = ["--save", "", "--appendonly", "yes", "--appendfsync", fsync];
    let never = ["--auto-aof-rewrite-percentage", "0"];
    RedisServer::start_with(&[&arguments[..], &never].concat()).await
}

/// Kills Redis somewhere in the work, does something to its file, starts it again, and says what it
/// has forgotten and how long before its death the oldest of that was acknowledged.
async fn kill(rig: &mut Rig, before_restart: impl FnOnce(Instant)) -> (Forgotten, Duration) {
    rig.progress(100, 50).await;
    rig.shift().await;
    let somewhere = Duration::from_millis(rand::random_range(0..200));
    tokio::time::sleep(somewhere).await;
    rig.redis.kill();
    let killed = Instant::now();
    before_restart(killed);
    // Answers that were on their way are acknowledgements from before.
    rig.silence().await;
    let dead = Instant::now();
    rig.redis.restart().await;
    let forgotten = rig.ledger.check(&rig.queue, dead).await;
    let oldest = forgotten.oldest(killed);
    (forgotten, oldest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_appendfsync_always_no_acknowledgement_is_forgotten_when_redis_is_killed() {
    let mut rig = Rig::start(server("always").await).await;
    for round in 0..KILLS {
        let stay_away = |_| {
            if round == 0 {
                std::thread::sleep(AWAY);
            }
        };
        let (forgotten, _) = kill(&mut rig, stay_away).await;
        assert_eq!(forgotten.enqueued.len(), 0, "enqueues, kill {round}");
        assert_eq!(forgotten.completed.len(), 0, "completions, kill {round}");
    }
    let ledger = Arc::clone(&rig.ledger);
    let (_redis, report, figures) = rig.finish().await;
    let ((enqueued, completed), doubtful) = (ledger.lengths(), ledger.doubtful());
    println!(
        "appendfsync always: {KILLS} kills; {enqueued} enqueues and {completed} completions acknowledged, 0 forgotten; {doubtful} enqueues in doubt; the worker's {report:?}"
    );
    let counters = figures.counters;
    assert_eq!(counters.completed, counters.enqueued);
    let acknowledged = enqueued as u64;
    assert!(doubtful > 0, "every enqueue was patient enough");
    assert!((acknowledged..=acknowledged + doubtful).contains(&counters.enqueued));
    // Its lease outlasts every outage here, so each ack arrived, once.
    assert_eq!((counters.lost, report.lost, report.undelivered), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_appendfsync_everysec_only_the_last_second_is_forgotten_when_redis_is_killed() {
    let mut rig = Rig::start(server("everysec").await).await;
    let limit = LAST_SECOND + MARGIN;
    let mut kills = Losses::default();
    for round in 0..KILLS / 3 {
        let (forgotten, oldest) = kill(&mut rig, |_| {}).await;
        assert!(oldest <= limit, "kill {round}: {oldest:?}");
        kills.add(&forgotten, oldest);
    }
    let tape = Tape::record(rig.redis.directory());
    let mut failures = Losses::default();
    for round in 0..POWER_FAILURES {
        // So that more than the last second is new.
        tokio::time::sleep(LAST_SECOND * 3 / 2).await;
        let cut = |killed| tape.cut(killed, LAST_SECOND);
        let (forgotten, oldest) = kill(&mut rig, cut).await;
        assert!(oldest <= limit, "power failure {round}: {oldest:?}");
        failures.add(&forgotten, oldest);
    }
    let ledger = Arc::clone(&rig.ledger);
    let (_redis, report, _) = rig.finish().await;
    println!(
        "appendfsync everysec: {} kills, {kills}; {POWER_FAILURES} times the last second of the file cut off, {failures}; {:?} acknowledged and kept, {report:?}",
        KILLS / 3,
        ledger.lengths(),
    );
    assert!(failures.enqueues > 0, "nothing was cut off");
}

/// What was forgotten in all.
#[derive(Default)]
struct Losses {
    enqueues: usize,
    completions: usize,
    oldest: Duration,
}

impl Losses {
    fn add(&mut self, forgotten: &Forgotten, oldest: Duration) {
        self.enqueues += forgotten.enqueued.len();
        self.completions += forgotten.completed.len();
        self.oldest = self.oldest.max(oldest);
    }
}

impl std::fmt::Display for Losses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            enqueues,
            completions,
            oldest,
        } = self;
        write!(
            f,
            "{enqueues} enqueues and {completions} completions forgotten, the oldest {oldest:.2?} old"
        )
    }
}

/// How long the append-only file was at each time.
struct Tape {
    file: PathBuf,
    lengths: Arc<Mutex<Vec<(Instant, u64)>>>,
}

impl Tape {
    /// Looks every few milliseconds for as long as this lives.
    fn record(directory: &Path) -> Self {
        let file = append_only_file(directory);
        let lengths = Arc::new(Mutex::new(Vec::new()));
        let (path, weak) = (file.clone(), Arc::downgrade(&lengths));
        std::thread::spawn(move || {
            while let Some(lengths) = weak.upgrade() {
                // The time first: what is in the file later may have been in it at that time.
                let now = Instant::now();
                if let Ok(metadata) = path.metadata() {
                    lengths.lock().unwrap().push((now, metadata.len()));
                }
                drop(lengths);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { file, lengths }
    }

    /// Cuts off what was not in the file that long before its end.
    fn cut(&self, end: Instant, span: Duration) {
        let lengths = self.lengths.lock().unwrap();
        let mut latest = lengths.iter().rev();
        let last = latest.find(|(time, _)| end.saturating_duration_since(*time) >= span);
        let (_, length) = last.expect("recorded for long enough");
        let file = std::fs::OpenOptions::new().write(true).open(&self.file);
        file.unwrap().set_len(*length).unwrap();
    }
}

/// Redis 7 has a directory of them, of which one grows; before there was one file.
fn append_only_file(directory: &Path) -> PathBuf {
    let Ok(entries) = std::fs::read_dir(directory.join("appendonlydir")) else {
        return directory.join("appendonly.aof");
    };
    let files = entries.map(|entry| entry.unwrap().path());
    let grows = |path: &PathBuf| path.to_string_lossy().ends_with(".incr.aof");
    files.into_iter().find(grows).expect("an append-only file")
}

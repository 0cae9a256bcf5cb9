//! Hostile bytes wherever bytes come in: records, the answers of Redis, a damaged database, and
//! arguments at their bounds. Nothing here may panic, hang or leave something half-written.
//!
//! The cases are numbered, and a number makes its case: a failure names it, and `FUZZ_FROM` set to
//! it begins there. `FUZZ_SECONDS` makes each fuzzer go on for that long.

#![allow(clippy::print_stdout, reason = "each says how much it tried")]

mod answers;
mod damage;
mod database;
mod limits;
mod mutate;
mod policies;
mod records;
mod resp;
mod wreck;

use std::ops::RangeFrom;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use redis::aio::MultiplexedConnection;

use crate::testing::RedisServer;

/// The source of everything that a case does by chance.
type Dice = StdRng;

fn dice(case: u64) -> Dice {
    Dice::seed_from_u64(case)
}

/// The numbers of the cases to try: this many, or as many as the environment gives time for.
struct Cases {
    numbers: RangeFrom<u64>,
    end: u64,
    until: Option<Instant>,
}

impl Cases {
    fn new(count: u64) -> Self {
        let set = |variable| {
            let text = std::env::var(variable).ok()?;
            Some(text.parse::<u64>().unwrap())
        };
        let from = set("FUZZ_FROM").unwrap_or(0);
        let seconds = set("FUZZ_SECONDS").map(Duration::from_secs);
        Self {
            numbers: from..,
            end: from + count,
            until: seconds.map(|seconds| Instant::now() + seconds),
        }
    }
}

impl Iterator for Cases {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let number = self.numbers.next()?;
        let more = match self.until {
            Some(until) => Instant::now() < until,
            None => number < self.end,
        };
        more.then_some(number)
    }
}

/// Says which case failed, when it does.
struct Named(&'static str, u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(fuzzer, case) = self;
            eprintln!("fuzzer {fuzzer}: FUZZ_FROM={case} begins with this case");
        }
    }
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// How many panics there were in this process, outside of this module, on any thread: those of spawned tasks are caught by
/// the runtime, and would else go unseen.
fn panics() -> usize {
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Those of the tests themselves fail them, and no others.
            let place = panic.location().map_or("", std::panic::Location::file);
            if !["fuzz", "testing", "model"]
                .iter()
                .any(|test| place.contains(test))
            {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            before(panic);
        }));
    });
    PANICS.load(Ordering::Relaxed)
}

/// A connection that waits as long as a busy machine needs.
async fn connection(redis: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&patient);
    connection.await.unwrap()
}

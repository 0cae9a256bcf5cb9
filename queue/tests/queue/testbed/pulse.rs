//! Whether the machine keeps time: what a test takes for slow may be a machine that is busy with something else.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use taskqueue_queue::testing::RedisServer;
use tokio_util::task::AbortOnDropHandle;

/// How often it is looked.
const BEAT: Duration = Duration::from_millis(5);

/// Beats on the thread of the test, and asks the same Redis, for as long as this lives: what holds up the test or its
/// server holds up the beats.
pub(crate) struct Pulse {
    beats: Arc<Mutex<Beats>>,
    _beating: AbortOnDropHandle<()>,
}

struct Beats {
    last: Instant,
    /// Longest time between two of them.
    longest: Duration,
}

impl Beats {
    fn new() -> Self {
        Self {
            last: Instant::now(),
            longest: Duration::ZERO,
        }
    }

    fn beat(&mut self) -> Duration {
        self.longest = self.longest.max(self.last.elapsed());
        self.last = Instant::now();
        self.longest
    }
}

/// A span of time that is watched.
pub(crate) struct Watch<'a> {
    pulse: &'a Pulse,
    begun: Instant,
}

impl Pulse {
    pub(crate) async fn beside(redis: &RedisServer) -> Self {
        let mut connection = redis.connection().await;
        let beats = Arc::new(Mutex::new(Beats::new()));
        let counted = Arc::clone(&beats);
        let beating = async move {
            loop {
                // One that is killed answers no more, and then the thread alone is watched.
                let _ = redis::cmd("PING").exec_async(&mut connection).await;
                tokio::time::sleep(BEAT).await;
                counted.lock().unwrap().beat();
            }
        };
        Self {
            beats,
            _beating: AbortOnDropHandle::new(tokio::spawn(beating)),
        }
    }

    /// Watches from now on, and no longer what was watched before.
    pub(crate) fn watch(&self) -> Watch<'_> {
        *self.beats.lock().unwrap() = Beats::new();
        Watch {
            pulse: self,
            begun: Instant::now(),
        }
    }
}

impl Watch<'_> {
    /// The longest time for which the machine did nothing for the test.
    pub(crate) fn longest_gap(&self) -> Duration {
        self.pulse.beats.lock().unwrap().beat()
    }

    /// How long it has been watched.
    pub(crate) fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether less than `limit` has passed. More of it fails the test, if it cannot be due to the machine.
    pub(crate) fn quick(&self, limit: Duration) -> bool {
        let (took, gap) = (self.begun.elapsed(), self.longest_gap());
        let busy = gap > limit / 4;
        assert!(
            took < limit || busy,
            "it took {took:?}, and no more than {gap:?} are the machine's"
        );
        took < limit
    }
}

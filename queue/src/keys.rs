//! Every Redis key of this crate, and nothing else makes one. Pure. See the table in the crate's
//! README for what each holds.
//!
//! The hash tag is the queue, so that all keys of a queue live in one slot of a Redis Cluster and
//! one script can touch them all.

use crate::QueueName;

/// What all keys begin with unless the endpoint says otherwise.
pub(crate) const DEFAULT_PREFIX: &str = "tq";

/// Whether keys may begin with this; or the rule.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if (1..=32).contains(&prefix.len()) && prefix.chars().all(allowed) {
        return Ok(());
    }
    Err("a prefix has 1 to 32 characters of a-z A-Z 0-9 . _ -")
}

/// The channel on which queues that became non-empty are announced by name.
pub(crate) fn channel(prefix: &str) -> String {
    format!("{prefix}:wake")
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $part:literal;)*) => {
        /// A key that every queue has once. Its name in capitals is what scripts call it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Key {
            $($(#[$doc])* $name,)*
        }

        impl Key {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// The last part of the key.
            pub(crate) const fn part(self) -> &'static str {
                match self {
                    $(Self::$name => $part,)*
                }
            }
        }
    };
}

keys! {
    /// The policy and its version.
    Config = "config";
    /// Id to record.
    Tasks = "tasks";
    /// Since when there is each shelf, by the beginning of its ids.
    Shelves = "shelves";
    /// Scheduled tasks by due time.
    Due = "due";
    /// Spans of time far ahead for which earlier versions keep lists of tasks.
    Later = "later";
    /// Entries of those lists whose tasks are gone, by span.
    Laterghosts = "laterghosts";
    /// Id to the worker that holds the lease.
    Active = "active";
    /// Workers by the lapse of their lease.
    Workers = "workers";
    /// What workers say of themselves.
    Info = "info";
    /// Worker to what it has run for a while, and since when.
    Runs = "runs";
    /// Workers whose leases were given more time, and until when.
    Spared = "spared";
    /// How often a task lost its worker.
    Lost = "lost";
    /// Dead letters by the time of their death.
    Dead = "dead";
    /// Counters.
    Stats = "stats";
    /// Workers that block for work.
    Idle = "idle";
    /// Workers that are to get no more tasks, by when that lapses.
    Draining = "draining";
    /// The list of tokens that blocked workers wait for.
    Wake = "wake";
    /// Entries of the level lists whose tasks are gone, by level.
    Ghosts = "ghosts";
    /// Unique key to the id of the task that has it.
    Unique = "unique";
    /// Unique keys by the end of their time.
    Uniques = "uniques";
    /// Idempotency key to the task that stands for it, and what is to be known of the call that made it.
    Idempotency = "idempotency";
    /// Idempotency keys by when they are to be looked at next.
    Lapses = "lapses";
    /// Concurrency key to how many of its tasks are runnable or active.
    Held = "held";
    /// Id of each of those tasks to its key.
    Holders = "holders";
    /// Tasks that wait for their concurrency key, by key and id.
    Parked = "parked";
    /// Tasks that expire, by when.
    Expiry = "expiry";
    /// Active tasks that are to be cancelled.
    Cancel = "cancel";
    /// What running attempts say of their progress.
    Progress = "progress";
    /// Buckets of done records, by their last ack.
    Kept = "kept";
    /// How many done records each bucket holds.
    Keptcount = "keptcount";
    /// Attempts begun of late, by the part of the rate limit's span they began in.
    Rate = "rate";
    /// What keeps workers from taking tasks.
    Fault = "fault";
    /// When each schedule ran last.
    Schedules = "schedules";
    /// The log of ends.
    Ends = "ends";
    /// Where each part of the log begins by which it is cut.
    Endmarks = "endmarks";
    /// How far each group of readers of the log is.
    Readers = "readers";
    /// Kinds of failures by when they were seen last.
    Groups = "groups";
    /// What is told of each kind of failures, and its figures.
    Grouped = "grouped";
    /// Live events, while somebody listens.
    Live = "live";
}

/// For each of [`Key::ALL`], how long the parts before its own are together.
const BEFORE: [usize; Key::ALL.len()] = {
    let mut before = [0; Key::ALL.len()];
    let mut place = 1;
    while place < before.len() {
        before[place] = before[place - 1] + Key::ALL[place - 1].part().len();
        place += 1;
    }
    before
};

/// The keys of one queue.
#[derive(Debug)]
pub(crate) struct Keys {
    /// One behind the other: there may be many queues, and so many texts take room.
    singles: Box<str>,
    /// How long the beginning is that all of them share.
    base: usize,
}

impl Keys {
    pub(crate) fn new(prefix: &str, queue: &QueueName) -> Self {
        let base = format!("{prefix}:{{{queue}}}");
        let mut singles = String::new();
        for key in Key::ALL {
            singles.extend([&base, ":", key.part()]);
        }
        Self {
            singles: singles.into(),
            base: base.len(),
        }
    }

    fn base(&self) -> &str {
        &self.singles[..self.base]
    }

    /// A key that the queue has once.
    pub(crate) fn get(&self, key: Key) -> &str {
        let place = key as usize;
        let begin = place * (self.base + 1) + BEFORE[place];
        &self.singles[begin..begin + self.base + 1 + key.part().len()]
    }

    /// The list of a level. A script finds the level again as what follows the last colon.
    pub(crate) fn list(&self, level: &str) -> String {
        format!("{}:wait:{level}", self.base())
    }

    /// The done records of the tasks whose ids begin with `bucket`.
    pub(crate) fn done(&self, bucket: &str) -> String {
        format!("{}:done:{bucket}", self.base())
    }

    /// The records of tasks whose ids begin with `name`, where many came at a time.
    pub(crate) fn shelf(&self, name: &str) -> String {
        format!("{}:shelf:{name}", self.base())
    }

    /// Tasks that earlier versions keep for the span of time with this number.
    pub(crate) fn later(&self, span: u64) -> String {
        format!("{}:later:{span}", self.base())
    }

    /// The log lines of a task.
    pub(crate) fn log(&self, id: &str) -> String {
        format!("{}:log:{id}", self.base())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_queue_carries_the_queue_as_its_only_hash_tag() {
        let keys = Keys::new("tq", &QueueName::new("shop", "mail").unwrap());
        let singles = Key::ALL.iter().map(|key| {
            let single = keys.get(*key);
            assert_eq!(single, format!("tq:{{shop/mail}}:{}", key.part()));
            single.to_owned()
        });
        let more = [
            keys.list("high"),
            keys.done("012345678"),
            keys.shelf("012345678"),
            keys.later(7),
            keys.log("0123"),
        ];
        let all = singles.chain(more);
        for key in all {
            assert!(key.starts_with("tq:{shop/mail}:"), "{key}");
            assert_eq!(key.matches(['{', '}']).count(), 2);
        }
    }
}

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
    /// Scheduled tasks by due time.
    Due = "due";
    /// Spans of time far ahead for which tasks are scheduled.
    Later = "later";
    /// Id to the worker that holds the lease.
    Active = "active";
    /// Workers by the lapse of their lease.
    Workers = "workers";
    /// What workers say of themselves.
    Info = "info";
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
    /// Concurrency key to how many of its tasks are runnable or active.
    Held = "held";
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
    /// When each schedule ran last.
    Schedules = "schedules";
}

/// The keys of one queue.
#[derive(Debug)]
pub(crate) struct Keys {
    base: String,
    singles: Vec<String>,
}

impl Keys {
    pub(crate) fn new(prefix: &str, queue: &QueueName) -> Self {
        let base = format!("{prefix}:{{{queue}}}");
        let single = |key: &Key| format!("{base}:{}", key.part());
        Self {
            singles: Key::ALL.iter().map(single).collect(),
            base,
        }
    }

    /// A key that the queue has once.
    pub(crate) fn get(&self, key: Key) -> &str {
        &self.singles[key as usize]
    }

    /// The list of a level. A script finds the level again as what follows the last colon.
    pub(crate) fn list(&self, level: &str) -> String {
        format!("{}:wait:{level}", self.base)
    }

    /// The done records of the tasks whose ids begin with `bucket`.
    pub(crate) fn done(&self, bucket: &str) -> String {
        format!("{}:done:{bucket}", self.base)
    }

    /// The tasks that are scheduled for the span of time with this number.
    pub(crate) fn later(&self, span: u64) -> String {
        format!("{}:later:{span}", self.base)
    }

    /// The log lines of a task.
    pub(crate) fn log(&self, id: &str) -> String {
        format!("{}:log:{id}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_queue_carries_the_queue_as_its_only_hash_tag() {
        let keys = Keys::new("tq", &QueueName::new("shop", "mail").unwrap());
        let mut all = keys.singles.clone();
        all.extend([
            keys.list("high"),
            keys.done("012345678"),
            keys.later(7),
            keys.log("0123"),
        ]);
        for key in all {
            assert!(key.starts_with("tq:{shop/mail}:"), "{key}");
            assert_eq!(key.matches(['{', '}']).count(), 2);
        }
    }
}

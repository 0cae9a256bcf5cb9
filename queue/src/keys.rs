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

/// The keys of one queue.
#[derive(Debug)]
pub(crate) struct Keys {
    base: String,
    shared: [String; 11],
}

impl Keys {
    pub(crate) fn new(prefix: &str, queue: &QueueName) -> Self {
        let base = format!("{prefix}:{{{queue}}}");
        let shared = [
            "config", "tasks", "due", "active", "workers", "info", "lost", "dead", "stats", "idle",
            "wake",
        ]
        .map(|part| format!("{base}:{part}"));
        Self { base, shared }
    }

    /// The keys that every script is given first, in the order in which `shared/keys.lua` names
    /// them.
    pub(crate) fn shared(&self) -> &[String; 11] {
        &self.shared
    }

    /// The policy and its version.
    pub(crate) fn config(&self) -> &str {
        &self.shared[0]
    }

    /// The list of tokens that blocked workers wait for.
    pub(crate) fn wake(&self) -> &str {
        &self.shared[10]
    }

    /// The list of a level. A script finds the level again as what follows the last colon.
    pub(crate) fn list(&self, level: &str) -> String {
        format!("{}:wait:{level}", self.base)
    }

    /// The done records of the tasks whose ids begin with `bucket`.
    pub(crate) fn done(&self, bucket: &str) -> String {
        format!("{}:done:{bucket}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_queue_carries_the_queue_as_its_only_hash_tag() {
        let keys = Keys::new("tq", &QueueName::new("shop", "mail").unwrap());
        let mut all = keys.shared().to_vec();
        all.extend([keys.list("high"), keys.done("012345678")]);
        for key in all {
            assert!(key.starts_with("tq:{shop/mail}:"), "{key}");
            assert_eq!(key.matches(['{', '}']).count(), 2);
        }
    }
}

//! Reading and writing a queue's policy in Redis.

use std::sync::Arc;

use crate::fault::Fault;
use crate::keys::Key;
use crate::queue::{Known, Queue};
use crate::reply::Status;
use crate::script::{Script, args};
use crate::value::read;
use crate::{Error, EventLog, Policy, Versioned};

/// How queues are laid out in Redis: the number goes up when a reader of before could not go on reading
/// what is written, which fields at the end of a record are not. Whoever writes a later one into the field
/// `layout` of a queue's config raises its version as well, so that everybody reads it.
pub(crate) const LAYOUT: u64 = 1;

/// How often an edit is begun anew because somebody else was first.
const MOST_EDITS: usize = 64;

/// What [`Queue::configure`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configured {
    /// That policy was in force already; nothing was written.
    Unchanged,
    /// It is in force now.
    Changed {
        /// Its version.
        version: u64,
    },
}

impl Queue {
    /// The policy in force, read from Redis; the default one with version 0 when none was ever set.
    pub async fn policy(&self) -> Result<Versioned<Policy>, Error> {
        let known = self.refresh().await?;
        Ok(Versioned {
            version: known.version_number(),
            value: known.policy.clone(),
        })
    }

    /// Puts a policy in force for producers and workers alike, without a restart of either; no
    /// write when it is in force already. A level that the new policy lacks is kept as retired for
    /// as long as it holds tasks. A policy that cannot be read is replaced as if it were the
    /// default one.
    pub async fn configure(&self, policy: &Policy) -> Result<Configured, Error> {
        policy.check()?;
        self.change(|_| Ok(policy.clone())).await
    }

    /// Puts in force what `edit` makes of the policy in force, or of what is wrong with that; again
    /// when somebody else was first.
    async fn change(
        &self,
        edit: impl Fn(Result<Policy, Fault>) -> Result<Policy, Fault> + Send + Sync,
    ) -> Result<Configured, Error> {
        for _ in 0..MOST_EDITS {
            let (stored, wrong) = self.stored().await?;
            let readable = wrong.is_none();
            let before = Known::new(self.keys(), stored);
            let mut wanted = edit(wrong.map_or_else(|| Ok(before.policy.clone()), Err))?;
            wanted.retired = self.not_drained(&before, &wanted).await?;
            for (field, value) in &before.policy.unknown {
                let unset = wanted.unknown.entry(field.clone());
                unset.or_insert_with(|| value.clone());
            }
            if readable && before.version_number() > 0 && wanted == before.policy {
                return Ok(Configured::Unchanged);
            }
            if let Some(version) = self.replace(&before, &wanted).await? {
                self.remember(Versioned {
                    version,
                    value: wanted,
                });
                // If it fails, the next round of maintenance does it.
                if let Err(fault) = self.unpark().await {
                    tracing::debug!(queue = %self.name(), error = %fault.error, "parked tasks wait for maintenance");
                }
                return Ok(Configured::Changed { version });
            }
        }
        let why = format!("somebody else changed the policy {MOST_EDITS} times during the call");
        Err(self.link().faults().script("configure", why))
    }

    /// Stops the workers from fetching: what runs goes on, and enqueueing stays possible. An edit of
    /// the policy, and so undone by whoever puts another one in force.
    pub async fn pause(&self) -> Result<Configured, Error> {
        self.set_paused(true).await
    }

    /// Lets the workers fetch again.
    pub async fn resume(&self) -> Result<Configured, Error> {
        self.set_paused(false).await
    }

    async fn set_paused(&self, paused: bool) -> Result<Configured, Error> {
        self.change(|policy| Ok(Policy { paused, ..policy? })).await
    }

    /// Reads the policy and remembers it.
    pub(crate) async fn refresh(&self) -> Result<Arc<Known>, Fault> {
        match self.stored().await? {
            (current, None) => Ok(self.remember(current)),
            (_, Some(wrong)) => Err(wrong),
        }
    }

    /// The policy as Redis has it; or, when something is wrong with that, what it is, and the
    /// default one under the same version.
    async fn stored(&self) -> Result<(Versioned<Policy>, Option<Fault>), Fault> {
        let mut command = redis::cmd("HMGET");
        command
            .arg(self.keys().get(Key::Config))
            .arg("version")
            .arg("policy")
            .arg("layout");
        let value = self.link().read_plain(&command, "HMGET").await?;
        let (version, policy, layout): (Option<u64>, Option<Vec<u8>>, Option<u64>) =
            read(value).map_err(|fault| self.unreadable(&fault))?;
        if let Some(found) = layout.filter(|found| *found > LAYOUT) {
            return Err(Fault::not_done(Error::Layout {
                queue: self.name().to_string(),
                found,
                known: LAYOUT,
            }));
        }
        let read = match policy {
            Some(text) => serde_json::from_slice::<Policy>(&text)
                .map_err(|fault| self.unreadable(&fault))
                .and_then(|policy| match policy.check_without_schedules() {
                    Ok(()) => Ok(policy),
                    Err(fault) => Err(self.unreadable(&fault)),
                }),
            None => Ok(Policy::default()),
        };
        let (value, wrong) = match read {
            Ok(policy) => (policy, None),
            Err(fault) => (Policy::default(), Some(fault)),
        };
        let version = version.unwrap_or(0);
        Ok((Versioned { version, value }, wrong))
    }

    /// The levels in force that the new policy lacks and that hold tasks.
    async fn not_drained(&self, before: &Known, policy: &Policy) -> Result<Vec<String>, Error> {
        let mut held = Vec::new();
        for level in before.policy.levels.iter().chain(&before.policy.retired) {
            if policy.levels.contains(level) {
                continue;
            }
            let mut command = redis::cmd("EXISTS");
            command.arg(self.keys().list(level));
            if self.link().read_plain(&command, "EXISTS").await? == redis::Value::Int(1) {
                held.push(level.clone());
            }
        }
        Ok(held)
    }

    /// Writes the policy if `before` is still in force and the levels that it drops are still
    /// empty.
    async fn replace(&self, before: &Known, wanted: &Policy) -> Result<Option<u64>, Error> {
        let stays =
            |level: &&String| wanted.levels.contains(level) || wanted.retired.contains(level);
        let levels = before.policy.levels.iter().chain(&before.policy.retired);
        let dropped: Vec<String> = levels
            .filter(|level| !stays(level))
            .map(|level| self.keys().list(level))
            .collect();
        let per_key = wanted.limits.per_key_concurrency;
        let text = serde_json::to_string(wanted)
            .map_err(|fault| Error::invalid("policy", "", fault.to_string()))?;
        let asked = args::Configure {
            policy: text.into(),
            per_key: per_key.into(),
            log: wanted.events.as_ref().map(EventLog::bounds).into(),
        };
        let mut call = Script::call(self.keys(), &dropped, &[], &before.version, &asked);
        for of in &wanted.types {
            if let (Some(key), Some(most)) = (of.key(), of.concurrency) {
                call.push(key);
                call.push(most);
            }
        }
        let (Status::Ok, mut reply) = self.answer(&call).await? else {
            return Ok(None);
        };
        reply.next().map(Some)
    }

    fn unreadable(&self, reason: &dyn std::fmt::Display) -> Fault {
        Fault::not_done(Error::Corrupt {
            what: format!("the policy of queue {}", self.name()),
            reason: reason.to_string(),
        })
    }
}

//! Dead letters that go round in another queue than they died in.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::packed::{Packed, Place};
use super::{MAX_SPAN, Put, Taken};
use crate::lease::millis;
use crate::payload::fits;
use crate::queue::Queue;
use crate::record::Record;
use crate::{Error, Outdone, Policy, Redriven, Selection, State, TaskId, TypePolicy};

/// Letters that one call writes.
const BATCH: usize = 100;

impl Queue {
    /// Sends dead letters round again in another queue, which may be in another slot of a cluster or on
    /// another server, but has another name: with their ids, all attempts before them and their history,
    /// but for their expiry, as [`Queue::redrive`] does. One whose level that queue lacks gets its default
    /// level. Ids that are no dead letters are passed over. In bounded batches; an error leaves the rest dead.
    ///
    /// Each is written there before it is thrown away here. If the call dies between the two, the next one
    /// finds by its id that it is there already, as long as that queue keeps it: none is lost, and none
    /// comes twice.
    pub async fn redrive_into(&self, target: &Self, ids: &[TaskId]) -> Result<Redriven, Error> {
        if self.name() == target.name() {
            let rule = "another queue than that of the dead letters";
            return Err(Error::invalid("target", &target.name().to_string(), rule));
        }
        let mut done = Redriven::default();
        for some in ids.chunks(BATCH) {
            self.carry(target, some, &mut done).await?;
        }
        Ok(done)
    }

    async fn carry(&self, target: &Self, ids: &[TaskId], done: &mut Redriven) -> Result<(), Error> {
        let mut letters = BTreeMap::new();
        let looks = join_all(ids.iter().map(|id| self.look(id))).await;
        for (id, look) in ids.iter().zip(looks) {
            match look {
                Ok(Some((task, stored))) if task.state == State::Dead => {
                    letters.insert(*id, Record::unpack(&stored)?);
                }
                // One that cannot be read stays where it is.
                Ok(_) | Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if letters.is_empty() {
            return Ok(());
        }
        let pack = |policy: &Policy, now_ms: u64| -> Result<Vec<Packed>, Error> {
            let letters = letters.iter();
            letters
                .map(|(id, letter)| anew(policy, *id, letter, now_ms))
                .collect()
        };
        let put = target.put_packed(pack, letters.len(), Taken::Together, true);
        let standing = match put.await? {
            Put::Full(error) => return Err(error),
            Put::Done { standing, .. } => standing,
        };
        let mut moved = Vec::new();
        for letter in letters.into_keys() {
            match standing.get(&letter) {
                Some(&holder) => done.outdone.push(Outdone { letter, holder }),
                None => moved.push(letter),
            }
        }
        done.moved += moved.len() as u64;
        self.purge(Selection::Ids(moved)).await.map(drop)
    }
}

/// The letter as a task of a queue with this policy, as if it were enqueued now.
fn anew(policy: &Policy, id: TaskId, letter: &Record, now_ms: u64) -> Result<Packed, Error> {
    let limit = policy.max_payload_bytes as usize;
    fits("payload", letter.payload.len(), limit)?;
    let place = policy.levels.iter().position(|name| *name == letter.level);
    let level = place.unwrap_or_else(|| policy.default_level());
    let mut record = letter.clone();
    record.level.clone_from(&policy.levels[level]);
    (record.due_ms, record.attempts) = (now_ms, 0);
    let mut unique = None;
    if let Some(extras) = &mut record.extras {
        (extras.expires_ms, extras.first_failed_ms) = (0, 0);
        // Stands for calls to the other queue, and counts by the limits of its types.
        extras.idempotency_key.clear();
        if extras.given_concurrency_key().is_empty() {
            let of_type = policy.of_type(&letter.kind).and_then(TypePolicy::key);
            extras.concurrency_key = of_type.unwrap_or_default();
        }
        // As long as it was to have it is not kept.
        let key = Some(extras.unique.clone()).filter(|key| !key.is_empty());
        unique = key.map(|key| (key, millis(MAX_SPAN)));
    }
    let place = if record.needs_settling() {
        Place::Special {
            level,
            delay_ms: 0,
            unique,
            keyed: None,
        }
    } else {
        Place::Now { level }
    };
    Ok(Packed {
        id,
        place,
        record: record.pack(),
    })
}

//! Deleting all that Redis holds of a queue.

use crate::Error;
use crate::keys::Key;
use crate::queue::Queue;
use crate::reply::Status;
use crate::script::{Script, args};
use crate::value::read_pairs;

/// Keys that one call deletes, and about how many names one reads.
const BATCH: usize = 500;
/// Most pages of names that are read; no honest server has as many.
const MOST_PAGES: usize = 100_000;

/// What came of deleting a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    /// So many keys are gone.
    Keys(u64),
    /// So many workers are registered, and nothing, or nothing more, was deleted.
    Held(u64),
}

impl Queue {
    /// Deletes all keys of the queue: its tasks in whatever state, its policy, its counters and its log. Not
    /// while workers are registered, unless `force` says so: those lose what they run. Whoever enqueues or
    /// configures makes the queue anew. A bounded number at a time, what says where the others are at last,
    /// so that a call that died is made again and goes on; `told` is called after each with how many are
    /// gone. The log lines of tasks go when they expire, an hour or `completed_max_age` after the last.
    pub async fn erase(&self, force: bool, mut told: impl FnMut(u64)) -> Result<Erased, Error> {
        let known = self.refresh().await?;
        let mut gone = 0;
        // Workers get nothing more to do, and nothing is listed of which the record is gone.
        let levels = known.policy.levels.iter().chain(&known.policy.retired);
        let lists: Vec<String> = levels.map(|level| self.keys().list(level)).collect();
        let mut parts = vec![lists];
        parts.extend(self.shelves().await?);
        parts.extend(self.buckets_and_spans().await?);
        let singles = Key::ALL.iter().map(|key| self.keys().get(*key).to_owned());
        parts.push(singles.collect());
        for keys in parts.iter().flat_map(|part| part.chunks(BATCH)) {
            match self.erase_some(keys, force).await? {
                Erased::Keys(some) => gone += some,
                held @ Erased::Held(_) => return Ok(held),
            }
            told(gone);
        }
        Ok(Erased::Keys(gone))
    }

    /// One call.
    async fn erase_some(&self, keys: &[String], force: bool) -> Result<Erased, Error> {
        let asked = args::Erase {
            force: force.into(),
        };
        let call = Script::call(self.keys(), &[], keys, "", &asked);
        let (status, mut reply) = self.answer(&call).await?;
        let count = reply.next()?;
        Ok(match status {
            Status::Held => Erased::Held(count),
            _ => Erased::Keys(count),
        })
    }

    /// The shelves of records.
    async fn shelves(&self) -> Result<Vec<Vec<String>>, Error> {
        let (mut parts, mut cursor) = (Vec::new(), "0".to_owned());
        for _ in 0..MOST_PAGES {
            let mut command = redis::cmd("HSCAN");
            command.arg(self.keys().get(Key::Shelves)).arg(&cursor);
            command.arg("COUNT").arg(BATCH);
            let (next, page): (String, redis::Value) = self.ask(&command, "HSCAN").await?;
            let names = read_pairs(page).map_err(|fault| self.unfit("HSCAN", &fault))?;
            let names: Vec<(Vec<u8>, Vec<u8>)> = names;
            let names = names.into_iter().map(|(name, _)| name);
            parts.push(named(names, |name| self.keys().shelf(name)));
            cursor = next;
            if cursor == "0" {
                break;
            }
        }
        Ok(parts)
    }

    /// The buckets of ended tasks, and what earlier versions kept by spans of time.
    async fn buckets_and_spans(&self) -> Result<Vec<Vec<String>>, Error> {
        let mut parts = Vec::new();
        for key in [Key::Kept, Key::Later] {
            for page in 0..MOST_PAGES {
                let mut command = redis::cmd("ZRANGE");
                command.arg(self.keys().get(key));
                command.arg(page * BATCH).arg((page + 1) * BATCH - 1);
                let names: Vec<Vec<u8>> = self.ask(&command, "ZRANGE").await?;
                if names.is_empty() {
                    break;
                }
                parts.push(named(names, |name| match (key, name.parse::<u64>()) {
                    (Key::Later, Ok(span)) => self.keys().later(span),
                    _ => self.keys().done(name),
                }));
            }
        }
        Ok(parts)
    }
}

/// The keys of these names; what is no text is none of ours.
fn named(names: impl IntoIterator<Item = Vec<u8>>, key: impl Fn(&str) -> String) -> Vec<String> {
    let names = names
        .into_iter()
        .filter_map(|name| String::from_utf8(name).ok());
    names.map(|name| key(&name)).collect()
}

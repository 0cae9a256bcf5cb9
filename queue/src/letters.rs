//! Dead letters: sending them round again and throwing them away.

use crate::keys::Key;
use crate::produce::MAX_SPAN;
use crate::queue::{Known, Queue};
use crate::script::args;
use crate::{Error, Filter, Page, Stage, TaskId};

/// Dead letters moved by one call: each is unpacked and packed again inside Redis.
const BATCH: usize = 200;

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made for each call, and none is kept"
)]
pub enum Selection {
    /// All that are dead when the call begins.
    All,
    /// These; ids that are no dead letters are passed over.
    Ids(Vec<TaskId>),
    /// Those of all that fit. Its stages are [`Stage::Dead`] or none.
    Matching(Filter),
}

/// What [`Queue::redrive`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redriven {
    /// How many dead letters go round again.
    pub moved: u64,
    /// Those that stay because other tasks have their unique keys, in the order in which they died.
    pub outdone: Vec<Outdone>,
}

/// A dead letter that cannot go round again, since another task has its unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outdone {
    /// The dead letter.
    pub letter: TaskId,
    /// The task that has the key, and has not ended.
    pub holder: TaskId,
}

/// What is to be done with dead letters.
#[derive(Debug, Clone, Copy)]
enum Errand {
    Redrive,
    Purge,
}

/// What one call did.
struct Batch {
    /// When, by the clock of Redis.
    now_ms: u64,
    moved: u64,
    /// How many stay dead: they cannot be read, or are outdone.
    stay: u64,
    outdone: Vec<Outdone>,
}

impl Redriven {
    fn add(&mut self, batch: Batch) {
        self.moved += batch.moved;
        self.outdone.extend(batch.outdone);
    }
}

/// The filter, of dead letters alone.
fn dead(filter: &Filter) -> Result<Filter, Error> {
    if filter.stages.iter().any(|stage| *stage != Stage::Dead) {
        let given = format!("{:?}", filter.stages);
        let rule = "these are dead letters: give no other state";
        return Err(Error::invalid("state", &given, rule));
    }
    Ok(Filter {
        stages: vec![Stage::Dead],
        ..filter.clone()
    })
}

/// Pairs of a letter and the task that has its key. What is no id of ours is nothing of ours.
fn outdone(pairs: &[Vec<u8>]) -> Vec<Outdone> {
    let id = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    let pairs = pairs.chunks_exact(2).filter_map(|pair| {
        Some(Outdone {
            letter: id(&pair[0])?,
            holder: id(&pair[1])?,
        })
    });
    pairs.collect()
}

impl Queue {
    /// Sends dead letters round again: to the tails of their levels, with all attempts before them
    /// and their history kept, but for their expiry. In bounded batches; an error leaves the rest dead.
    ///
    /// One with a unique key takes it again, and has it until it ends: how long it was to have it is
    /// not kept. Where another task that has not ended has the key, the letter stays, and the answer
    /// says so.
    pub async fn redrive(&self, selection: Selection) -> Result<Redriven, Error> {
        self.in_batches(Errand::Redrive, selection).await
    }

    /// Throws dead letters away. Returns how many. In bounded batches; an error leaves the rest
    /// dead.
    pub async fn purge(&self, selection: Selection) -> Result<u64, Error> {
        let purged = self.in_batches(Errand::Purge, selection).await?;
        Ok(purged.moved)
    }

    /// The ids of a selection, of [`Selection::All`] and of a filter those that are dead letters now and can
    /// be read, the oldest first.
    pub async fn letters(&self, selection: &Selection) -> Result<Vec<TaskId>, Error> {
        match selection {
            Selection::Ids(ids) => Ok(ids.clone()),
            Selection::Matching(filter) => self.matching(filter).await,
            Selection::All => self.matching(&Filter::default()).await,
        }
    }

    async fn in_batches(&self, to: Errand, selection: Selection) -> Result<Redriven, Error> {
        match selection {
            Selection::Ids(ids) => self.these(to, &ids).await,
            Selection::Matching(filter) => {
                let ids = self.matching(&filter).await?;
                self.these(to, &ids).await
            }
            Selection::All => {
                // What dies while this runs, perhaps because it was redriven, is not of the
                // selection.
                let (mut done, mut stay, mut begun) = (Redriven::default(), 0, None);
                // Some more may die before the first batch tells what time it is.
                let batches = self.count_dead().await? / BATCH as u64 + 2;
                for _ in 0..batches {
                    let batch = self.batch(to, begun, stay, &[]).await?;
                    begun.get_or_insert(batch.now_ms);
                    let count = batch.moved + batch.stay;
                    stay += batch.stay;
                    done.add(batch);
                    if count < BATCH as u64 {
                        break;
                    }
                }
                Ok(done)
            }
        }
    }

    async fn these(&self, to: Errand, ids: &[TaskId]) -> Result<Redriven, Error> {
        let mut done = Redriven::default();
        for batch in ids.chunks(BATCH) {
            done.add(self.batch(to, None, 0, batch).await?);
        }
        Ok(done)
    }

    /// The dead letters that fit, the oldest first. They are listed from the newest on, so that those that die meanwhile
    /// are none of them.
    async fn matching(&self, filter: &Filter) -> Result<Vec<TaskId>, Error> {
        let filter = dead(filter)?;
        let (mut ids, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.list(&filter, cursor.as_ref(), Page::MOST).await?;
            ids.extend(page.tasks.iter().map(|listed| listed.task.id));
            cursor = page.next;
            if cursor.is_none() {
                ids.reverse();
                return Ok(ids);
            }
        }
    }

    async fn count_dead(&self) -> Result<u64, Error> {
        let mut command = redis::cmd("ZCARD");
        command.arg(self.keys().get(Key::Dead));
        self.ask(&command, "ZCARD").await
    }

    /// One batch, behind the first `skip` dead letters.
    async fn batch(
        &self,
        to: Errand,
        before: Option<u64>,
        skip: u64,
        ids: &[TaskId],
    ) -> Result<Batch, Error> {
        let call = |known: &Known| {
            let told = self.announcing(known);
            let before = before.into();
            let (most, skip) = (BATCH.into(), skip.into());
            let mut call = match to {
                Errand::Redrive => {
                    let asked = args::Redrive {
                        before,
                        most,
                        wakes: told.wakes,
                        channel: told.channel,
                        queue: told.queue,
                        skip,
                        longest_key: MAX_SPAN.into(),
                    };
                    self.call(known, &[], &asked)
                }
                Errand::Purge => self.call(known, &[], &args::Purge { before, most, skip }),
            };
            for id in ids {
                call.push(id.as_str());
            }
            call
        };
        let mut reply = self.under_policy(call).await?;
        Ok(Batch {
            now_ms: self.link().clock().now_ms(),
            moved: reply.next()?,
            stay: reply.next()?,
            outdone: outdone(&reply.next::<Vec<Vec<u8>>>()?),
        })
    }
}

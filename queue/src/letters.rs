//! Dead letters: reading a page of them, sending them round again, throwing them away.

use redis::{Value, from_redis_value};

use crate::batch::MOST_TASKS;
use crate::clock::timestamp;
use crate::queue::Queue;
use crate::record::Record;
use crate::script::{self, Script};
use crate::snapshot::millis;
use crate::{Error, State, Task, TaskId};

/// Dead letters moved by one call: each is unpacked and packed again inside Redis.
const BATCH: usize = 200;

/// A page of dead letters, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// How many to skip.
    pub offset: u64,
    /// How many to return: at most 1000.
    pub limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            offset: 0,
            limit: 100,
        }
    }
}

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All that are dead when the call begins.
    All,
    /// These; ids that are no dead letters are passed over.
    Ids(Vec<TaskId>),
}

/// What became of a batch.
struct Batch {
    /// When, by the clock of Redis.
    now_ms: u64,
    moved: u64,
    /// Those that could not be read.
    stayed: u64,
}

impl Queue {
    /// Dead letters, the newest first.
    pub async fn dead(&self, page: Page) -> Result<Vec<Task>, Error> {
        let known = self.known().await?;
        let limit = (page.limit as usize).min(MOST_TASKS);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let call = self
            .call(&script::LETTERS, &known, &[])
            .arg(page.offset)
            .arg(limit);
        let value = self.link().read(&call).await?;
        let mut reply = self.reply(&script::LETTERS, value)?;
        let _status: String = reply.next()?;
        let ids: Vec<Vec<u8>> = reply.next()?;
        let died: Vec<f64> = reply.next()?;
        let records: Vec<Option<Vec<u8>>> = reply.next()?;
        let losses: Vec<Value> = reply.next()?;
        let mut tasks = Vec::with_capacity(ids.len());
        for (((id, died), record), losses) in ids.iter().zip(died).zip(records).zip(losses) {
            let Some(record) = record else { continue };
            let name = self.name().clone();
            let text = String::from_utf8_lossy(id);
            let read = text
                .parse()
                .and_then(|id| Ok((id, Record::unpack(&record)?)));
            match read {
                Ok((id, record)) => {
                    let losses = from_redis_value::<Option<u32>>(losses).ok().flatten();
                    let mut task = record.into_task(id, name, State::Dead, losses.unwrap_or(0));
                    task.finished = millis(died).map(timestamp);
                    tasks.push(task);
                }
                // One that cannot be read must not hide the others.
                Err(fault) => {
                    tracing::warn!(queue = %name, task = %text, %fault, "dead letter passed over");
                }
            }
        }
        Ok(tasks)
    }

    /// Sends dead letters round again: to the tails of their levels, with all attempts before them
    /// and their history kept. Returns how many. In bounded batches; an error leaves the rest dead.
    pub async fn redrive(&self, selection: Selection) -> Result<u64, Error> {
        self.in_batches(&script::REDRIVE, selection).await
    }

    /// Throws dead letters away. Returns how many. In bounded batches; an error leaves the rest
    /// dead.
    pub async fn purge(&self, selection: Selection) -> Result<u64, Error> {
        self.in_batches(&script::PURGE, selection).await
    }

    async fn in_batches(
        &self,
        script: &'static Script,
        selection: Selection,
    ) -> Result<u64, Error> {
        let mut moved = 0;
        match selection {
            Selection::Ids(ids) => {
                for batch in ids.chunks(BATCH) {
                    moved += self.batch(script, None, 0, batch).await?.moved;
                }
            }
            Selection::All => {
                // What dies while this runs, perhaps because it was redriven, is not of the
                // selection.
                let (mut begun, mut stayed) = (None, 0);
                loop {
                    let batch = self.batch(script, begun, stayed, &[]).await?;
                    begun.get_or_insert(batch.now_ms);
                    moved += batch.moved;
                    stayed += batch.stayed;
                    if batch.moved + batch.stayed < BATCH as u64 {
                        break;
                    }
                }
            }
        }
        Ok(moved)
    }

    /// One batch; of all letters, without the oldest `skip`.
    async fn batch(
        &self,
        script: &'static Script,
        before: Option<u64>,
        skip: u64,
        ids: &[TaskId],
    ) -> Result<Batch, Error> {
        let before = before.map(|ms| ms.to_string()).unwrap_or_default();
        let mut rounds = self.rounds();
        loop {
            let known = rounds.next().await?;
            let mut call = self
                .call(script, &known, &[])
                .arg(before.as_str())
                .arg(BATCH);
            if script.name == script::REDRIVE.name {
                call = self.announcing(call, &known).arg(skip);
            }
            for id in ids {
                call.push(id.as_str());
            }
            if let Some(mut reply) = self.ask(script, &call).await? {
                return Ok(Batch {
                    now_ms: self.link().clock().now_ms(),
                    moved: reply.next()?,
                    stayed: reply.next::<Option<u64>>()?.unwrap_or(0),
                });
            }
        }
    }
}

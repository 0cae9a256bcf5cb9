//! Reading the tasks of a queue, page by page.

use redis::Value;

use crate::batch::MOST_TASKS;
use crate::queue::{Known, Queue};
use crate::record::{Record, unpack_done};
use crate::script::args;
use crate::value::{read, read_pairs};
use crate::{Error, State, Task, TaskId};

/// A part of a listing.
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

/// Which tasks to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// Runnable tasks of one level, the next one first.
    Waiting {
        /// The level.
        level: String,
    },
    /// Tasks that wait for other tasks with their concurrency key.
    Blocked,
    /// Delayed tasks and those to be retried, the next one first. What is due in more than two
    /// minutes and was enqueued with its delay is not listed.
    Scheduled,
    /// Tasks that run, by id.
    Active,
    /// Dead letters, the newest first.
    Dead,
    /// Tasks that completed, were cancelled, expired or were dropped: those that ended last first,
    /// in groups.
    Ended,
}

impl Queue {
    /// Tasks in one state. A task that changes its state between two pages may be in both or in
    /// neither.
    pub async fn tasks(&self, listing: &Listing, page: Page) -> Result<Vec<Task>, Error> {
        let known = self.known().await?;
        let limit = (page.limit as usize).min(MOST_TASKS);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (kind, state) = match listing {
            Listing::Waiting { .. } => ("waiting", State::Waiting),
            Listing::Blocked => ("parked", State::Waiting),
            Listing::Scheduled => ("scheduled", State::Scheduled),
            Listing::Active => ("active", State::Active),
            Listing::Dead => ("dead", State::Dead),
            Listing::Ended => return self.ended(&known, page.offset, limit).await,
        };
        let place = match listing {
            Listing::Waiting { level } => self.place_of(&known, level)?,
            _ => 0,
        };
        let asked = args::Page {
            state: kind.into(),
            skip: page.offset.into(),
            limit: limit.into(),
            level: place.into(),
        };
        let (_, mut reply) = self.read(&self.call(&known, &[], &asked)).await?;
        let ids: Vec<Vec<u8>> = reply.next()?;
        let extras: Vec<Vec<u8>> = reply.next()?;
        let records: Vec<Option<Vec<u8>>> = reply.next()?;
        let losses: Vec<Value> = reply.next()?;
        let mut tasks = Vec::with_capacity(ids.len());
        for (((id, extra), record), losses) in ids.iter().zip(extras).zip(records).zip(losses) {
            let Some(record) = record else { continue };
            let name = self.name().clone();
            let text = String::from_utf8_lossy(id);
            let unpacked = text
                .parse()
                .and_then(|id| Ok((id, Record::unpack(&record)?)));
            match unpacked {
                Ok((id, record)) => {
                    let losses = read::<Option<u32>>(losses).ok().flatten();
                    let mut task = record.into_task(id, name, state, losses.unwrap_or(0));
                    task.locate(&String::from_utf8_lossy(&extra));
                    tasks.push(task);
                }
                // One that cannot be read must not hide the others.
                Err(fault) => {
                    tracing::warn!(queue = %name, task = %text, %fault, "task passed over");
                }
            }
        }
        Ok(tasks)
    }

    /// Dead letters, the newest first.
    pub async fn dead(&self, page: Page) -> Result<Vec<Task>, Error> {
        self.tasks(&Listing::Dead, page).await
    }

    /// The log lines of a task, oldest first: the last 100 that its attempts wrote.
    pub async fn logs(&self, id: &TaskId) -> Result<Vec<String>, Error> {
        let mut command = redis::cmd("LRANGE");
        command.arg(self.keys().log(id.as_str())).arg(0).arg(-1);
        let value = self.link().read_plain(&command, "LRANGE").await?;
        let lines: Vec<Vec<u8>> = read(value)
            .map_err(|fault| self.link().faults().script("LRANGE", fault.to_string()))?;
        let text = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned();
        Ok(lines.into_iter().map(text).collect())
    }

    fn place_of(&self, known: &Known, level: &str) -> Result<usize, Error> {
        let levels = known.policy.levels.iter().chain(&known.policy.retired);
        let mut levels = levels.enumerate();
        match levels.find(|(_, name)| *name == level) {
            Some((place, _)) => Ok(place),
            None => Err(Error::UnknownLevel {
                queue: self.name().to_string(),
                level: level.chars().take(128).collect(),
                known: known.policy.levels.clone(),
            }),
        }
    }

    /// First the groups that the page lies in, then what they hold.
    async fn ended(&self, known: &Known, offset: u64, limit: usize) -> Result<Vec<Task>, Error> {
        let asked = args::Page {
            state: "ended".into(),
            skip: offset.into(),
            limit: limit.into(),
            level: 0_u64.into(),
        };
        let (_, mut reply) = self.read(&self.call(known, &[], &asked)).await?;
        let buckets: Vec<String> = reply.next()?;
        let _counts: Vec<u64> = reply.next()?;
        let mut skip: usize = reply.next()?;
        let mut tasks = Vec::new();
        for bucket in &buckets {
            let mut command = redis::cmd("HGETALL");
            command.arg(self.keys().done(bucket));
            let value = self.link().read_plain(&command, "HGETALL").await?;
            let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = read_pairs(value)
                .map_err(|fault| self.link().faults().script("HGETALL", fault.to_string()))?;
            pairs.sort_unstable_by(|one, other| other.0.cmp(&one.0));
            for (id, record) in pairs.into_iter().skip(skip) {
                if tasks.len() == limit {
                    return Ok(tasks);
                }
                let name = self.name().clone();
                let text = String::from_utf8_lossy(&id);
                match text.parse().and_then(|id| unpack_done(id, name, &record)) {
                    Ok(task) => tasks.push(task),
                    // One that cannot be read must not hide the others.
                    Err(fault) => {
                        tracing::warn!(queue = %self.name(), task = %text, %fault, "task passed over");
                    }
                }
            }
            skip = 0;
        }
        Ok(tasks)
    }
}

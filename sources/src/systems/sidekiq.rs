//! Sidekiq: a list of jobs a queue, and two sorted sets with the scheduled and the retried jobs of
//! all queues together. Each process tells in a hash of its own how many jobs it runs.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::{missing, score_of};
use crate::{
    answers::{Answers, Question, ago, ahead, seconds, whole},
    depth::{Depth, Kind, SourceError},
    source::{Sidekiq, Unit},
};

/// The most processes that are looked at.
const PROCESSES: &str = "1000";
/// A time of more than this is in milliseconds (Sidekiq 8), of less in seconds (before that).
const MILLIS_FROM: f64 = 1e11;

impl Sidekiq {
    fn list(&self) -> String {
        format!("queue:{}", self.queue)
    }
}

pub(super) fn questions(of: &Sidekiq, now: Timestamp) -> Vec<Question> {
    let due = score_of(now, Unit::Seconds);
    let processes = ["LIMIT", "0", PROCESSES, "GET", "*->busy", "GET", "*->info"];
    vec![
        // Every queue that ever had a job.
        Question::sismember("queues", &of.queue),
        Question::sismember("paused", &of.queue),
        Question::llen(&of.list()),
        Question::new("LINDEX", &of.list(), Kind::List, &["-1"]),
        Question::beyond("processes", Kind::Set, &processes),
        Question::zcard("schedule"),
        Question::zcount("schedule", &due),
        Question::after("schedule", &due),
        Question::zcard("retry"),
        Question::zcount("retry", &due),
        Question::after("retry", &due),
    ]
}

pub(super) fn depth(
    of: &Sidekiq,
    now: Timestamp,
    answers: &mut Answers<'_>,
) -> Result<Depth, SourceError> {
    let there = answers.flag()?;
    let paused = answers.flag()?;
    let runnable = answers.count()?;
    let oldest = answers.words()?.into_iter().flatten().next();
    let processes = answers.words()?;
    let in_flight = processes.chunks(2).map(|process| busy(of, process)).sum();
    let mut depth = Depth {
        runnable,
        in_flight,
        paused,
        oldest: oldest.and_then(|job| waited(now, &job)),
        ..Depth::default()
    };
    for _ in ["schedule", "retry"] {
        depth.deferred += answers.count()?;
        depth.deferred_due += answers.count()?;
        let next = answers.score()?.map(|score| ahead(now, seconds(score)));
        depth.next_due = [depth.next_due, next].into_iter().flatten().min();
    }
    // A job that was only ever scheduled has no queue yet, and needs a process all the same.
    if !there && depth.deferred == 0 {
        return Err(missing(
            format!("queues member {}", of.queue),
            "no Sidekiq queue of this name has had a job; check source.sidekiq.queue",
        ));
    }
    Ok(depth)
}

/// How many jobs a process runs, if it serves the queue. One that is gone has left its name only.
fn busy(of: &Sidekiq, process: &[Option<String>]) -> u64 {
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        queues: Vec<String>,
    }
    let [Some(busy), Some(info)] = process else {
        return 0;
    };
    let serves =
        serde_json::from_str::<Info>(info).is_ok_and(|info| info.queues.contains(&of.queue));
    if serves { busy.parse().unwrap_or(0) } else { 0 }
}

fn waited(now: Timestamp, job: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Job {
        enqueued_at: f64,
    }
    let at = serde_json::from_str::<Job>(job).ok()?.enqueued_at;
    let millis = if at > MILLIS_FROM {
        whole(at)
    } else {
        seconds(at)
    };
    Some(ago(now, millis))
}

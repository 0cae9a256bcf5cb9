//! How the tasks of a latency measurement follow each other, and what each took. Not of one peer:
//! how a task is sent, and when it was seen to start, is told by who is measured.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::Fault;

/// The number of each task that starts, and when it did.
pub(crate) type Seen = mpsc::UnboundedReceiver<(usize, Instant)>;

/// Longest time until a task starts.
const PATIENCE: Duration = Duration::from_mins(1);

/// How tasks follow each other.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// One at a time, this many µs after the last has started.
    Pause(usize),
    /// This many a second, whatever becomes of them.
    Rate(usize),
}

impl Pace {
    /// Sends so many tasks and returns, in µs, how long each took to start. `enqueue` makes the task
    /// with a number, before the clock is read, and a future that sends it.
    pub(crate) async fn run<F, E>(
        self,
        count: usize,
        seen: &mut Seen,
        enqueue: impl Fn(usize) -> Result<F, Fault>,
    ) -> Result<Vec<f64>, Fault>
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        match self {
            Self::Pause(micros) => one_by_one(count, micros, seen, enqueue).await,
            Self::Rate(rate) => at_rate(count, rate, seen, enqueue).await,
        }
    }
}

async fn one_by_one<F, E>(
    count: usize,
    micros: usize,
    seen: &mut Seen,
    enqueue: impl Fn(usize) -> Result<F, Fault>,
) -> Result<Vec<f64>, Fault>
where
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    let mut latencies = Vec::with_capacity(count);
    for number in 0..count {
        let sending = enqueue(number)?;
        let sent = Instant::now();
        sending.await.map_err(|error| error.to_string())?;
        latencies.push(between(sent, next(seen).await?.1));
        tokio::time::sleep(Duration::from_micros(micros as u64)).await;
    }
    Ok(latencies)
}

async fn at_rate<F, E>(
    count: usize,
    rate: usize,
    seen: &mut Seen,
    enqueue: impl Fn(usize) -> Result<F, Fault>,
) -> Result<Vec<f64>, Fault>
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    let mut sent = Vec::with_capacity(count);
    let begun = tokio::time::Instant::now();
    for number in 0..count {
        let due = Duration::from_micros((number * 1_000_000 / rate) as u64);
        tokio::time::sleep_until(begun + due).await;
        let sending = enqueue(number)?;
        sent.push(Instant::now());
        tokio::spawn(sending);
    }
    let mut latencies = vec![0.0; count];
    for _ in 0..count {
        let (number, at) = next(seen).await?;
        latencies[number] = between(sent[number], at);
    }
    Ok(latencies)
}

/// In µs.
fn between(sent: Instant, started: Instant) -> f64 {
    started.saturating_duration_since(sent).as_secs_f64() * 1e6
}

async fn next(seen: &mut Seen) -> Result<(usize, Instant), Fault> {
    let waited = tokio::time::timeout(PATIENCE, seen.recv()).await;
    Ok(waited
        .map_err(|_| "a task has not started within a minute")?
        .ok_or("the worker has ended")?)
}

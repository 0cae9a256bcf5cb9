//! The parts of a run: each empties the server, runs one peer and adds its figures.

use std::time::{Duration, Instant};

use super::Fault;
use super::figures::{Figures, Measure, Mode, percentile};
use super::peer::Peer;
use super::program::{Enqueued, Latencies, Program, Working};
use super::resident;
use super::server::Server;

/// Longest time in which a backlog is drained.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often the completed tasks are counted meanwhile.
const LOOK: Duration = Duration::from_millis(5);
/// Tasks of a latency measurement at rest, and the pause between them in µs.
const IDLE: (usize, usize) = (300, 5_000);
/// Tasks a second, and for how many seconds.
const RATE: (usize, usize) = (1_000, 5);
const CALLERS: usize = 16;
/// How long an idle worker is left alone before it is measured.
const REST: Duration = Duration::from_secs(3);

/// What a worker is made of.
#[derive(Debug, Clone, Copy)]
enum By {
    /// The peer's library.
    Library,
    /// The program that we ship.
    Program,
}

/// One part, of one peer and round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Bulk enqueue and drain, with the memory of what waits and what is completed.
    Drain(Mode),
    /// By the worker program as it is shipped.
    DrainProgram,
    /// While each end is logged.
    DrainAndLog,
    /// The same with one slot.
    DrainOneSlot(Mode),
    EnqueueOne(Mode),
    EnqueueConcurrent(Mode),
    LatencyIdle,
    LatencyRate,
    Scheduled,
    IdleWorker,
    /// The worker program as it is shipped.
    IdleProgram,
}

impl Part {
    /// The parts of a round; what does not vary is measured in the first alone.
    pub(crate) fn of_round(round: usize) -> Vec<Self> {
        let mut parts = Vec::new();
        for mode in [Mode::Plain, Mode::Log] {
            parts.extend([
                Self::Drain(mode),
                Self::DrainOneSlot(mode),
                Self::EnqueueOne(mode),
                Self::EnqueueConcurrent(mode),
            ]);
        }
        parts.extend([
            Self::DrainProgram,
            Self::DrainAndLog,
            Self::LatencyIdle,
            Self::LatencyRate,
        ]);
        if round == 0 {
            parts.extend([Self::Scheduled, Self::IdleWorker, Self::IdleProgram]);
        }
        parts
    }

    /// Whether it is measured of this peer.
    pub(crate) fn applies(self, peer: Peer) -> bool {
        match self {
            Self::DrainProgram | Self::IdleProgram => peer.is_ours(),
            Self::DrainAndLog => peer == Peer::Ours,
            Self::DrainOneSlot(_) => peer.is_ours() || peer == Peer::Bare,
            Self::EnqueueOne(_)
            | Self::EnqueueConcurrent(_)
            | Self::LatencyIdle
            | Self::LatencyRate => true,
            _ => peer != Peer::Bare,
        }
    }
}

/// A peer and what its figures go into.
pub(crate) struct Bench<'a> {
    pub(crate) server: &'a mut Server,
    pub(crate) figures: &'a mut Figures,
    pub(crate) peer: Peer,
    pub(crate) program: Program,
    /// Tasks of a drain; half of them where one at a time is enqueued or run.
    pub(crate) tasks: usize,
}

impl Bench<'_> {
    /// Measures a part.
    pub(crate) async fn measure(&mut self, part: Part) -> Result<(), Fault> {
        let all = self.peer.share(self.tasks);
        let half = self.peer.share(self.tasks / 2);
        match part {
            Part::Drain(mode) => self.drain(mode, all).await,
            Part::DrainProgram => self.drain_by_program(all).await,
            Part::DrainAndLog => self.drain_and_log(all).await,
            Part::DrainOneSlot(mode) => self.drain_one_slot(mode, half).await,
            Part::EnqueueOne(mode) => {
                let rate = self.enqueue(mode, &["enqueue-one"], half).await?;
                self.add(Measure::EnqueueOne(mode), rate);
                Ok(())
            }
            Part::EnqueueConcurrent(mode) => {
                let words = ["enqueue-concurrent", &CALLERS.to_string()];
                let rate = self.enqueue(mode, &words, half).await?;
                self.add(Measure::EnqueueConcurrent(mode), rate);
                Ok(())
            }
            Part::LatencyIdle => {
                let rows = (Measure::LatencyIdleHalf, Measure::LatencyIdleMost);
                self.latency("latency-idle", IDLE.0, IDLE.1, rows).await
            }
            Part::LatencyRate => {
                let rows = (Measure::LatencyRateHalf, Measure::LatencyRateMost);
                self.latency("latency-rate", RATE.0 * RATE.1, RATE.0, rows)
                    .await
            }
            Part::Scheduled => self.scheduled(half).await,
            Part::IdleWorker => self.idle_worker(By::Library, Measure::IdleWorker).await,
            Part::IdleProgram => self.idle_worker(By::Program, Measure::IdleProgram).await,
        }
    }

    async fn drain(&mut self, mode: Mode, tasks: usize) -> Result<(), Fault> {
        self.server.empty(mode).await?;
        let before = self.server.memory().await?;
        let rate = self.seed(tasks).await?;
        let waiting = self.bytes(before, tasks).await?;
        let drained = self.work(By::Library, self.peer.slots(), tasks).await?;
        let completed = self.bytes(before, tasks).await?;

        self.add(Measure::EnqueueBulk(mode), rate);
        self.add(Measure::Drain(mode), drained.rate);
        if mode == Mode::Plain {
            self.add(Measure::Cpu, drained.cpu);
            self.add(Measure::BytesWaiting, waiting);
            self.add(Measure::BytesCompleted, completed);
        }
        Ok(())
    }

    async fn drain_by_program(&mut self, tasks: usize) -> Result<(), Fault> {
        self.server.empty(Mode::Plain).await?;
        self.seed(tasks).await?;
        let drained = self.work(By::Program, self.peer.slots(), tasks).await?;
        self.add(Measure::DrainProgram, drained.rate);
        Ok(())
    }

    async fn drain_and_log(&mut self, tasks: usize) -> Result<(), Fault> {
        self.server.empty(Mode::Plain).await?;
        self.server.log_ends().await?;
        self.seed(tasks).await?;
        let drained = self.work(By::Library, self.peer.slots(), tasks).await?;
        self.add(Measure::DrainAndLog, drained.rate);
        Ok(())
    }

    async fn drain_one_slot(&mut self, mode: Mode, tasks: usize) -> Result<(), Fault> {
        self.server.empty(mode).await?;
        let rate = self.seed(tasks).await?;
        if self.peer == Peer::Bare {
            self.add(Measure::EnqueueBulk(mode), rate);
        }
        let drained = self.work(By::Library, 1, tasks).await?;
        self.add(Measure::DrainOneSlot(mode), drained.rate);
        Ok(())
    }

    /// Enqueues in bulk; how fast.
    async fn seed(&mut self, tasks: usize) -> Result<f64, Fault> {
        let rate = self.told(&["enqueue-bulk"], tasks).await?;
        self.server.alone().await?;
        self.must_wait(tasks).await?;
        Ok(rate)
    }

    async fn enqueue(&mut self, mode: Mode, words: &[&str], tasks: usize) -> Result<f64, Fault> {
        self.server.empty(mode).await?;
        let rate = self.told(words, tasks).await?;
        self.must_wait(tasks).await?;
        Ok(rate)
    }

    /// Runs a command that enqueues; how fast it says it was.
    async fn told(&self, words: &[&str], tasks: usize) -> Result<f64, Fault> {
        let told: Enqueued = self.program.run(&with_count(words, tasks)).await?;
        if told.count != tasks as u64 {
            return Err(format!("{} tasks of {tasks} were enqueued", told.count).into());
        }
        Ok(as_float(told.count) / told.seconds)
    }

    async fn must_wait(&mut self, tasks: usize) -> Result<(), Fault> {
        let waiting = self.server.waiting(self.peer).await?;
        if waiting == tasks as u64 {
            Ok(())
        } else {
            Err(format!("{waiting} tasks wait, not {tasks}").into())
        }
    }

    async fn bytes(&mut self, before: u64, tasks: usize) -> Result<f64, Fault> {
        let now = self.server.memory().await?;
        Ok(as_float(now.saturating_sub(before)) / as_float(tasks as u64))
    }

    /// Drains what waits. What counts is from the first completed tasks that are seen to the last,
    /// so that no peer's start is part of it.
    async fn work(&mut self, by: By, slots: usize, tasks: usize) -> Result<Drained, Fault> {
        let tasks = tasks as u64;
        let mut working = self.start(by, slots).await?;
        let drained = self.watch(&mut working, tasks).await;
        working.end().await?;
        self.server.alone().await?;
        drained
    }

    async fn watch(&mut self, working: &mut Working, tasks: u64) -> Result<Drained, Fault> {
        let deadline = Instant::now() + PATIENCE;
        let mut first = None;
        loop {
            let completed = self.server.completed(self.peer, tasks).await?;
            let now = Instant::now();
            match first {
                None if completed > 0 => first = Some((now, completed, self.server.cpu().await?)),
                Some((begun, before, cpu)) if completed >= tasks => {
                    let count = as_float(completed - before);
                    if count < as_float(tasks) / 2.0 {
                        return Err("most tasks were completed before one was seen to be".into());
                    }
                    return Ok(Drained {
                        rate: count / (now - begun).as_secs_f64(),
                        cpu: (self.server.cpu().await? - cpu) / count,
                    });
                }
                _ => {}
            }
            working.process()?;
            if now > deadline {
                return Err(format!("{completed} tasks of {tasks} were completed in time").into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn latency(
        &mut self,
        command: &str,
        count: usize,
        pace: usize,
        (half, most): (Measure, Measure),
    ) -> Result<(), Fault> {
        self.server.empty(Mode::Plain).await?;
        let words = [command.to_owned(), count.to_string(), pace.to_string()];
        let told: Latencies = self.program.run(&words).await?;
        if told.latencies_us.len() != count {
            return Err(format!("{} latencies, not {count}", told.latencies_us.len()).into());
        }
        for (measure, percent) in [(half, 50), (most, 99)] {
            if let Some(value) = percentile(&told.latencies_us, percent) {
                self.add(measure, value / 1e3);
            }
        }
        Ok(())
    }

    async fn scheduled(&mut self, tasks: usize) -> Result<(), Fault> {
        self.server.empty(Mode::Plain).await?;
        let before = self.server.memory().await?;
        self.told(&["schedule"], tasks).await?;
        self.server.alone().await?;
        let bytes = self.bytes(before, tasks).await?;
        self.add(Measure::BytesScheduled, bytes);
        Ok(())
    }

    async fn start(&self, by: By, slots: usize) -> Result<Working, Fault> {
        match by {
            By::Library => self.program.work(slots).await,
            By::Program => self.program.work_by_program(self.server.queue(), slots),
        }
    }

    async fn idle_worker(&mut self, by: By, measure: Measure) -> Result<(), Fault> {
        self.server.empty(Mode::Plain).await?;
        let mut working = self.start(by, self.peer.slots()).await?;
        tokio::time::sleep(REST).await;
        let resident = working.process().and_then(resident::of);
        working.end().await?;
        self.add(measure, resident? / 1e6);
        Ok(())
    }

    fn add(&mut self, measure: Measure, value: f64) {
        self.figures.add(measure, self.peer, value);
    }
}

struct Drained {
    rate: f64,
    cpu: f64,
}

/// The command, the count, and what else the command takes.
fn with_count(words: &[&str], count: usize) -> Vec<String> {
    let mut all: Vec<String> = words.iter().map(ToString::to_string).collect();
    all.insert(1, count.to_string());
    all
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_follows_the_command() {
        assert_eq!(
            with_count(&["enqueue-concurrent", "16"], 7),
            ["enqueue-concurrent", "7", "16"]
        );
        assert_eq!(with_count(&["enqueue-one"], 7), ["enqueue-one", "7"]);
    }

    #[test]
    fn what_does_not_vary_is_measured_once() {
        assert!(Part::of_round(0).contains(&Part::Scheduled));
        assert!(!Part::of_round(1).contains(&Part::Scheduled));
    }
}

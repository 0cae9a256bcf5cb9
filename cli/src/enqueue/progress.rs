//! How far the enqueueing of many tasks has come: a bar where a person is looking, a plain line now and then where not.
//! All of it goes to standard error.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use taskqueue_queue::QueueName;

use crate::output::tell;

/// How often a plain line is written.
const EVERY: Duration = Duration::from_secs(10);

/// How often a bar is drawn even though nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// The progress of one command.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    tasks: u64,
    start: Instant,
    /// When the last plain line was written.
    told: Instant,
}

impl Progress {
    /// `length` is the number of bytes to come, where it is known.
    pub(super) fn new(length: Option<u64>, now: Instant) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(length));
        Self {
            bar,
            tasks: 0,
            start: now,
            told: now,
        }
    }

    /// So many tasks, and bytes of the file, are done.
    pub(super) fn advance(&mut self, tasks: usize, bytes: u64, now: Instant) {
        self.tasks += tasks as u64;
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
            bar.set_message(self.text(now));
        } else if now.duration_since(self.told) >= EVERY {
            self.told = now;
            tell(self.text(now));
        }
    }

    /// Does something that writes to the terminal, out of the way of the bar.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn text(&self, now: Instant) -> String {
        format!(
            "{}, {}/s",
            count(self.tasks),
            HumanCount(rate(self.tasks, now.duration_since(self.start)))
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The last line: what was done, and how long it took.
pub(super) fn summarize(tasks: u64, queue: &QueueName, elapsed: Duration) {
    tell(format_args!(
        "{} into {queue} in {elapsed:.1?}",
        count(tasks)
    ));
}

fn bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{bar:30} {percent:>3}% {msg}, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    bar.enable_steady_tick(TICK);
    // A template that did not parse would leave the default bar, which is good enough.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn count(tasks: u64) -> String {
    format!(
        "{} {}",
        HumanCount(tasks),
        if tasks == 1 { "task" } else { "tasks" }
    )
}

/// Tasks a second.
fn rate(tasks: u64, elapsed: Duration) -> u64 {
    let millis = elapsed.as_millis().max(1);
    u64::try_from(u128::from(tasks) * 1000 / millis).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_counted_in_words() {
        assert_eq!(count(1), "1 task");
        assert_eq!(count(1_234_567), "1,234,567 tasks");
    }

    #[test]
    fn the_rate_is_a_mean() {
        assert_eq!(rate(500, Duration::from_millis(250)), 2000);
        assert_eq!(rate(5, Duration::ZERO), 5000);
    }
}

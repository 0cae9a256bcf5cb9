//! How far a command has come that takes long: a line on standard error now and then.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::output::tell;

/// How often it is told.
const EVERY: Duration = Duration::from_secs(5);

/// When it was told last.
pub(crate) struct Progress {
    told: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            told: Instant::now(),
        }
    }

    pub(crate) fn tell(&mut self, line: impl Display) {
        if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            tell(line);
        }
    }
}

/// `1 task`, `2 tasks`.
pub(crate) fn tasks(count: u64) -> String {
    format!("{count} {}", if count == 1 { "task" } else { "tasks" })
}

//! How far the number may move in a time.

use crate::{Step, StepSize};

impl Step {
    /// The highest number that may be reached from the one at the start.
    pub(crate) fn up_from(&self, start: u32) -> u32 {
        start.saturating_add(self.most.of(start))
    }

    /// The lowest number that may be reached from the one at the start.
    pub(crate) fn down_from(&self, start: u32) -> u32 {
        start.saturating_sub(self.most.of(start))
    }
}

impl StepSize {
    fn of(self, start: u32) -> u32 {
        match self {
            Self::Replicas(replicas) => replicas,
            Self::Percent(percent) => {
                let size = (u64::from(start) * u64::from(percent)).div_ceil(100).max(1);
                u32::try_from(size).unwrap_or(u32::MAX)
            }
        }
    }
}

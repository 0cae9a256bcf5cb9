//! How long pods take to start, measured. Pure.

use std::time::Duration;

/// What is taken for it before anything was measured.
const DEFAULT: Duration = Duration::from_secs(2);
/// What a single measurement counts for.
const WEIGHT: f64 = 0.3;
/// Bounds of a measurement: nothing is told sooner, and who took longer was kept by something.
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_mins(5);

/// The time from the making of a pod to its readiness, exponentially weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StartTime {
    seconds: Option<f64>,
}

impl StartTime {
    /// Takes a measurement in.
    pub fn record(&mut self, took: Duration) {
        let took = took.clamp(LEAST, MOST).as_secs_f64();
        self.seconds = Some(match self.seconds {
            None => took,
            Some(before) => before + WEIGHT * (took - before),
        });
    }

    /// What the next pod will take: 2 s before the first measurement, never more than 5 min.
    pub fn get(&self) -> Duration {
        self.seconds.map_or(DEFAULT, Duration::from_secs_f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(measured: &[u64]) -> Duration {
        let mut time = StartTime::default();
        for seconds in measured {
            time.record(Duration::from_secs(*seconds));
        }
        time.get()
    }

    #[test]
    fn it_follows_what_was_measured_within_its_bounds() {
        let seconds = Duration::from_secs;
        assert_eq!(after(&[]), DEFAULT);
        assert_eq!(after(&[30]), seconds(30));
        assert_eq!(after(&[10, 20]), seconds(13));
        assert_eq!(after(&[0]), LEAST);
        assert_eq!(after(&[86_400]), MOST);
        let settled = after(&[[60; 3].as_slice(), &[4; 20]].concat());
        assert!(seconds(4) < settled && settled < Duration::from_millis(4_100));
    }
}

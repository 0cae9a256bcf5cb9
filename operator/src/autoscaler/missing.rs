//! Tasks that are found gone from Redis though nobody ended them: how many of late, and whether that is
//! news. Pure.

use std::time::Duration;

/// How long after the last such find it is told of.
const KEPT: Duration = Duration::from_hours(1);

/// Follows how many were found in all. What was found before it began is told by the metric alone.
#[derive(Debug, Default)]
pub(super) struct Missing {
    total: Option<u64>,
    /// The finds of late: how many there were before, and when the last one was.
    late: Option<(u64, Duration)>,
}

impl Missing {
    /// Takes note that `total` were found until `now`, a time since any fixed origin. Returns how many
    /// were found of late, if these are the first.
    pub(super) fn record(&mut self, now: Duration, total: u64) -> Option<u64> {
        let before = self.total.replace(total)?;
        // Counters that fall were lost with their Redis, or set back by somebody.
        self.late
            .take_if(|(base, last)| *base > total || *last + KEPT < now);
        if total <= before {
            return None;
        }
        let is_first = self.late.is_none();
        let (base, _) = self.late.unwrap_or((before, now));
        self.late = Some((base, now));
        is_first.then_some(total - base)
    }

    /// How many were found of late, within an hour of each other and of the last record.
    pub(super) fn late(&self) -> u64 {
        match (self.total, self.late) {
            (Some(total), Some((base, _))) => total.saturating_sub(base),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn the_first_find_is_news_and_all_are_told_for_an_hour_after_the_last() {
        let mut missing = Missing::default();
        assert_eq!(missing.record(MINUTE, 7), None);
        assert_eq!(missing.late(), 0);
        assert_eq!(missing.record(MINUTE * 2, 10), Some(3));
        assert_eq!(missing.record(MINUTE * 30, 15), None);
        assert_eq!(missing.late(), 8);
        assert_eq!(missing.record(MINUTE * 90, 15), None);
        assert_eq!(missing.late(), 8);
        assert_eq!(missing.record(MINUTE * 91, 15), None);
        assert_eq!(missing.late(), 0);
        assert_eq!(missing.record(MINUTE * 92, 16), Some(1));
    }

    #[test]
    fn counters_that_were_lost_begin_anew() {
        let mut missing = Missing::default();
        for (total, news, late) in [(5, None, 0), (9, Some(4), 4), (0, None, 0), (2, Some(2), 2)] {
            assert_eq!(missing.record(MINUTE, total), news, "{total}");
            assert_eq!(missing.late(), late, "{total}");
        }
    }
}

//! How often something may be done: a bucket of tokens. Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills at a steady pace; whatever is done takes one token out.
pub(crate) struct Bucket {
    /// Time in which one token comes in.
    every: Duration,
    /// Tokens that it holds at most.
    most: u32,
    tokens: u32,
    /// Up to when it has been filled.
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(every: Duration, most: u32, now: Instant) -> Self {
        Self {
            every,
            most,
            tokens: most,
            filled: now,
        }
    }

    /// Takes a token out, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let left = self.tokens.checked_sub(1);
        self.tokens = left.unwrap_or_default();
        left.is_some()
    }

    /// Puts a token back that was not needed.
    pub(crate) fn put_back(&mut self) {
        self.tokens = (self.tokens + 1).min(self.most);
    }

    /// When the next token is there, if there is none.
    pub(crate) fn next(&self) -> Instant {
        match self.tokens {
            0 => self.filled + self.every,
            _ => self.filled,
        }
    }

    /// Whether nothing was taken out for so long that it holds as much as it may.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens == self.most
    }

    fn fill(&mut self, now: Instant) {
        let past = now.saturating_duration_since(self.filled);
        let came = past.as_nanos() / self.every.as_nanos().max(1);
        let came = u32::try_from(came).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(came).min(self.most);
        self.filled = if self.tokens == self.most {
            now
        } else {
            self.filled + self.every * came
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(10);

    fn taken(bucket: &mut Bucket, now: Instant) -> usize {
        (0..100).filter(|_| bucket.take(now)).count()
    }

    #[test]
    fn what_was_saved_up_goes_at_once_and_the_rest_at_the_pace() {
        let start = Instant::now();
        let mut bucket = Bucket::new(EVERY, 3, start);
        assert_eq!(taken(&mut bucket, start), 3);
        assert_eq!(bucket.next(), start + EVERY);
        assert_eq!(taken(&mut bucket, start + EVERY * 5 / 2), 2);
        // The half that was on its way is not lost.
        assert_eq!(taken(&mut bucket, start + EVERY * 3), 1);
    }

    #[test]
    fn it_is_full_again_once_all_that_was_taken_has_come_in() {
        let start = Instant::now();
        let mut bucket = Bucket::new(EVERY, 3, start);
        assert!(bucket.is_full(start));
        assert!(bucket.take(start) && bucket.take(start));
        assert!(!bucket.is_full(start + EVERY));
        assert!(bucket.is_full(start + EVERY * 2));
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let start = Instant::now();
        let mut bucket = Bucket::new(EVERY, 3, start);
        assert!(bucket.take(start));
        assert_eq!(taken(&mut bucket, start + Duration::from_hours(1)), 3);
    }
}

//! Attempts that have not reached their handler yet, since its process has not read them or no request could be sent: their
//! time does not run meanwhile.

use std::time::Duration;

use taskqueue_queue::worker::LeasedTask;

/// The longest time between two looks.
const LONGEST: Duration = Duration::from_secs(1);
/// The shortest.
const SHORTEST: Duration = Duration::from_millis(1);

/// How often it is looked whether attempts of so much time have reached their handler: often enough that none is over
/// before a look.
pub(crate) fn pace(timeout: Duration) -> Duration {
    (timeout / 4).clamp(SHORTEST, LONGEST)
}

/// Puts the end of an attempt off that a look finds on its way: it has all of its time from the next look on.
pub(crate) fn put_off(task: &LeasedTask) {
    task.extend(task.timeout.saturating_add(pace(task.timeout)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_looks_fit_into_the_time_of_any_attempt_and_none_is_far_off() {
        let millis = Duration::from_millis;
        assert_eq!(pace(millis(1)), millis(1));
        assert_eq!(pace(millis(100)), millis(25));
        assert_eq!(pace(millis(4_000)), LONGEST);
        assert_eq!(pace(Duration::from_hours(24)), LONGEST);
    }
}

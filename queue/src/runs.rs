//! What a worker runs, and since when, as it tells that with its heartbeat: ids and times in ms by turns. Pure.

use std::collections::HashMap;

use crate::TaskId;

/// Attempts that are younger are not told: most tasks are done before anybody could ask.
pub(crate) const LEAST_AGE_MS: u64 = 1_000;
/// A start is no more than this before the time that its task became runnable, by clocks that differ a little;
/// one that is was that of an attempt before.
const TOLERANCE_MS: u64 = 500;

/// The text for these attempts, whatever order they come in.
pub(crate) fn write(runs: impl IntoIterator<Item = (TaskId, u64)>) -> String {
    let mut runs: Vec<_> = runs.into_iter().collect();
    runs.sort_unstable();
    let parts = runs.iter().map(|(id, since)| format!("{id} {since}"));
    parts.collect::<Vec<_>>().join(" ")
}

/// The attempts of such a text. What cannot be read is passed over.
pub(crate) fn read(text: &str) -> HashMap<TaskId, u64> {
    let words: Vec<&str> = text.split(' ').collect();
    let pairs = words.chunks_exact(2);
    pairs
        .filter_map(|pair| Some((pair[0].parse().ok()?, pair[1].parse().ok()?)))
        .collect()
}

/// The start of the attempt that runs, if what was told is of it.
pub(crate) fn of_this(started_ms: Option<u64>, runnable_since_ms: u64) -> Option<u64> {
    started_ms.filter(|started| started.saturating_add(TOLERANCE_MS) >= runnable_since_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Sequence;

    #[test]
    fn what_is_written_is_read_back_and_what_is_strange_passed_over() {
        let mut sequence = Sequence::new(7);
        let (one, other) = (sequence.task(1), sequence.task(2));
        let text = write([(other, 20), (one, 10)]);
        assert_eq!(text, format!("{one} 10 {other} 20"));
        assert_eq!(read(&text), [(one, 10), (other, 20)].into());
        assert_eq!(
            read(&format!("x 1 {one} y {other} 3 {one}")),
            [(other, 3)].into()
        );
        assert!(read("").is_empty());
        assert_eq!(write([]), "");
    }

    #[test]
    fn the_start_of_an_attempt_before_is_not_that_of_this_one() {
        assert_eq!(of_this(Some(2_000), 2_400), Some(2_000));
        assert_eq!(of_this(Some(2_000), 2_501), None);
        assert_eq!(of_this(None, 1), None);
    }
}

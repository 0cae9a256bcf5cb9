//! Cutting what a caller hands over into calls that a script can take, and putting the arguments in
//! the order that it wants. Pure.

use crate::TaskId;

/// Most tasks in one call of a script: Lua's `unpack` fails near 8000 values, and a call must not
/// hold the server for long.
pub(crate) const MOST_TASKS: usize = 1_000;
/// Most bytes of records in one call, for the same reason. A single task may have more.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// How many of the first `sizes` go into the next call: at least one, if there is one.
pub(crate) fn next_slice(sizes: impl IntoIterator<Item = usize>) -> usize {
    let mut bytes = 0;
    sizes
        .into_iter()
        .take(MOST_TASKS)
        .enumerate()
        .take_while(|(place, size)| {
            bytes += size;
            *place == 0 || bytes <= MOST_BYTES
        })
        .count()
}

/// The buckets of a batch of ids, each once, in the order of the ids, which are sorted.
pub(crate) fn buckets(ids: impl IntoIterator<Item = TaskId>) -> Vec<(TaskId, usize)> {
    let mut runs: Vec<(TaskId, usize)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((first, count)) if first.bucket() == id.bucket() => *count += 1,
            _ => runs.push((id, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Sequence;

    #[test]
    fn a_slice_ends_at_a_thousand_tasks_or_four_mebibytes_but_takes_one_task_of_any_size() {
        assert_eq!(next_slice(vec![1; 5_000]), MOST_TASKS);
        assert_eq!(next_slice([MOST_BYTES, 1]), 1);
        assert_eq!(next_slice([MOST_BYTES - 1, 1, 1]), 2);
        assert_eq!(next_slice([MOST_BYTES * 2, 1]), 1);
        assert_eq!(next_slice([]), 0);
    }

    proptest! {
        #[test]
        fn runs_of_buckets_cover_the_batch(seconds in prop::collection::vec(0..5_u64, 0..50)) {
            let mut sequence = Sequence::new(1);
            let ids: Vec<_> = seconds.iter().map(|&second| sequence.task(second)).collect();
            let runs = buckets(ids.iter().copied());
            prop_assert_eq!(runs.iter().map(|(_, count)| count).sum::<usize>(), ids.len());
            prop_assert!(runs.windows(2).all(|pair| pair[0].0.bucket() < pair[1].0.bucket()));
        }
    }
}

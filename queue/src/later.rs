//! Tasks that are due far ahead are kept by spans of time: a list per span costs a fifth of what a
//! place in the sorted set of exact times does. A span is unfolded into that set when it comes near.
//! Pure.

use std::time::Duration;

/// The length of a span, about a minute. `remove.lua` knows it too.
pub(crate) const SPAN_MS: u64 = 65_536;
/// A span is unfolded this long before it begins, and what is due sooner is not put into one: long
/// enough for whoever does it to be late.
const AHEAD: Duration = Duration::from_mins(1);

/// The span in which a task is kept that is due then; `None` if that is too near.
pub(crate) fn span_of(now_ms: u64, due_ms: u64) -> Option<u64> {
    let span = due_ms / SPAN_MS;
    let ahead = 2 * u64::try_from(AHEAD.as_millis()).unwrap_or(u64::MAX);
    (span * SPAN_MS > now_ms.saturating_add(ahead)).then_some(span)
}

/// The last span that has come near.
pub(crate) fn near(now_ms: u64) -> u64 {
    let ahead = u64::try_from(AHEAD.as_millis()).unwrap_or(u64::MAX);
    now_ms.saturating_add(ahead) / SPAN_MS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_put_into_a_span_that_has_come_near(now in 0..1_u64 << 42, ahead in 0..1_u64 << 34) {
            if let Some(span) = span_of(now, now + ahead) {
                prop_assert!(span > near(now));
                prop_assert!((span * SPAN_MS..(span + 1) * SPAN_MS).contains(&(now + ahead)));
            } else {
                prop_assert!(ahead <= 120_000 + SPAN_MS);
            }
        }
    }
}

//! Another writer of the replicas that we write, such as a HorizontalPodAutoscaler on the same
//! Deployment: how often it has written over ours, and for how long it is let have its way. Pure:
//! time is an argument.
//!
//! Two that set one number undo each other, and each time pods are made or stopped, also those that
//! run tasks. A number that is written over once, as by a person, is set right at once. After that we
//! give way, longer each time, and say so.

use std::time::Duration;

use tokio::time::Instant;

/// How long the number is left alone after it was written over twice; twice as long each time
/// after, up to the most.
const FIRST: Duration = Duration::from_secs(30);
const MOST: Duration = Duration::from_mins(5);
/// How long our number must then stand before the other writer counts as gone. Longer than what lies
/// between two looks of a `HorizontalPodAutoscaler` (15 s) or of KEDA (30 s).
const CALM: Duration = Duration::from_mins(1);
/// How long former times count. Longer than the cooldown of KEDA (5 min).
const MEMORY: Duration = Duration::from_mins(10);
/// Least time between two questions who the other writer is.
const ASK: Duration = Duration::from_secs(10);

/// A number of ours that was written over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overwritten {
    /// Under which name the other writer manages the field.
    pub(super) by: String,
    /// Our number.
    pub(super) ours: u32,
    /// The other one.
    pub(super) theirs: u32,
    /// How often that has happened lately, this time included.
    pub(super) times: u32,
}

/// Who sets the replicas of an object besides us, as far as the cluster tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rival {
    /// An object that is there to do so, by its kind and name.
    Named(String),
    /// There is no such object.
    None,
    /// It could not be found out.
    Unknown,
}

/// The past of the quarrel about one number.
#[derive(Debug, Default)]
pub(super) struct Contention {
    last: Option<(Overwritten, Instant)>,
    /// What was found of the other writer.
    rival: Option<String>,
    asked: Option<Instant>,
}

impl Contention {
    /// Our number was written over. Returns that with how often it was.
    pub(super) fn overwritten(
        &mut self,
        by: &str,
        (ours, theirs): (u32, u32),
        now: Instant,
    ) -> Overwritten {
        let before = match &self.last {
            Some((last, at)) if now < *at + wait(last.times) + MEMORY => last.times,
            _ => 0,
        };
        let overwritten = Overwritten {
            by: by.to_owned(),
            ours,
            theirs,
            times: before.saturating_add(1),
        };
        self.last = Some((overwritten.clone(), now));
        overwritten
    }

    /// Whether the number is left to the other writer for now.
    pub(super) fn yields(&self, now: Instant) -> bool {
        let last = self.last.as_ref();
        last.is_some_and(|(last, at)| now < *at + wait(last.times))
    }

    /// What there is to say of the other writer, as long as there seems to be one.
    pub(super) fn told(&self, now: Instant) -> Option<String> {
        let (last, _) = self.lasting(now)?;
        let Overwritten {
            by,
            ours,
            theirs,
            times,
        } = last;
        let who = match &self.rival {
            Some(rival) => format!("{rival} (field manager {by})"),
            None => format!("field manager {by}"),
        };
        let wait = wait(*times).as_secs();
        Some(format!(
            "{who} sets the replicas too: it has written over them {times} times, last {theirs} over {ours}. They are left to it for {wait} s at a time, so that the two do not go on stopping each other's pods: remove the other one, or set scaling.mode: Recommend here"
        ))
    }

    /// Whether it should be found out who the other writer is, or whether it is still there; if so, it
    /// is taken note of.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let due = self.lasting(now).is_some() && self.asked.is_none_or(|at| now >= at + ASK);
        if due {
            self.asked = Some(now);
        }
        due
    }

    /// Takes in who it is. Where the object is gone, nothing is waited for any more.
    pub(super) fn found(&mut self, rival: Rival) {
        match rival {
            Rival::Named(rival) => self.rival = Some(rival),
            Rival::None if self.rival.is_some() => *self = Self::default(),
            Rival::None | Rival::Unknown => {}
        }
    }

    /// The quarrel, from the second time on and until our number has stood for a while.
    fn lasting(&self, now: Instant) -> Option<&(Overwritten, Instant)> {
        let last = self.last.as_ref();
        last.filter(|(last, at)| last.times > 1 && now < *at + wait(last.times) + CALM)
    }
}

/// How long the number is left alone after it was written over so often.
fn wait(times: u32) -> Duration {
    match times {
        0 | 1 => Duration::ZERO,
        times => (FIRST * (1 << (times - 2).min(16))).min(MOST),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HPA: &str = "kube-controller-manager";

    fn after(times: u32, start: Instant) -> Contention {
        let mut contention = Contention::default();
        for time in 1..=times {
            assert_eq!(contention.overwritten(HPA, (2, 3), start).times, time);
        }
        contention
    }

    #[test]
    fn once_is_set_right_at_once_and_untold() {
        let start = Instant::now();
        let mut once = after(1, start);
        assert!(!once.yields(start));
        assert_eq!(once.told(start), None);
        assert!(!once.asks(start));
    }

    #[test]
    fn from_the_second_time_on_it_is_given_way_longer_each_time_up_to_five_minutes() {
        let start = Instant::now();
        let moment = Duration::from_millis(1);
        for (times, seconds) in [(2, 30), (3, 60), (4, 120), (5, 240), (6, 300), (60, 300)] {
            let (contention, wait) = (after(times, start), Duration::from_secs(seconds));
            assert!(contention.yields(start + wait.checked_sub(moment).unwrap()));
            assert!(!contention.yields(start + wait), "{times}");
            assert!(contention.told(start + wait).is_some());
            assert_eq!(contention.told(start + wait + CALM), None, "it has calmed");
        }
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let start = Instant::now();
        let mut contention = after(3, start);
        let within = start + wait(3) + MEMORY / 2;
        assert_eq!(contention.overwritten(HPA, (2, 3), within).times, 4);
        let long_after = within + wait(4) + MEMORY;
        assert_eq!(contention.overwritten(HPA, (2, 3), long_after).times, 1);
    }

    #[test]
    fn the_other_writer_is_named_as_well_as_it_is_known() {
        let start = Instant::now();
        let mut contention = after(2, start);
        let told = contention.told(start).unwrap();
        assert!(
            told.starts_with("field manager kube-controller-manager sets the replicas too: it has written over them 2 times, last 3 over 2"),
            "{told}"
        );
        contention.found(Rival::Named("HorizontalPodAutoscaler web".to_owned()));
        contention.found(Rival::Unknown);
        let told = contention.told(start).unwrap();
        let who = "HorizontalPodAutoscaler web (field manager kube-controller-manager) sets";
        assert!(told.starts_with(who), "{told}");
    }

    #[test]
    fn once_the_object_is_gone_nothing_is_waited_for() {
        let start = Instant::now();
        let mut never_found = after(2, start);
        never_found.found(Rival::None);
        assert!(never_found.yields(start), "it may be a person or a tool");
        let mut gone = after(2, start);
        gone.found(Rival::Named("HorizontalPodAutoscaler web".to_owned()));
        gone.found(Rival::None);
        assert!(!gone.yields(start));
        assert_eq!(gone.told(start), None);
    }

    #[test]
    fn it_is_asked_for_at_a_steady_pace_while_it_lasts() {
        let start = Instant::now();
        let mut contention = after(2, start);
        assert!(contention.asks(start));
        assert!(!contention.asks(start + ASK / 2));
        assert!(contention.asks(start + ASK));
        assert!(!contention.asks(start + wait(2) + CALM));
    }
}

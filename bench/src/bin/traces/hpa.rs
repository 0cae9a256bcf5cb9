//! What a cluster admin would use instead, written out as a reference: KEDA for the step between
//! none and one, the HorizontalPodAutoscaler for all others, both with their defaults.
//!
//! - KEDA asks every 30 s (`pollingInterval`). Something there: one replica. Nothing for 300 s
//!   (`cooldownPeriod`) after the last poll that found something: none.
//! - The HPA syncs every 15 s. Wanted are `ceil(metric / target)` of an `AverageValue`, but nothing
//!   changes within a tolerance of 0.1. Upwards it goes by at most 100 % or 4 pods within 15 s,
//!   whichever is more, and downwards to the highest recommendation of the last 300 s.
//!
//! In its favour the metric is what ours follows, tasks that wait and that run, where KEDA's Redis
//! scalers read those that wait alone, and no poll is ever late.

use std::{collections::VecDeque, time::Duration};

use taskqueue_scaling::Seen;

const POLL: Duration = Duration::from_secs(30);
const COOLDOWN: Duration = Duration::from_secs(300);
const SYNC: Duration = Duration::from_secs(15);
const STABILIZATION: Duration = Duration::from_secs(300);
const TOLERANCE: f64 = 0.1;
const STEP_PODS: u32 = 4;

/// KEDA and the HPA over one queue.
pub(crate) struct Reference {
    per_replica: u32,
    max: u32,
    last_active: Option<Duration>,
    recommended: VecDeque<(Duration, u32)>,
}

impl Reference {
    pub(crate) fn new(per_replica: u32, max: u32) -> Self {
        Self {
            per_replica,
            max,
            last_active: None,
            recommended: VecDeque::new(),
        }
    }

    /// Replicas from now on; those there are between the polls and syncs.
    pub(crate) fn aim(&mut self, seen: &Seen) -> u32 {
        let mut replicas = seen.replicas;
        if is_due(seen.now, POLL) {
            replicas = self.poll(seen, replicas);
        }
        // The HPA does nothing while there are no replicas, and sees those of KEDA at its next sync.
        if is_due(seen.now, SYNC) && seen.replicas > 0 && replicas > 0 {
            replicas = self.sync(seen);
        }
        replicas
    }

    fn poll(&mut self, seen: &Seen, replicas: u32) -> u32 {
        if seen.waiting + seen.active > 0 {
            self.last_active = Some(seen.now);
            return replicas.max(1);
        }
        let quiet = self
            .last_active
            .is_none_or(|last| last + COOLDOWN < seen.now);
        if quiet { 0 } else { replicas }
    }

    fn sync(&mut self, seen: &Seen) -> u32 {
        let current = seen.replicas;
        let metric = f64::from(u32::try_from(seen.waiting + seen.active).unwrap_or(u32::MAX));
        let per_replica = f64::from(self.per_replica);
        let usage = metric / (per_replica * f64::from(current));
        let wanted = if (usage - 1.0).abs() <= TOLERANCE {
            current
        } else {
            whole(metric / per_replica)
        };
        self.recommended.push_back((seen.now, wanted));
        while let Some(&(at, _)) = self.recommended.front()
            && at + STABILIZATION < seen.now
        {
            self.recommended.pop_front();
        }
        let highest = self.recommended.iter().map(|&(_, wanted)| wanted).max();
        let stabilized = if wanted < current {
            highest.unwrap_or(wanted).min(current)
        } else {
            wanted
        };
        let most = (current * 2).max(current + STEP_PODS);
        stabilized.min(most).clamp(1, self.max)
    }
}

fn is_due(now: Duration, every: Duration) -> bool {
    now.as_millis().is_multiple_of(every.as_millis())
}

/// Rounded up; a metric is never negative nor beyond `u32`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(wanted: f64) -> u32 {
    wanted.ceil() as u32
}

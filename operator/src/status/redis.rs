//! Whether the settings of a queue's Redis put its tasks at risk, as a condition. Pure.

use taskqueue_api::status::{TaskQueueStatus, condition};
use taskqueue_queue::server::{Finding, Risk, Safety};

use super::condition::{Conditions, Truth};
use crate::index::{Orders, Sight};

/// Sets the condition. Before the first look it stays as it is, unless tasks are gone.
pub(super) fn safety(
    conditions: &mut Conditions<'_>,
    safety: Option<&Safety>,
    orders: &Orders,
    sight: Option<&Sight>,
) {
    let concerns = |finding: &&Finding| orders.source.is_none() || concerns_all(&finding.risk);
    let findings = safety.iter().flat_map(|safety| &safety.findings);
    let findings = findings.filter(concerns);
    let findings = findings.map(|finding| (finding.risk.reason(), finding.to_string()));
    let lost = sight.map_or(0, |sight| sight.missing);
    let lost = (lost > 0).then(|| ("TasksMissing", missing(lost)));
    let risks: Vec<_> = lost.into_iter().chain(findings).collect();
    let untold = safety.map(Safety::untold);
    let (truth, reason, message) = match (risks.first(), untold) {
        (Some((gravest, _)), _) => {
            let told: Vec<_> = risks.iter().map(|(_, told)| told.as_str()).collect();
            (Truth::True, *gravest, told.join(". Also: "))
        }
        (None, None) => return conditions.keep(condition::REDIS_UNSAFE),
        (None, _) if sight.is_some_and(|sight| sight.queue.is_err()) => {
            (Truth::Unknown, "RedisUnreachable", String::new())
        }
        (None, Some(Some(untold))) => (Truth::Unknown, "NotSeen", untold),
        (None, Some(None)) => (Truth::False, "Safe", String::new()),
    };
    conditions.set(condition::REDIS_UNSAFE, truth, reason, message);
}

fn missing(count: u64) -> String {
    format!(
        "{count} tasks are gone from Redis though nobody ended them, or were put back after it lost their \
         places, the last within an hour: evicted, or deleted by somebody"
    )
}

/// Whether it puts queues of other systems at risk as well, which are only read here.
fn concerns_all(risk: &Risk) -> bool {
    match risk {
        Risk::EvictsTasks { .. } | Risk::NearlyFull { .. } | Risk::NotPersisted => true,
        Risk::EvictsRecords { .. }
        | Risk::Replica
        | Risk::TooOld { .. }
        | Risk::TooFewReplicas { .. } => false,
    }
}

/// The reason and the message, if a status tells of a risk that the one before did not.
pub(super) fn news(before: &TaskQueueStatus, now: &TaskQueueStatus) -> Option<(String, String)> {
    let told = |status: &TaskQueueStatus| {
        let found = status.conditions.iter().find(|condition| {
            condition.type_ == condition::REDIS_UNSAFE && condition.status == "True"
        });
        found.map(|condition| (condition.reason.clone(), condition.message.clone()))
    };
    let risk = told(now)?;
    let known = told(before).is_some_and(|(reason, _)| reason == risk.0);
    (!known).then_some(risk)
}

//! What `tq explain` tells, as text and as JSON. Pure.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use taskqueue_api::{
    TaskQueue,
    status::{ScalingChange, ScalingDecision, condition},
};

use crate::table::{age, lines, with_headings};

/// Conditions that say something about the scaling, and what is worth telling of each: its status
/// when all is well.
const CONDITIONS: [(&str, &str); 5] = [
    (condition::READY, "True"),
    (condition::REDIS_REACHABLE, "True"),
    (condition::SCALING_ACTIVE, "True"),
    (condition::ABLE_TO_SCALE, "True"),
    (condition::SCALING_LIMITED, "False"),
];

/// Why a TaskQueue has as many worker pods as it has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    namespace: String,
    name: String,
    mode: String,
    replicas: Option<i32>,
    ready_replicas: Option<i32>,
    desired_replicas: Option<i32>,
    /// The decision that counts now; absent before the first.
    decision: Option<ScalingDecision>,
    /// Conditions in the way, or that hold the number back.
    notes: Vec<Note>,
    /// The last changes, newest first.
    changes: Vec<ScalingChange>,
    #[serde(skip)]
    now: Timestamp,
}

/// A condition that is not as it should be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    condition: String,
    reason: String,
    message: String,
}

impl Report {
    pub(super) fn of(resource: &TaskQueue, now: Timestamp) -> Self {
        let status = resource.status.clone().unwrap_or_default();
        let conditions = &status.conditions;
        let notes = CONDITIONS.iter().filter_map(|(kind, well)| {
            let condition = conditions.iter().find(|it| it.type_ == *kind)?;
            (condition.status != *well).then(|| Note {
                condition: condition.type_.clone(),
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            })
        });
        Self {
            namespace: resource.namespace().unwrap_or_default(),
            name: resource.name_any(),
            mode: format!("{:?}", resource.spec.scaling.mode),
            replicas: status.replicas,
            ready_replicas: status.ready_replicas,
            desired_replicas: status.desired_replicas,
            notes: notes.collect(),
            decision: status.last_decision,
            changes: status.decisions,
            now,
        }
    }

    /// The report for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut report = vec![format!("{}/{}: {}", self.namespace, self.name, self.now())];
        match &self.decision {
            None => report.push("  Nothing was decided yet: does the operator run?".to_owned()),
            Some(decision) => self.decision(decision, &mut report),
        }
        for note in &self.notes {
            let colon = if note.message.is_empty() { "" } else { ": " };
            report.push(format!(
                "  {} ({}){colon}{}",
                note.condition, note.reason, note.message
            ));
        }
        if let Some(decision) = &self.decision {
            inputs(decision, &mut report);
            clamps(decision, &mut report);
        }
        self.changes(&mut report);
        report
    }

    fn now(&self) -> String {
        let told = |replicas: Option<i32>| replicas.map_or("?".to_owned(), |it| it.to_string());
        let desired = match self.mode.as_str() {
            "Recommend" => "recommended",
            _ => "desired",
        };
        format!(
            "{} worker pods, {} ready, {} {desired} (mode {})",
            told(self.replicas),
            told(self.ready_replicas),
            told(self.desired_replicas),
            self.mode
        )
    }

    fn decision(&self, decision: &ScalingDecision, report: &mut Vec<String>) {
        report.push(format!(
            "  {} since {}: {}",
            decision.reason,
            age(decision.time.0, self.now),
            decision.equation
        ));
        if let Some(waits) = &decision.waits_for {
            report.push(format!("  Waits for {waits}"));
        }
    }

    fn changes(&self, report: &mut Vec<String>) {
        report.push(String::new());
        if self.changes.is_empty() {
            report.push("The number has not changed yet.".to_owned());
            return;
        }
        let mut table = with_headings(["AGO", "CHANGE", "WANTED", "REASON", "EQUATION"]);
        for change in &self.changes {
            table.add_row([
                age(change.time.0, self.now),
                format!("{} → {}", change.from, change.to),
                change.wanted.to_string(),
                change.reason.clone(),
                change.equation.clone(),
            ]);
        }
        report.extend(lines(&mut table));
    }
}

fn inputs(decision: &ScalingDecision, report: &mut Vec<String>) {
    if decision.inputs.is_empty() {
        return;
    }
    report.push(String::new());
    let mut table = with_headings(["INPUT", "VALUE"]);
    for input in &decision.inputs {
        table.add_row([&input.name, &input.value]);
    }
    report.extend(lines(&mut table));
}

fn clamps(decision: &ScalingDecision, report: &mut Vec<String>) {
    if decision.clamps.is_empty() {
        return;
    }
    report.push(String::new());
    let mut table = with_headings(["CLAMP", "CHANGE"]);
    for clamp in &decision.clamps {
        table.add_row([clamp.what.clone(), format!("{} → {}", clamp.from, clamp.to)]);
    }
    report.extend(lines(&mut table));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn report(status: &Value) -> Report {
        let resource = json!({
            "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
            "metadata": { "name": "thumbnails", "namespace": "shop" },
            "spec": { "worker": { "handler": { "native": {} } } },
            "status": status
        });
        let resource = serde_json::from_value(resource).unwrap();
        Report::of(&resource, "2026-01-02T03:05:05Z".parse().unwrap())
    }

    fn busy() -> Value {
        json!({
            "replicas": 3, "readyReplicas": 3, "desiredReplicas": 2,
            "lastDecision": {
                "time": "2026-01-02T03:04:05Z", "replicas": 2, "wanted": 2, "reason": "Draining",
                "equation": "ceil((30 waiting + 4 active) / 20) = 2",
                "waitsFor": "pod thumbnails-x to finish 2 tasks",
                "inputs": [{ "name": "waiting", "value": "30" }, { "name": "active", "value": "4" }],
                "clamps": [{ "what": "maxReplicas", "from": 7, "to": 2 }]
            },
            "decisions": [{
                "time": "2026-01-02T03:03:05Z", "from": 0, "to": 3, "wanted": 3, "reason": "Backlog",
                "equation": "ceil((50 waiting + 0 active) / 20) = 3"
            }],
            "conditions": [
                { "type": "Ready", "status": "True", "reason": "InPlace", "message": "",
                    "lastTransitionTime": "2026-01-02T03:04:05Z" },
                { "type": "ScalingLimited", "status": "True", "reason": "AtMaximum",
                    "message": "the tasks need more than maxReplicas = 2",
                    "lastTransitionTime": "2026-01-02T03:04:05Z" }
            ]
        })
    }

    #[test]
    fn the_report_tells_the_state_the_equation_its_inputs_its_clamps_and_the_past() {
        assert_eq!(
            report(&busy()).lines(),
            [
                "shop/thumbnails: 3 worker pods, 3 ready, 2 desired (mode Auto)",
                "  Draining since 60s: ceil((30 waiting + 4 active) / 20) = 2",
                "  Waits for pod thumbnails-x to finish 2 tasks",
                "  ScalingLimited (AtMaximum): the tasks need more than maxReplicas = 2",
                "",
                "INPUT    VALUE",
                "waiting  30",
                "active   4",
                "",
                "CLAMP        CHANGE",
                "maxReplicas  7 → 2",
                "",
                "AGO  CHANGE  WANTED  REASON   EQUATION",
                "2m   0 → 3   3       Backlog  ceil((50 waiting + 0 active) / 20) = 3",
            ]
        );
    }

    #[test]
    fn before_the_first_decision_it_says_what_to_look_for() {
        assert_eq!(
            report(&json!({})).lines(),
            [
                "shop/thumbnails: ? worker pods, ? ready, ? desired (mode Auto)",
                "  Nothing was decided yet: does the operator run?",
                "",
                "The number has not changed yet.",
            ]
        );
    }

    #[test]
    fn as_json_it_has_the_fields_of_the_status() {
        let told = serde_json::to_value(report(&busy())).unwrap();
        assert_eq!(told["desiredReplicas"], 2);
        assert_eq!(told["decision"]["inputs"][0]["name"], "waiting");
        assert_eq!(told["changes"][0]["to"], 3);
        assert_eq!(told["notes"][0]["condition"], "ScalingLimited");
        assert!(told.get("now").is_none());
    }
}

//! The CEL rules of the definition, evaluated here as the API server evaluates them: each at the
//! limit and one over.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod resources;
mod sources;
mod table;

use std::collections::BTreeSet;

use kube::core::cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use serde_json::{Value, json};

use self::table::{Row, manifest};

const IMMUTABLE: &str = "spec.queueName is immutable";
/// A rule on edits too.
const SOURCE_STAYS: &str = "spec.source cannot be added or removed";

fn rows() -> Vec<Row> {
    let mut rows = table::rows();
    rows.extend(sources::rows());
    rows.extend(resources::rows());
    rows
}

fn schema() -> Value {
    let definition = serde_json::to_value(taskqueue_api::definition()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn compiled() -> CompiledSchema {
    let compiled = compile_schema(&schema());
    assert!(
        !compiled.has_errors(),
        "{:?}",
        compiled.compilation_errors()
    );
    compiled
}

/// What the API server would say.
fn refusals(schema: &CompiledSchema, manifest: &Value, before: Option<&Value>) -> Vec<String> {
    match Validator::new().validate_compiled(schema, manifest, before) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_iter()
            .map(|error| {
                // An overflowing duration is an error of the evaluation, which refuses as well.
                let known = [ErrorKind::ValidationFailure, ErrorKind::EvaluationError];
                assert!(known.contains(&error.kind), "{}: {error}", error.rule);
                error.message
            })
            .collect(),
    }
}

#[test]
fn each_rule_accepts_what_is_at_its_limit() {
    let schema = compiled();
    for row in rows() {
        for edits in &row.accepts {
            let refusals = refusals(&schema, &manifest(edits), None);
            let own: Vec<_> = refusals
                .iter()
                .filter(|refusal| refusal.contains(row.message))
                .collect();
            assert!(own.is_empty(), "{edits:?}: {own:?}");
        }
    }
}

#[test]
fn each_rule_refuses_what_is_over_its_limit_and_names_the_fix() {
    let schema = compiled();
    for row in rows() {
        for edits in &row.refuses {
            let refusals = refusals(&schema, &manifest(edits), None);
            assert!(
                refusals.iter().any(|refusal| refusal.contains(row.message)),
                "{edits:?} should be refused with {:?}, but got {refusals:?}",
                row.message
            );
        }
    }
}

#[test]
fn each_rule_of_the_definition_has_a_row() {
    fn collect(schema: &Value, messages: &mut BTreeSet<String>) {
        match schema {
            Value::Object(fields) => {
                let rules = fields
                    .get("x-kubernetes-validations")
                    .and_then(Value::as_array);
                for rule in rules.into_iter().flatten() {
                    messages.insert(rule["message"].as_str().unwrap().to_owned());
                }
                fields.values().for_each(|value| collect(value, messages));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, messages)),
            _ => {}
        }
    }
    let mut messages = BTreeSet::new();
    collect(&schema(), &mut messages);
    let rows = rows();
    let covered = |message: &str| {
        [IMMUTABLE, SOURCE_STAYS]
            .iter()
            .any(|rule| message.contains(rule))
            || rows.iter().any(|row| message.contains(row.message))
    };
    let missing: Vec<_> = messages
        .iter()
        .filter(|message| !covered(message))
        .collect();
    assert_eq!(missing, [""; 0]);
    assert_eq!(messages.len(), rows.len() + 2);
}

#[test]
fn the_smallest_manifest_and_the_defaults_pass_every_rule() {
    assert_eq!(refusals(&compiled(), &manifest(&[]), None), [""; 0]);
}

#[test]
fn the_name_of_the_queue_cannot_change_come_or_go() {
    let schema = compiled();
    let named = |name: &str| manifest(&[("/spec/queueName", json!(name))]);
    let unnamed = manifest(&[]);
    let table = [
        (named("a"), named("a"), true),
        (unnamed.clone(), unnamed.clone(), true),
        (named("a"), named("b"), false),
        (named("a"), unnamed.clone(), false),
        (unnamed, named("a"), false),
    ];
    for (before, after, accepted) in table {
        let refusals = refusals(&schema, &after, Some(&before));
        let refused = refusals.iter().any(|refusal| refusal.contains(IMMUTABLE));
        assert_eq!(refused, !accepted, "{before} to {after}");
    }
}

#[test]
fn a_source_cannot_come_or_go() {
    let schema = compiled();
    let ours = manifest(&[]);
    let source = manifest(&sources::bullmq(&[]));
    let other = manifest(&sources::bullmq(&[(
        "/spec/source",
        json!({"list": {"key": "jobs"}}),
    )]));
    for (before, after, accepted) in [
        (&ours, &source, false),
        (&source, &ours, false),
        (&source, &other, true),
    ] {
        let refusals = refusals(&schema, after, Some(before));
        let refused = refusals
            .iter()
            .any(|refusal| refusal.contains(SOURCE_STAYS));
        assert_eq!(refused, !accepted, "{before} to {after}: {refusals:?}");
    }
}

#[test]
fn everything_else_can_be_edited() {
    let schema = compiled();
    let before = manifest(&[]);
    for row in rows() {
        for edits in row.accepts {
            if edits.iter().any(|(path, _)| path.contains("queueName")) {
                continue;
            }
            let refusals = refusals(&schema, &manifest(&edits), Some(&before));
            let refused = refusals.iter().any(|refusal| refusal.contains(IMMUTABLE));
            assert!(!refused, "{edits:?}");
        }
    }
}

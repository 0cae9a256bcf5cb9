//! Manifests that are read without an API server: by the rules of the API server, and without a panic
//! whatever stands in them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod odd;
#[path = "../rules/sources.rs"]
mod sources;
#[path = "../rules/table/mod.rs"]
mod table;
mod values;
mod verdicts;

use taskqueue_api::manifest::{Unread, admit, read};

fn refusal(text: &str) -> Option<String> {
    read(text).err().map(|unread| unread.to_string())
}

#[test]
fn a_manifest_is_taken_or_refused_with_field_and_reason() {
    let specs = verdicts::SPECS
        .iter()
        .map(|(spec, told)| (verdicts::manifest(spec), told));
    let whole = verdicts::WHOLE
        .iter()
        .map(|(text, told)| ((*text).to_owned(), told));
    for (text, told) in specs.chain(whole) {
        match (refusal(&text), told) {
            (None, None) => {}
            (Some(refusal), Some(told)) if refusal.contains(told) => {}
            (refusal, _) => panic!("{text}should be {told:?}, but is {refusal:?}"),
        }
    }
}

#[test]
fn each_rule_refuses_with_its_message_and_lets_through_what_is_at_its_limit() {
    let mut rows = table::rows();
    rows.extend(sources::rows());
    let refusals = |edits: &[table::Edit]| match admit(table::manifest(edits)) {
        Err(Unread::Refused(refusals)) => refusals,
        _ => Vec::new(),
    };
    for row in rows {
        for edits in &row.refuses {
            let refusals = refusals(edits);
            // A schema that it breaks as well can keep the rule from being looked at.
            let told = |part: &str| refusals.iter().any(|it| it.reason.contains(part));
            let schema = [" is no ", "is missing", " is none of ", ", and "];
            let by_schema = schema.iter().any(|it| told(it));
            assert!(told(row.message) || by_schema, "{edits:?}: {refusals:?}");
        }
        for edits in &row.accepts {
            let refusals = refusals(edits);
            let own = refusals.iter().find(|it| it.reason.contains(row.message));
            assert_eq!(own, None, "{edits:?}");
        }
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let spec = "timeout: 48h\nscaling: {idle: 48h, maxReplicas: 1001, tolerance: 2}";
    let told = refusal(&verdicts::manifest(spec)).unwrap();
    for part in [
        "timeout must be",
        "scaling.idle must be",
        "1001 is above 1000",
        "2 is above 1",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn it_has_the_defaults_of_the_definition() {
    let found = read(&verdicts::manifest(
        "timeout:\nscaling: {maxReplicas: 5.0, idle: }",
    ))
    .unwrap();
    let [queue] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(queue.spec.timeout.to_string(), "300s");
    assert_eq!(queue.spec.scaling.max_replicas, 5);
    assert_eq!(queue.spec.scaling.idle.to_string(), "30s");
    assert_eq!(queue.spec.scaling.scale_up.per.to_string(), "15s");
    assert_eq!(queue.spec.retry.max_attempts, 5);
}

#[test]
fn other_objects_are_passed_over_and_lists_are_opened() {
    let queue = verdicts::manifest("").replace('\n', "\n  ");
    let text = format!(
        "---\n# Nothing.\n---\nkind: ConfigMap\ndata: {{a: b}}\n---\n5\n---\n[a]\n---\n\
         apiVersion: v1\nkind: List\nitems:\n- kind: Secret\n- {queue}\n"
    );
    assert_eq!(read(&text).unwrap().len(), 1, "{text}");
    assert_eq!(read("").unwrap().len(), 0);
    // As programs of Windows write it.
    let windows = format!("\u{feff}{}", verdicts::manifest("").replace('\n', "\r\n"));
    assert_eq!(read(&windows).unwrap().len(), 1);
}

#[test]
fn every_example_is_taken() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut count = 0;
    for file in std::fs::read_dir(examples).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|it| it == "yaml") {
            let found = read(&std::fs::read_to_string(&path).unwrap());
            count += found
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
                .len();
        }
    }
    assert!(count > 3, "only {count} TaskQueues");
}

/// The reader knows these words of a schema. Another one needs to be taught before it is used, or what
/// it says would hold in a cluster alone.
#[test]
fn the_definition_uses_no_word_that_the_reader_does_not_know() {
    const KNOWN: [&str; 23] = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "nullable",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-preserve-unknown-fields",
    ];
    fn walk(schema: &serde_json::Value, seen: &mut usize) {
        for (word, value) in schema.as_object().unwrap() {
            *seen += 1;
            let known = KNOWN.contains(&word.as_str()) || word == "x-kubernetes-validations";
            assert!(known, "{word}: {value}");
        }
        for name in ["items", "additionalProperties"] {
            schema.get(name).into_iter().for_each(|it| walk(it, seen));
        }
        let fields = schema["properties"].as_object();
        fields
            .into_iter()
            .flatten()
            .for_each(|(_, it)| walk(it, seen));
    }
    let definition = serde_json::to_value(taskqueue_api::definition()).unwrap();
    let mut seen = 0;
    walk(
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        &mut seen,
    );
    assert!(seen > 500, "only {seen} words");
}

/// The rules are evaluated here in Rust and there in Go, which differ in these.
#[test]
fn no_rule_uses_what_is_evaluated_differently() {
    fn rules(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                let own = fields
                    .get("x-kubernetes-validations")
                    .and_then(|it| it.as_array());
                for rule in own.into_iter().flatten() {
                    found.push(rule["rule"].as_str().unwrap().to_owned());
                }
                fields.values().for_each(|it| rules(it, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|it| rules(it, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    rules(
        &serde_json::to_value(taskqueue_api::definition()).unwrap(),
        &mut found,
    );
    assert!(found.len() > 60, "only {} rules", found.len());
    for rule in found {
        for word in [
            "\\d",
            "\\w",
            "\\s",
            "\\b",
            "string(duration",
            "getHours",
            "type(",
            "dyn(",
            "optional",
        ] {
            assert!(!rule.contains(word), "{word} in {rule}");
        }
    }
}

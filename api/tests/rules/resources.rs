//! The rules about the resources of added containers, each with manifests at its limit and one over.

use serde_json::{Value, json};

use crate::table::{Edit, Row, row};

const RESOURCES: &str = "/spec/worker/resources";

fn resources(value: Value) -> Vec<Edit> {
    vec![(RESOURCES, value)]
}

/// An amount of this name, as a request and as a limit.
fn amount(message: &'static str, name: &str, accepts: &[Value], refuses: &[Value]) -> Row {
    let edits = |values: &[Value]| -> Vec<Vec<Edit>> {
        let parts = ["requests", "limits"].iter();
        let set = |part: &&str, value: &Value| resources(json!({ *part: { name: value } }));
        parts
            .flat_map(|part| values.iter().map(move |value| set(part, value)))
            .collect()
    };
    row(message, edits(accepts), edits(refuses))
}

/// A request that must not be above the limit.
fn within(message: &'static str, name: &str, [same, one_over]: [&str; 2], limit: &str) -> Row {
    let both = |request: &str| {
        resources(json!({ "requests": { name: request }, "limits": { name: limit } }))
    };
    let alone = |part: &str| resources(json!({ part: { name: one_over } }));
    row(
        message,
        [
            both(same),
            alone("requests"),
            alone("limits"),
            resources(json!({})),
        ],
        [both(one_over)],
    )
}

pub(super) fn rows() -> Vec<Row> {
    let bytes = |others: &[&str]| -> Vec<Value> {
        let units = ["64Mi", "1G", "1k", "1.5Gi", "0"].iter();
        units.chain(others).map(|text| json!(text)).collect()
    };
    let no_bytes = ["64MB", "1 Gi", "-1", "Mi", "1m", "1K", ""].map(|text| json!(text));
    let template = json!({ "spec": { "containers": [{ "name": "a", "image": "b" }] } });
    let native = |resources: Value, template: Value| {
        vec![(RESOURCES, resources), ("/spec/worker/template", template)]
    };
    let some = json!({ "limits": { "cpu": 1 } });
    vec![
        amount(
            "a cpu of worker.resources must be",
            "cpu",
            &["1", "0.5", "50m"]
                .map(|text| json!(text))
                .into_iter()
                .chain([json!(2)])
                .collect::<Vec<_>>(),
            &["1Gi", "half", "-1", "1.", ""].map(|text| json!(text)),
        ),
        amount(
            "a memory of worker.resources must be",
            "memory",
            &bytes(&["16Ei"]),
            &no_bytes,
        ),
        amount(
            "an ephemeral-storage of worker.resources must be",
            "ephemeral-storage",
            &bytes(&[]),
            &no_bytes,
        ),
        within(
            "worker.resources.requests.cpu must not be above limits.cpu",
            "cpu",
            ["1000m", "1001m"],
            "1",
        ),
        within(
            "worker.resources.requests.memory must not be above limits.memory",
            "memory",
            ["1024Mi", "1025Mi"],
            "1Gi",
        ),
        row(
            "worker.resources is for the container that the operator adds",
            [
                native(some.clone(), Value::Null),
                native(Value::Null, template.clone()),
                vec![(
                    "/spec/worker",
                    json!({
                        "handler": { "exec": { "command": ["true"] } },
                        "template": template, "resources": some
                    }),
                )],
            ],
            [native(some, template)],
        ),
    ]
}

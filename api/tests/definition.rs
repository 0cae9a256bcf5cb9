//! The shape of the definition: what `kubectl` shows, and that nothing in it is without bound or
//! description.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use serde_json::Value;
use taskqueue_api::definition;

fn definition_json() -> Value {
    serde_json::to_value(definition()).unwrap()
}

fn version() -> Value {
    let mut definition = definition_json();
    let versions = definition["spec"]["versions"].as_array_mut().unwrap();
    assert_eq!(versions.len(), 1);
    versions.remove(0)
}

/// Calls `visit` with each schema and its path, from the root down. What is given as it comes
/// (the pod template) is not entered.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            walk(&format!("{path}{mark}"), &schema[key], visit);
        }
    }
}

/// The paths of the schemas that `wrong` finds fault with.
fn faults(wrong: impl Fn(&Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let version = version();
    let mut visited = 0;
    walk(
        "",
        &version["schema"]["openAPIV3Schema"],
        &mut |path, schema| {
            visited += 1;
            if wrong(schema) {
                found.push(path.to_owned());
            }
        },
    );
    assert!(visited > 50, "only {visited} schemas were visited");
    found
}

#[test]
fn is_found_by_its_short_name_and_in_the_category_all() {
    let names = definition_json()["spec"]["names"].clone();
    assert_eq!(names["kind"], "TaskQueue");
    assert_eq!(names["plural"], "taskqueues");
    assert_eq!(names["shortNames"], serde_json::json!(["tq"]));
    assert_eq!(names["categories"], serde_json::json!(["all"]));
    assert_eq!(definition_json()["spec"]["scope"], "Namespaced");
    assert_eq!(
        definition_json()["metadata"]["name"],
        "taskqueues.taskqueue.dev"
    );
}

#[test]
fn has_the_subresources_status_and_scale() {
    let subresources = version()["subresources"].clone();
    assert_eq!(subresources["status"], serde_json::json!({}));
    let scale = &subresources["scale"];
    assert_eq!(scale["specReplicasPath"], ".spec.scaling.replicas");
    assert_eq!(scale["statusReplicasPath"], ".status.replicas");
    assert_eq!(scale["labelSelectorPath"], ".status.selector");
}

#[test]
fn the_columns_tell_the_story_of_the_scaling() {
    let version = version();
    let columns = version["additionalPrinterColumns"].as_array().unwrap();
    let of_priority = |priority: i64| -> Vec<&str> {
        columns
            .iter()
            .filter(|column| column["priority"].as_i64().unwrap_or(0) == priority)
            .map(|column| column["name"].as_str().unwrap())
            .collect()
    };
    assert_eq!(
        of_priority(0),
        [
            "Waiting", "Active", "Oldest", "Ready", "Desired", "Min", "Max", "Reason", "Age"
        ]
    );
    assert_eq!(of_priority(1), ["Queue", "Scheduled", "Dead", "Equation"]);
}

#[test]
fn each_column_shows_a_field_that_exists() {
    let version = version();
    let schema = &version["schema"]["openAPIV3Schema"];
    for column in version["additionalPrinterColumns"].as_array().unwrap() {
        let path = column["jsonPath"].as_str().unwrap();
        if path.starts_with(".metadata.") {
            continue;
        }
        let pointer = path.replace('.', "/properties/");
        let field = schema.pointer(&pointer);
        let kind = field.map(|field| &field["type"]);
        assert_eq!(kind, Some(&column["type"]), "{path}");
    }
}

#[test]
fn each_path_of_the_scale_subresource_is_a_field() {
    let version = version();
    let schema = &version["schema"]["openAPIV3Schema"];
    for (_, path) in version["subresources"]["scale"].as_object().unwrap() {
        let pointer = path.as_str().unwrap().replace('.', "/properties/");
        assert!(schema.pointer(&pointer).is_some(), "{path}");
    }
}

#[test]
fn each_string_has_a_longest_length() {
    // A list of values and a date are bounded by what they are.
    let unbounded = faults(|schema| {
        schema["type"] == "string"
            && schema["maxLength"].is_null()
            && schema["enum"].is_null()
            && schema["format"] != "date-time"
    });
    assert_eq!(unbounded, [""; 0]);
}

#[test]
fn each_array_and_map_has_a_largest_size() {
    let unbounded = faults(|schema| {
        (schema["type"] == "array" && schema["maxItems"].is_null())
            || (schema["additionalProperties"].is_object() && schema["maxProperties"].is_null())
    });
    assert_eq!(unbounded, [""; 0]);
}

#[test]
fn each_number_has_a_least_and_a_largest_value() {
    let unbounded = faults(|schema| {
        matches!(schema["type"].as_str(), Some("integer" | "number"))
            && (schema["minimum"].is_null() || schema["maximum"].is_null())
    });
    assert_eq!(unbounded, [""; 0]);
}

#[test]
fn each_property_is_described_for_kubectl_explain() {
    let bare = faults(|schema| {
        let properties = schema["properties"].as_object();
        properties
            .into_iter()
            .flatten()
            .any(|(_, property)| property["description"].as_str().is_none_or(str::is_empty))
    });
    assert_eq!(bare, [""; 0]);
}

#[test]
fn no_description_is_broken_in_the_middle_of_a_sentence() {
    let broken = faults(|schema| {
        let text = schema["description"].as_str().unwrap_or_default();
        text.split("\n\n").any(|paragraph| paragraph.contains('\n'))
    });
    assert_eq!(broken, [""; 0]);
}

#[test]
fn each_rule_has_a_message_in_one_line() {
    let wordless = faults(|schema| {
        let rules = schema["x-kubernetes-validations"].as_array();
        rules.into_iter().flatten().any(|rule| {
            let message = rule["message"].as_str().unwrap_or_default();
            message.is_empty() || message.contains('\n')
        })
    });
    assert_eq!(wordless, [""; 0]);
}

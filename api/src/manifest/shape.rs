//! The shape of an object against a structural schema: fields that nobody knows, nulls that stand for
//! nothing, and defaults. Each in the order and the sense of the API server. Pure.

use serde_json::{Map, Value};

use super::Refusal;

/// Fields that a schema need not name: the API server has rules of its own for them.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Whether a schema says so.
pub(super) fn says(schema: &Value, keyword: &str) -> bool {
    schema[keyword] == true
}

/// The schema of a field of an object.
pub(super) fn of_field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let named = schema["properties"].get(name);
    named.or_else(|| {
        let others = &schema["additionalProperties"];
        others.is_object().then_some(others)
    })
}

/// The path of a field of the object at `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Tells the fields that the schema does not know, which kubectl has refused by default.
pub(super) fn find_unknown(schema: &Value, object: &Value, refusals: &mut Vec<Refusal>) {
    unknown(schema, object, "", refusals);
}

fn unknown(schema: &Value, value: &Value, path: &str, refusals: &mut Vec<Refusal>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if path.is_empty() && OF_EVERY_OBJECT.contains(&name.as_str()) {
                    continue;
                }
                let path = join(path, name);
                match of_field(schema, name) {
                    Some(schema) => unknown(schema, field, &path, refusals),
                    None if says(schema, "x-kubernetes-preserve-unknown-fields") => {}
                    None => refusals.push(Refusal::new(&path, "is no field of a TaskQueue")),
                }
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                if let Some(schema) = schema.get("items") {
                    unknown(schema, item, &format!("{path}[{place}]"), refusals);
                }
            }
        }
        _ => {}
    }
}

/// Drops the nulls of fields, as if nothing stood there: where the API server does not do so itself, since
/// a field takes null, no rule is evaluated on it and it means nothing. Nulls of what is kept as it comes
/// stay.
pub(super) fn drop_nulls(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, field| !field.is_null() || of_field(schema, name).is_none());
            for (name, field) in fields {
                if let Some(schema) = of_field(schema, name) {
                    drop_nulls(schema, field);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                drop_nulls(&schema["items"], item);
            }
        }
        _ => {}
    }
}

/// Puts defaults where nothing stands, also inside of defaults.
pub(super) fn fill_in(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let known: Option<&Map<_, _>> = schema["properties"].as_object();
            for (name, schema) in known.into_iter().flatten() {
                if let (None, Some(default)) = (fields.get(name), schema.get("default")) {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, field) in fields {
                if let Some(schema) = of_field(schema, name) {
                    fill_in(schema, field);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                fill_in(&schema["items"], item);
            }
        }
        _ => {}
    }
}

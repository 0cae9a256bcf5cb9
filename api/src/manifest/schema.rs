//! The bounds of a structural schema: types, ranges, lengths and lists. It knows the keywords that our
//! definition uses, and a test tells when it uses another one. Pure.

use regex_lite::Regex;
use serde_json::Value;

use super::{
    Refusal,
    shape::{join, of_field, says},
};

/// The most of a value that is shown.
const SHOWN: usize = 80;

/// What a check found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) refusals: Vec<Refusal>,
    /// The object is so far from the schema that no rule is evaluated on it.
    pub(super) unsafe_for_rules: bool,
}

impl Found {
    fn refuse(&mut self, path: &str, reason: String) {
        self.refusals.push(Refusal::new(path, reason));
    }

    /// Refuses what keeps rules from being evaluated.
    fn refuse_first(&mut self, path: &str, reason: String) {
        self.unsafe_for_rules = true;
        self.refuse(path, reason);
    }
}

/// Checks an object. Whole numbers that were written as `5.0` become ones.
pub(super) fn check(schema: &Value, object: &mut Value) -> Found {
    let mut found = Found::default();
    check_at(schema, object, "", &mut found);
    found
}

fn check_at(schema: &Value, value: &mut Value, path: &str, found: &mut Found) {
    make_whole(schema, value);
    if !is_of_type(schema, value) {
        let types = if says(schema, "x-kubernetes-int-or-string") {
            "integer or string"
        } else {
            schema["type"].as_str().unwrap_or_default()
        };
        found.refuse_first(path, format!("{} is no {types}", shown(value)));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let names: Vec<_> = allowed.iter().map(shown).collect();
        let allowed = names.join(", ");
        found.refuse_first(path, format!("{} is none of {allowed}", shown(value)));
    }
    match value {
        Value::Number(_) => check_number(schema, value, path, found),
        Value::String(text) => check_text(schema, text, path, found),
        Value::Array(items) => {
            check_size(schema, "Items", "items", items.len(), path, found);
            check_list(schema, items, path, found);
            for (place, item) in items.iter_mut().enumerate() {
                check_at(&schema["items"], item, &format!("{path}[{place}]"), found);
            }
        }
        Value::Object(fields) => {
            let count = fields.len();
            check_size(schema, "Properties", "fields", count, path, found);
            let needed = schema["required"].as_array();
            for name in needed.into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    found.refuse_first(&join(path, name), "is missing".to_owned());
                }
            }
            for (name, field) in fields {
                if let Some(schema) = of_field(schema, name) {
                    check_at(schema, field, &join(path, name), found);
                }
            }
        }
        _ => {}
    }
}

/// The largest float that every whole number below can be told from.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Where a whole number is meant, makes one of a float without a fraction.
fn make_whole(schema: &Value, value: &mut Value) {
    let whole = schema["type"] == "integer" || says(schema, "x-kubernetes-int-or-string");
    if let Some(float) = value.as_f64()
        && whole
        && !value.is_i64()
        && !value.is_u64()
        && float.fract() == 0.0
        && float.abs() < EXACT
    {
        #[allow(clippy::cast_possible_truncation, reason = "it is whole and in range")]
        let number = float as i64;
        *value = number.into();
    }
}

fn is_of_type(schema: &Value, value: &Value) -> bool {
    if says(schema, "x-kubernetes-int-or-string") {
        return value.is_string() || value.is_i64();
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        // Of 64 bits with a sign, as there.
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        // Whatever stands there is kept as it is.
        _ => true,
    }
}

fn check_number(schema: &Value, value: &Value, path: &str, found: &mut Found) {
    let Some(number) = value.as_f64() else { return };
    let bound = |name: &str| schema[name].as_f64();
    if let Some(least) = bound("minimum").filter(|least| number < *least) {
        found.refuse(path, format!("{value} is below {least}, the least allowed"));
    }
    if let Some(most) = bound("maximum").filter(|most| number > *most) {
        found.refuse(path, format!("{value} is above {most}, the most allowed"));
    }
}

fn check_text(schema: &Value, text: &str, path: &str, found: &mut Found) {
    check_size(
        schema,
        "Length",
        "characters",
        text.chars().count(),
        path,
        found,
    );
    let pattern = schema["pattern"].as_str();
    if let Some(pattern) = pattern
        && !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
    {
        let text = shown(&text.into());
        found.refuse(path, format!("{text} does not look like {pattern}"));
    }
}

/// Checks the bounds `minX` and `maxX`.
fn check_size(
    schema: &Value,
    keyword: &str,
    unit: &str,
    size: usize,
    path: &str,
    found: &mut Found,
) {
    let size = size as u64;
    let bound = |which: &str| schema[format!("{which}{keyword}")].as_u64();
    if let Some(least) = bound("min").filter(|least| size < *least) {
        found.refuse(path, format!("has {size} {unit}, and needs {least}"));
    }
    if let Some(most) = bound("max").filter(|most| size > *most) {
        found.refuse_first(path, format!("has {size} {unit}, and takes {most}"));
    }
}

/// Lists that are sets, and those that are maps by some of their fields.
fn check_list(schema: &Value, items: &[Value], path: &str, found: &mut Found) {
    let keys: Vec<String> = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => items.iter().map(Value::to_string).collect(),
        Some("map") => {
            let names = schema["x-kubernetes-list-map-keys"].as_array();
            let names: Vec<_> = names
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let key = |item: &Value| {
                let fields: Vec<_> = names.iter().map(|name| item[*name].to_string()).collect();
                fields.join(", ")
            };
            items.iter().map(key).collect()
        }
        _ => return,
    };
    for (place, key) in keys.iter().enumerate() {
        if keys[..place].contains(key) {
            found.refuse(
                &format!("{path}[{place}]"),
                format!("{key} stands there twice"),
            );
        }
    }
}

/// A value as JSON, cut to what fits in a line.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

//! From the text of a manifest to the JSON objects that kubectl would send. Pure.

use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// The objects of a text in YAML or JSON; those of a `List` one by one.
pub(super) fn objects(text: &str) -> Result<Vec<Value>, String> {
    // Programs of Windows begin a text with it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut objects = Vec::new();
    for document in yaml_serde::Deserializer::from_str(text) {
        let mut value =
            yaml_serde::Value::deserialize(document).map_err(|error| error.to_string())?;
        value.apply_merge().map_err(|error| error.to_string())?;
        let object = json(value)?;
        if object["kind"] == "List" {
            let items = object["items"].as_array();
            objects.extend(items.into_iter().flatten().cloned());
        } else {
            objects.push(object);
        }
    }
    Ok(objects)
}

fn json(value: yaml_serde::Value) -> Result<Value, String> {
    Ok(match value {
        yaml_serde::Value::Null => Value::Null,
        yaml_serde::Value::Bool(it) => Value::Bool(it),
        yaml_serde::Value::Number(it) => Value::Number(number(&it)?),
        yaml_serde::Value::String(text) => Value::String(text),
        yaml_serde::Value::Sequence(items) => {
            Value::Array(items.into_iter().map(json).collect::<Result<_, _>>()?)
        }
        yaml_serde::Value::Mapping(fields) => {
            let mut object = Map::new();
            for (name, field) in fields {
                object.insert(key(name)?, json(field)?);
            }
            Value::Object(object)
        }
        yaml_serde::Value::Tagged(it) => {
            return Err(format!("the tag {} is none that JSON knows", it.tag));
        }
    })
}

/// A float without a fraction is a whole number there: it is sent as Go writes it.
fn number(number: &yaml_serde::Number) -> Result<Number, String> {
    if let Some(whole) = number.as_i64() {
        return Ok(whole.into());
    }
    if let Some(whole) = number.as_u64() {
        return Ok(whole.into());
    }
    let float = number.as_f64().unwrap_or(f64::NAN);
    Number::from_f64(float).ok_or_else(|| format!("{number} is no number that JSON knows"))
}

fn key(key: yaml_serde::Value) -> Result<String, String> {
    match key {
        yaml_serde::Value::String(text) => Ok(text),
        yaml_serde::Value::Number(it) => Ok(it.to_string()),
        yaml_serde::Value::Bool(it) => Ok(it.to_string()),
        _ => Err("a key is neither a text nor a number".to_owned()),
    }
}

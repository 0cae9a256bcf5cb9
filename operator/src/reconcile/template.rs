//! The pod template as given, read as Kubernetes' type without losing any of it. Pure.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;
use taskqueue_api::spec::PodTemplate;

use super::validate::Invalid;

/// Parses the template. A field that the type does not have is refused, since it would be dropped
/// without a word: a misspelt `resources` is a worker without limits.
pub(super) fn parse(template: &PodTemplate) -> Result<PodTemplateSpec, Invalid> {
    let refused = |error: serde_json::Error| Invalid::Template(error.to_string());
    let given = Value::Object(template.to_map());
    let parsed: PodTemplateSpec = serde_json::from_value(given.clone()).map_err(refused)?;
    let kept = serde_json::to_value(&parsed).map_err(refused)?;
    match dropped(&given, &kept) {
        None => Ok(parsed),
        Some(path) => Err(Invalid::Template(format!(
            "{} is no field of it: check its spelling and place, or leave it out",
            path.trim_start_matches('.')
        ))),
    }
}

/// The path of a value that was given and not kept. Empty values say nothing, so none is missed.
pub(crate) fn dropped(given: &Value, kept: &Value) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), kept) => given
            .iter()
            .filter(|(_, value)| !is_empty(value))
            .find_map(|(name, value)| match kept.get(name) {
                None => Some(format!(".{name}")),
                Some(kept) => dropped(value, kept).map(|path| format!(".{name}{path}")),
            }),
        (Value::Array(given), Value::Array(kept)) => {
            given
                .iter()
                .zip(kept)
                .enumerate()
                .find_map(|(place, (given, kept))| {
                    dropped(given, kept).map(|path| format!("[{place}]{path}"))
                })
        }
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

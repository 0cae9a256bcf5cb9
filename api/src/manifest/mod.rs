//! A manifest read without an API server, by that one's rules: what would be refused there is refused
//! here, and what would be taken is taken, with the same defaults.
//!
//! The rules are those of the definition itself, its schema and its CEL rules, so there is no second
//! set of them. Behind the feature `manifest`. Pure.

mod schema;
mod shape;
mod yaml;

use std::{fmt, sync::LazyLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::cel::{CompiledSchema, Validator, compile_schema},
};
use serde_json::Value;

use crate::TaskQueue;

/// What a name that the API server makes up from `generateName` ends with, in length and letters.
const MADE_UP: &str = "xxxxx";

/// The schema of the definition, and its CEL rules, compiled.
static RULES: LazyLock<(Value, CompiledSchema)> = LazyLock::new(|| {
    let schema = root();
    let compiled = compile_schema(&schema);
    (schema, compiled)
});

/// Why a manifest is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is no YAML, or holds what JSON cannot.
    Yaml(String),
    /// The API server would refuse it, for these reasons; at least one.
    Refused(Vec<Refusal>),
}

/// One reason to refuse a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Path of the field, such as `spec.scaling.windows[0].start`; empty for the whole object.
    pub field: String,
    /// What is wrong with it, and what is allowed.
    pub reason: String,
}

impl Refusal {
    fn new(field: &str, reason: impl Into<String>) -> Self {
        let (field, reason) = (field.to_owned(), reason.into());
        Self { field, reason }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => formatter.write_str(&self.reason),
            field => write!(formatter, "{field}: {}", self.reason),
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yaml(reason) => formatter.write_str(reason),
            Self::Refused(refusals) => {
                let lines: Vec<_> = refusals.iter().map(ToString::to_string).collect();
                formatter.write_str(&lines.join("; "))
            }
        }
    }
}

impl std::error::Error for Unread {}

/// The TaskQueues of a text in YAML or JSON, in their order. Other kinds of objects are passed over,
/// and those in a `List` are found. The first that would be refused is an error.
pub fn read(text: &str) -> Result<Vec<TaskQueue>, Unread> {
    let mut found = Vec::new();
    for object in yaml::objects(text).map_err(Unread::Yaml)? {
        if object["kind"] == TaskQueue::kind(&()).as_ref() {
            found.push(admit(object)?);
        }
    }
    Ok(found)
}

/// What the API server would make of a new TaskQueue: refuse it, or take it with its defaults.
pub fn admit(mut object: Value) -> Result<TaskQueue, Unread> {
    let (schema, compiled) = &*RULES;
    let mut refusals = head(&mut object);
    shape::find_unknown(schema, &object, &mut refusals);
    if let Value::Object(fields) = &mut object {
        // The status is the operator's: of a new object it is dropped unread.
        fields.remove("status");
    }
    shape::drop_nulls(schema, &mut object);
    shape::fill_in(schema, &mut object);
    let found = schema::check(schema, &mut object);
    let unsafe_for_rules = found.unsafe_for_rules || !refusals.is_empty();
    refusals.extend(found.refusals);
    if !unsafe_for_rules {
        refusals.extend(broken_rules(compiled, &object));
    }
    if !refusals.is_empty() {
        return Err(Unread::Refused(refusals));
    }
    serde_json::from_value(object)
        .map_err(|error| Unread::Refused(vec![Refusal::new("", error.to_string())]))
}

/// What stands outside of the schema: version, kind and metadata.
fn head(object: &mut Value) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let (version, kind) = (TaskQueue::api_version(&()), TaskQueue::kind(&()));
    for (field, right) in [("apiVersion", version), ("kind", kind)] {
        if object[field] != right.as_ref() {
            let reason = format!("is {}, not {right}", object[field]);
            refusals.push(Refusal::new(field, reason));
        }
    }
    let metadata = match object.get("metadata") {
        None | Some(Value::Null) => Value::Object(serde_json::Map::new()),
        Some(metadata) => metadata.clone(),
    };
    match serde_json::from_value::<ObjectMeta>(metadata) {
        Err(error) => refusals.push(Refusal::new("metadata", error.to_string())),
        Ok(metadata) => {
            let given = |text: Option<String>| text.filter(|text| !text.is_empty());
            match (given(metadata.name), given(metadata.generate_name)) {
                (Some(_), _) => {}
                (None, Some(prefix)) => {
                    object["metadata"]["name"] = format!("{prefix}{MADE_UP}").into();
                }
                (None, None) => {
                    refusals.push(Refusal::new("metadata.name", "is missing"));
                }
            }
        }
    }
    refusals
}

fn broken_rules(compiled: &CompiledSchema, object: &Value) -> Vec<Refusal> {
    match Validator::new().validate_compiled(compiled, object, None) {
        Ok(()) => Vec::new(),
        Err(broken) => broken
            .into_iter()
            .map(|rule| Refusal::new(&rule.field_path, rule.message))
            .collect(),
    }
}

/// The schema of the one version that there is.
fn root() -> Value {
    let version = crate::definition().spec.versions.into_iter().next();
    let schema = version.and_then(|version| version.schema?.open_api_v3_schema);
    // A schema without a shape refuses every field; a test holds that this does not come to be.
    serde_json::to_value(schema).unwrap_or_default()
}

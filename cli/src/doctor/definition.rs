//! The definition of the TaskQueue in a cluster against the one that this `tq` was built with. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use super::report::Finding;

/// What these findings are about.
pub(super) const CHECK: &str = "definition";
/// How many fields are named.
const NAMED: usize = 4;

const INSTALL: &str =
    "install the chart, or kubectl apply --server-side -f crds/taskqueues.taskqueue.dev.yaml";

/// There is none.
pub(super) fn missing() -> Finding {
    let text = format!("the cluster has no definition of TaskQueues: {INSTALL}");
    Finding::problem(CHECK, text)
}

/// How the installed definition is.
pub(super) fn judge(installed: &CustomResourceDefinition) -> Finding {
    let ours = taskqueue_api::definition();
    let version = &ours.spec.versions[0].name;
    let conditions = installed
        .status
        .as_ref()
        .and_then(|it| it.conditions.as_ref());
    let established = conditions
        .into_iter()
        .flatten()
        .find(|it| it.type_ == "Established");
    if let Some(condition) = established.filter(|it| it.status != "True") {
        let message = condition.message.as_deref().unwrap_or_default();
        let text = format!("the API server does not serve the definition of TaskQueues: {message}");
        return Finding::problem(CHECK, text);
    }
    let (Some(theirs), Some(ours)) = (schema(installed, version), schema(&ours, version)) else {
        let text = format!("the definition of TaskQueues has no version {version}: {INSTALL}");
        return Finding::problem(CHECK, text);
    };
    let mut found = Differences::default();
    compare(&ours, &theirs, "", &mut found);
    let tq = env!("CARGO_PKG_VERSION");
    if !found.missing.is_empty() {
        return Finding::problem(
            CHECK,
            format!(
                "the definition of TaskQueues is older than this tq ({tq}): {} would be refused or dropped. Upgrade \
                 the chart, or kubectl apply --server-side -f crds/taskqueues.taskqueue.dev.yaml",
                named(&found.missing)
            ),
        );
    }
    if !found.further.is_empty() {
        let further = named(&found.further);
        let text = format!(
            "the definition of TaskQueues is newer than this tq ({tq}): it knows {further}. Update tq"
        );
        return Finding::warning(CHECK, text);
    }
    if !found.changed.is_empty() {
        return Finding::warning(
            CHECK,
            format!(
                "the definition of TaskQueues is another version's than this tq ({tq}): it has other rules for {}. \
                 Bring the chart and tq to one version",
                named(&found.changed)
            ),
        );
    }
    Finding::ok(
        CHECK,
        format!("TaskQueues are defined as this tq ({tq}) knows them"),
    )
}

fn schema(definition: &CustomResourceDefinition, version: &str) -> Option<Value> {
    let versions = &definition.spec.versions;
    let version = versions.iter().find(|it| it.name == version && it.served)?;
    let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    serde_json::to_value(schema).ok()
}

/// Paths of fields.
#[derive(Default)]
struct Differences {
    missing: Vec<String>,
    further: Vec<String>,
    changed: Vec<String>,
}

fn compare(ours: &Value, theirs: &Value, path: &str, found: &mut Differences) {
    if rules(ours) != rules(theirs) {
        found
            .changed
            .push(if path.is_empty() { "a TaskQueue" } else { path }.to_owned());
    }
    let fields = |schema: &Value| {
        schema["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default()
    };
    let (known, there) = (fields(ours), fields(theirs));
    let join = |name: &str| format!("{path}{}{name}", if path.is_empty() { "" } else { "." });
    for (name, ours) in &known {
        match there.get(name) {
            Some(theirs) => compare(ours, theirs, &join(name), found),
            None => found.missing.push(join(name)),
        }
    }
    let new = there.keys().filter(|name| !known.contains_key(*name));
    found.further.extend(new.map(|name| join(name)));
    for inner in ["items", "additionalProperties"] {
        if ours[inner].is_object() && theirs[inner].is_object() {
            compare(&ours[inner], &theirs[inner], &format!("{path}[]"), found);
        }
    }
}

/// What a schema says of a value itself, apart from words for people.
fn rules(schema: &Value) -> Value {
    let mut rules = schema.clone();
    if let Value::Object(rules) = &mut rules {
        for other in ["description", "properties", "items", "additionalProperties"] {
            rules.remove(other);
        }
    }
    rules
}

fn named(fields: &[String]) -> String {
    let first = fields[..fields.len().min(NAMED)].join(", ");
    match fields.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::super::report::Level;
    use super::*;

    /// Ours, with a change at a place of its schema.
    fn changed(pointer: &str, change: impl FnOnce(&mut Value)) -> CustomResourceDefinition {
        let mut definition = serde_json::to_value(taskqueue_api::definition()).unwrap();
        let root = "/spec/versions/0";
        change(definition.pointer_mut(&format!("{root}{pointer}")).unwrap());
        serde_json::from_value(definition).unwrap()
    }

    const SPEC: &str = "/schema/openAPIV3Schema/properties/spec/properties";

    #[test]
    fn the_same_definition_is_fine_whatever_its_words() {
        let found = judge(&taskqueue_api::definition());
        assert_eq!(found.level, Level::Ok, "{found:?}");
        let found = judge(&changed(&format!("{SPEC}/timeout"), |field| {
            field["description"] = json!("other words");
        }));
        assert_eq!(found.level, Level::Ok, "{found:?}");
    }

    #[test]
    fn an_older_one_lacks_fields_and_a_newer_one_has_more() {
        let found = judge(&changed(&format!("{SPEC}/worker/properties"), |fields| {
            fields.as_object_mut().unwrap().remove("shield");
        }));
        assert_eq!(found.level, Level::Problem);
        assert!(
            found
                .text
                .contains(": spec.worker.shield would be refused or dropped. Upgrade the chart"),
            "{found:?}"
        );
        let found = judge(&changed(SPEC, |fields| {
            fields["teleport"] = json!({"type": "boolean"});
        }));
        assert_eq!(found.level, Level::Warning);
        assert!(
            found.text.contains("it knows spec.teleport. Update tq"),
            "{found:?}"
        );
        let found = judge(&changed(SPEC, |fields| *fields = json!({})));
        assert!(found.text.contains(" more would be refused"), "{found:?}");
    }

    #[test]
    fn another_bound_or_rule_is_told_with_its_field() {
        let found = judge(&changed(
            &format!("{SPEC}/scaling/properties/maxReplicas"),
            |field| {
                field["maximum"] = json!(50);
            },
        ));
        assert_eq!(found.level, Level::Warning);
        assert!(
            found
                .text
                .contains("other rules for spec.scaling.maxReplicas. Bring"),
            "{found:?}"
        );
    }

    #[test]
    fn one_that_is_not_served_is_a_problem() {
        let found = judge(&changed("", |version| version["served"] = json!(false)));
        assert_eq!(found.level, Level::Problem);
        let mut refused = serde_json::to_value(taskqueue_api::definition()).unwrap();
        refused["status"] = json!({
            "acceptedNames": {"kind": "TaskQueue", "plural": "taskqueues"}, "storedVersions": [],
            "conditions": [{"type": "Established", "status": "False", "message": "not all names are accepted"}]
        });
        let found = judge(&serde_json::from_value(refused).unwrap());
        assert_eq!(found.level, Level::Problem);
        assert!(
            found.text.contains("not all names are accepted"),
            "{found:?}"
        );
    }
}

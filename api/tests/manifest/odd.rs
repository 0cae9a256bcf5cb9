//! Odd values in every field: refused or taken, never a panic, and what is taken makes a policy or a
//! refusal of one.

use serde_json::Value;
use taskqueue_api::{
    manifest::{admit, read},
    scaling,
};

use crate::values::{pointers, set, values};
use crate::verdicts;

fn try_out(manifest: Value) -> bool {
    let taken = admit(manifest);
    let is_taken = taken.is_ok();
    if let Ok(queue) = taken {
        let _ = scaling::policy(&queue);
        let _ = scaling::caps(&queue.spec.limits);
    }
    is_taken
}

#[test]
fn in_no_field_is_a_value_too_odd() {
    let schema = serde_json::to_value(taskqueue_api::definition()).unwrap();
    let mut fields = Vec::new();
    let root = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    pointers(root, "", &mut fields);
    assert!(fields.len() > 150, "only {}", fields.len());
    fields.extend(
        [
            "/metadata",
            "/metadata/name",
            "/metadata/labels",
            "/kind",
            "/apiVersion",
        ]
        .map(str::to_owned),
    );
    let base: Value = yaml_serde::from_str(&verdicts::manifest("")).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for (offset, field) in fields.iter().enumerate() {
        // A twelfth of them in each field, since rules take their time; the API server sees all.
        for value in values().into_iter().skip(offset % 12).step_by(12) {
            let mut manifest = base.clone();
            set(&mut manifest, field, value);
            if try_out(manifest) {
                taken += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(
        taken > 30 && refused > 300,
        "{taken} taken, {refused} refused"
    );
}

#[test]
fn no_text_is_too_odd_for_a_manifest() {
    let deep =
        |open: &str, close: &str| format!("a: {}{}", open.repeat(20_000), close.repeat(20_000));
    for text in [
        "\u{0}",
        "\u{feff}",
        "---",
        "--- ---",
        "- - - -",
        "{",
        "}",
        "[",
        "a: b: c",
        "\t",
        "&a",
        "*a",
        "&a *a",
        "a: &a [*a]",
        "<<: *a",
        "<<: 5",
        "<<: [5]",
        "kind: TaskQueue",
        "kind: [TaskQueue]",
        "kind: List",
        "kind: List\nitems: 5",
        "kind: List\nitems: [5, null]",
        "? {a: b}\n: c",
        "5: 6",
        "a: 1\na: 2",
        "!x y",
        "kind: !TaskQueue x",
        "a: .inf",
        "a: .nan",
        "a: -.inf",
        "a: 1e999",
        "%YAML 9.9\n---\na",
        "...",
        "\u{85}",
        "kind: TaskQueue\nspec: .nan",
        "a: 99999999999999999999999999999999999999999999",
        "a: 0x",
        "a: 0o9",
        "- 1\n-",
        &deep("[", "]"),
        &deep("{a: ", "}"),
        &"- ".repeat(20_000),
        &"a: ".repeat(20_000),
        &"[".repeat(100_000),
        "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\ne: &e [*d,*d]\nf: &f [*e,*e]\ng: [*f,*f]",
    ] {
        let _ = read(text);
    }
}

mod random {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn no_manifest_panics(text in "\\PC{0,200}", spec in "[-a-z0-9 :.,{}\\[\\]'\"&*!|>%\n]{0,80}") {
            let _ = read(&text);
            let _ = read(&verdicts::manifest(&spec));
        }

        #[test]
        fn no_duration_panics(text in "[-+]?[0-9.eE+-]{0,24}(ns|us|ms|s|m|h|d)?[-+0-9.hms]{0,8}") {
            let spec = format!("timeout: '{text}'\nscaling: {{idle: '{text}', scaleUp: {{per: '{text}'}}}}");
            let _ = read(&verdicts::manifest(&spec));
            let _ = text.parse::<taskqueue_api::spec::Duration>();
        }
    }
}

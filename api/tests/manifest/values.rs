//! Odd values, and the fields of a schema to put them into.

use serde_json::{Value, json};

/// Values that no field expects, and some that only seem right.
pub(super) fn values() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!([[]]),
        json!({"": {}}),
        json!([null]),
        json!(0),
        json!(-1),
        json!(1),
        json!(5.0),
        json!(0.5),
        json!(-0.0),
        json!(1e300),
        json!(5e-324),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(i32::MAX),
        json!(9_007_199_254_740_993_i64),
    ];
    let nines = "9".repeat(31);
    let texts = [
        "",
        " ",
        "s",
        "h",
        "0",
        "-",
        "+",
        ".",
        "1..s",
        "1s-5s",
        "-1s",
        "--1s",
        "1e9s",
        "1e309s",
        "infs",
        "NaN",
        "inf",
        "0.0000000000000000000000001s",
        "99999999999999999999h",
        "2562047h47m16.854775807s",
        "9223372036854775807ns",
        "584554531y",
        "\u{0}",
        "\u{feff}1s",
        "1ſ",
        "٣s",
        "1µs",
        "100%",
        "1000%",
        "-5%",
        "99999999999%",
        "24:00",
        "99:99",
        "1:1",
        "+99:99",
        "Europe/Berlin",
        "../../etc/passwd",
        "UTC+99",
        "* * * * *",
        "99999999999 * * * *",
        "*/0 * * * *",
        "0-99999999999 * * * *",
        "@yearly",
        "redis://",
        "redis://[::",
        "redis://a:99999999999",
        "rediss://%zz@a",
        "(((((((((((",
        "a{99999}",
        "[z-a]",
        "\\",
        "日本語",
        &nines,
    ];
    values.extend(texts.iter().map(|text| json!(text)));
    values.push(json!(format!("{nines}h")));
    values.push(json!("9".repeat(5000)));
    values.push(json!("9h".repeat(16)));
    values.push(json!("x".repeat(100_000)));
    values
}

/// The pointers of all fields of a schema, with the first item of each list.
pub(super) fn pointers(schema: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        pointers(field, &format!("{at}/{name}"), found);
    }
    if schema["items"].is_object() {
        pointers(&schema["items"], &format!("{at}/0"), found);
    }
    if schema["additionalProperties"].is_object() {
        pointers(&schema["additionalProperties"], &format!("{at}/any"), found);
    }
}

/// Sets a field, and makes what is on the way to it.
pub(super) fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for part in pointer.split('/').skip(1) {
        if part == "0" {
            if !place.is_array() {
                *place = json!([{}]);
            }
            place = &mut place[0];
        } else {
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[part];
        }
    }
    *place = value;
}

//! From a JSON object to YAML that holds the very same values: numbers keep their digits and fields their
//! order. What YAML cannot hold stands there as the text of its JSON. Pure.

use std::fmt::{self, Write as _};

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use taskqueue_plain as plain;

/// How deep values are nested at most, which parsers of YAML bound too.
const DEEPEST: usize = 64;
/// The longest key in bytes: YAML takes a longer one only in a form of its own.
const LONGEST_KEY: usize = 500;
/// Plain words that readers of YAML 1.1 take for something else than a text. `<<` merges a mapping into that around it.
const WORDS: [&str; 6] = ["yes", "no", "on", "off", "=", "<<"];

/// The object as a YAML document. An error is that of JSON that is none.
pub(crate) fn document(json: &str) -> serde_json::Result<String> {
    let Fields(fields) = serde_json::from_str(json)?;
    let mut lines = Vec::new();
    for (name, value) in fields {
        let node = match node(value.get(), 1) {
            Ok(node) => node,
            Err(why) => as_text(value.get(), why),
        };
        put(&text(&name).join("\n"), node, &mut lines);
    }
    Ok(lines.join("\n"))
}

/// Why a value cannot stand in YAML as what it is.
type Why = &'static str;

/// A value as lines. Those behind the first are indented as they belong below a key without indent.
enum Node {
    /// Begins behind its key.
    Scalar(Vec<String>),
    Mapping(Vec<String>),
    Sequence(Vec<String>),
}

/// The fields of an object in their order, twice where they stand twice.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> de::Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(All)
    }
}

fn node(json: &str, depth: usize) -> Result<Node, Why> {
    if depth > DEEPEST {
        return Err("it is nested too deep");
    }
    match json.as_bytes().first() {
        Some(b'{') => mapping(json, depth),
        Some(b'[') => sequence(json, depth),
        Some(b'"') => {
            let value: String = serde_json::from_str(json).map_err(|_| SURROGATE)?;
            Ok(Node::Scalar(text(&value)))
        }
        // A number, true, false or null, which YAML writes alike.
        _ => Ok(Node::Scalar(vec![json.to_owned()])),
    }
}

/// The only text of JSON that is no text of Unicode.
const SURROGATE: Why = "it has half of a surrogate pair";

fn mapping(json: &str, depth: usize) -> Result<Node, Why> {
    let Fields(fields) = serde_json::from_str(json).map_err(|_| SURROGATE)?;
    if fields.is_empty() {
        return Ok(Node::Scalar(vec!["{}".to_owned()]));
    }
    let mut names: Vec<_> = fields.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("it has a key twice");
    }
    let mut lines = Vec::new();
    for (name, value) in &fields {
        if name.len() > LONGEST_KEY {
            return Err("it has a key that is too long");
        }
        let key = match text(name) {
            line if line.len() == 1 => line.concat(),
            _ => quoted(name),
        };
        put(&key, node(value.get(), depth + 1)?, &mut lines);
    }
    Ok(Node::Mapping(lines))
}

fn sequence(json: &str, depth: usize) -> Result<Node, Why> {
    let items: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| SURROGATE)?;
    if items.is_empty() {
        return Ok(Node::Scalar(vec!["[]".to_owned()]));
    }
    let mut lines = Vec::new();
    for item in items {
        let (item, indent) = match node(item.get(), depth + 1)? {
            Node::Scalar(item) => (item, ""),
            Node::Mapping(item) | Node::Sequence(item) => (item, "  "),
        };
        let mut item = item.into_iter();
        lines.push(format!("- {}", item.next().unwrap_or_default()));
        lines.extend(item.map(|line| format!("{indent}{line}")));
    }
    Ok(Node::Sequence(lines))
}

/// Adds a key and its value.
fn put(key: &str, node: Node, lines: &mut Vec<String>) {
    match node {
        Node::Scalar(value) => {
            let mut value = value.into_iter();
            lines.push(format!("{key}: {}", value.next().unwrap_or_default()));
            lines.extend(value);
        }
        Node::Mapping(value) => {
            lines.push(format!("{key}:"));
            lines.extend(value.into_iter().map(|line| format!("  {line}")));
        }
        Node::Sequence(value) => {
            lines.push(format!("{key}:"));
            lines.extend(value);
        }
    }
}

/// A text, over several lines if it has several.
fn text(value: &str) -> Vec<String> {
    if printable(value) != value {
        return vec![quoted(value)];
    }
    let written = yaml_serde::to_string(value).unwrap_or_else(|_| quoted(value));
    let written = written.strip_suffix('\n').unwrap_or(&written);
    let lower = value.to_lowercase();
    let begins_a_number = value.starts_with(|it: char| it.is_ascii_digit() || "+-.".contains(it));
    if written == value && (begins_a_number || WORDS.contains(&lower.as_str())) {
        return vec![quoted(value)];
    }
    written.split('\n').map(str::to_owned).collect()
}

/// A text as JSON writes it, which is YAML too.
fn quoted(value: &str) -> String {
    printable(&serde_json::Value::from(value).to_string())
}

/// A value as the text of its JSON.
fn as_text(json: &str, why: &str) -> Node {
    let mut lines = vec![format!("|- # as JSON text, since {why}")];
    lines.extend(
        printable(json)
            .split(['\n', '\r'])
            .map(|line| format!("  {line}")),
    );
    Node::Scalar(lines)
}

/// A text of JSON in which what YAML cannot print is escaped, and what would steer a terminal.
fn printable(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for it in json.chars() {
        let steers = plain::steers(it) && !it.is_ascii_control();
        let is_odd = matches!(it, '\u{7f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
        if steers || is_odd {
            let _ = write!(text, "\\u{:04x}", u32::from(it));
        } else {
            text.push(it);
        }
    }
    text
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The YAML of a payload.
    fn payload(json: &str) -> String {
        document(&format!("{{\"payload\":{json}}}")).unwrap()
    }

    /// What a reader of YAML makes of it.
    fn read(yaml: &str) -> Value {
        // Printed, it ends as every line does.
        yaml_serde::from_str(&format!("{yaml}\n"))
            .unwrap_or_else(|error| panic!("{error}:\n{yaml}"))
    }

    #[test]
    fn a_number_keeps_its_digits() {
        for number in [
            "12345678901234567890123",
            "0.1000000000000000055",
            "1e999",
            "-1E-999",
            "1.50",
            "-0",
            "-0.0",
            "18446744073709551616",
        ] {
            assert_eq!(payload(number), format!("payload: {number}"));
            let nested = payload(&format!("{{\"k\":[{number}]}}"));
            assert_eq!(nested, format!("payload:\n  k:\n  - {number}"));
        }
    }

    #[test]
    fn what_yaml_cannot_hold_is_the_text_of_its_json() {
        for (json, why) in [
            (r#"{"a":1,"a":2}"#, "it has a key twice"),
            (r#"[{"b":{"a":1,"\u0061":2}}]"#, "it has a key twice"),
            (r#""\ud800""#, "it has half of a surrogate pair"),
            (r#"{"\udc00": 1}"#, "it has half of a surrogate pair"),
            (
                &format!("{}{}", "[".repeat(3000), "]".repeat(3000)),
                "it is nested too deep",
            ),
            (
                &format!("{{\"{}\":1}}", "k".repeat(2000)),
                "it has a key that is too long",
            ),
        ] {
            let yaml = payload(json);
            let expected = format!("payload: |- # as JSON text, since {why}\n  {json}");
            assert_eq!(yaml, expected);
            assert_eq!(read(&yaml)["payload"], *json);
        }
        // Its line breaks, and what YAML takes for some.
        let yaml = payload("{\"a\":1,\r\n \"a\": \"\u{85}\u{7f}\u{2028}\u{feff}\"}");
        let read = read(&yaml)["payload"].as_str().unwrap().to_owned();
        assert!(read.ends_with(r#""\u0085\u007f\u2028\ufeff"}"#), "{read}");
        assert!(serde_json::from_str::<Value>(&read).is_ok(), "{read}");
    }

    #[test]
    fn the_fields_after_it_are_as_they_were() {
        let yaml = document(r#"{"id":"x","payload":{"a":1,"a":2},"result":{"b":[1,{"c":[]}]}}"#);
        assert_eq!(
            yaml.unwrap(),
            "id: x\npayload: |- # as JSON text, since it has a key twice\n  {\"a\":1,\"a\":2}\n\
             result:\n  b:\n  - 1\n  - c: []"
        );
    }

    #[test]
    fn values_of_any_kind_are_read_back_as_they_were() {
        let texts = [
            "",
            " ",
            "a",
            "no",
            "<<",
            "Yes",
            "n",
            "off",
            "null",
            "~",
            "true",
            "1",
            "1.5",
            "1e3",
            "0x1f",
            "0777",
            "1_000",
            "12:30:45",
            "2026-11-29",
            ".inf",
            "-",
            "- a",
            "-5",
            "a: b",
            "a #b",
            "#a",
            "{a",
            "[a]",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "'",
            "\"",
            "a\nb",
            "a\n",
            "\na",
            "\n",
            "a\n\n",
            " a\nb",
            "  a\n b\n\n",
            "a \nb",
            "\ta\n\tb",
            "a\r\nb",
            "\u{85}",
            "\u{feff}a",
            "\u{7f}",
            "\u{2028}a\nb",
            "é\n日本",
            "\u{1f600}",
            "---",
            "...",
            "a\n---\nb",
            "key: |\n  x",
        ];
        let mut values: Vec<Value> = texts.map(Value::from).to_vec();
        values.extend(texts.map(|text| json!({ text: text, "z": [text, [text, {"a": text}]] })));
        values.extend([
            json!(null),
            json!([[], {}, [[1, 2], [3]]]),
            json!({"a": {"b": {}}}),
        ]);
        for value in values {
            let yaml = payload(&value.to_string());
            assert_eq!(read(&yaml), json!({ "payload": value }), "{yaml}");
        }
    }

    #[test]
    fn a_text_is_none_of_the_words_and_numbers_of_older_readers() {
        for text in [
            "no",
            "On",
            "0777",
            "1_000",
            "12:30",
            "2026-11-29",
            "1e3",
            "+1",
        ] {
            let yaml = payload(&format!("{text:?}"));
            assert!(
                yaml == format!("payload: {text:?}") || yaml == format!("payload: '{text}'"),
                "{yaml}"
            );
        }
    }
}

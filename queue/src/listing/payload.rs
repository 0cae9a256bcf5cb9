//! What a filter asks of a payload: a value at a path in it. Pure.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{Error, Payload};

/// Longest text of a condition, in bytes.
const MAX_BYTES: usize = 1_024;
/// Most parts of a path.
const MAX_DEPTH: usize = 32;
const RULE: &str = "PATH=VALUE: names and numbers of places in arrays with points between them, such as items.0.sku, and a JSON text, number, \
                    true, false or null; write \\. and \\= for those characters in a name";

/// That a payload has this value at this path.
///
/// As a text `customer.id=17`, `items.0.sku="A-1"` or `items[0].sku=A-1`: names of members of objects and
/// numbers of places in arrays, from 0; behind the first `=` a JSON text, number, `true`, `false` or `null`. What is none of these
/// is taken for a text as it stands. Numbers are equal by value: 1, 1.0 and 1e0. In a name a backslash takes
/// the next character as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadIs {
    text: String,
    path: Vec<String>,
    value: Scalar,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scalar {
    Text(String),
    /// As it was written.
    Number(String),
    /// `true`, `false` or `null`.
    Word(String),
}

impl PayloadIs {
    /// Whether it holds for a payload.
    pub fn fits(&self, payload: &Payload) -> bool {
        let Ok(mut here) = payload.parse::<&RawValue>() else {
            return false;
        };
        for part in &self.path {
            match inside(here.get(), part) {
                Some(found) => here = found,
                None => return false,
            }
        }
        self.value.is(here.get())
    }
}

/// The value of a member of an object, or at a place of an array.
fn inside<'a>(json: &'a str, part: &str) -> Option<&'a RawValue> {
    if json.starts_with('[') {
        let place: usize = part.parse().ok()?;
        let values: Vec<&RawValue> = serde_json::from_str(json).ok()?;
        return values.get(place).copied();
    }
    // Of members with the same name the last counts.
    let members: HashMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    members.get(part).copied()
}

impl Scalar {
    /// The JSON text of a scalar, or any other text for what it is; `None` for arrays and objects.
    fn read(text: &str) -> Option<Self> {
        match serde_json::from_str::<&RawValue>(text).map(|raw| raw.get().chars().next()) {
            Ok(Some('"')) => serde_json::from_str(text).ok().map(Self::Text),
            Ok(Some('[' | '{')) => None,
            Ok(Some('t' | 'f' | 'n')) => Some(Self::Word(text.trim().to_owned())),
            Ok(_) => Some(Self::Number(text.trim().to_owned())),
            Err(_) => Some(Self::Text(text.to_owned())),
        }
    }

    fn is(&self, json: &str) -> bool {
        match self {
            Self::Word(word) => word == json,
            Self::Number(number) => {
                json.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                    && same_number(number, json)
            }
            Self::Text(text) => {
                json.starts_with('"')
                    && serde_json::from_str::<String>(json).is_ok_and(|found| found == *text)
            }
        }
    }
}

fn same_number(one: &str, other: &str) -> bool {
    let whole = |text: &str| text.parse::<i128>().ok();
    let real = |text: &str| text.parse::<f64>().ok().filter(|it| it.is_finite());
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one == other,
        // Equal to the last digit, as nothing is computed with them.
        _ => one == other || real(one).is_some_and(|it| real(other) == Some(it)),
    }
}

/// The parts of a path, and what stands behind the first `=`.
fn split(text: &str) -> Option<(Vec<String>, &str)> {
    let (mut path, mut part) = (Vec::new(), String::new());
    // Whether the part may end here without a character: behind a bracket.
    let mut closed = false;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        let ends = matches!(c, '.' | '[' | '=');
        if ends {
            if part.is_empty() && !closed {
                return None;
            }
            if !part.is_empty() {
                path.push(std::mem::take(&mut part));
            }
            closed = false;
        }
        match c {
            '=' => return Some((path, &text[at + 1..])),
            '.' => {}
            '[' => {
                let inside = text.get(at + 1..)?;
                let length = inside.find(']')?;
                let place = &inside[..length];
                place.parse::<usize>().ok()?;
                path.push(place.to_owned());
                characters.nth(length);
                closed = true;
            }
            _ if closed => return None,
            '\\' => part.push(characters.next()?.1),
            _ => part.push(c),
        }
    }
    None
}

impl FromStr for PayloadIs {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::invalid("payload filter", text, RULE);
        let (path, value) = split(text).ok_or_else(wrong)?;
        let value = Scalar::read(value).ok_or_else(wrong)?;
        if text.len() > MAX_BYTES || path.len() > MAX_DEPTH {
            let rule = format!("at most {MAX_BYTES} bytes and {MAX_DEPTH} parts of a path");
            return Err(Error::invalid("payload filter", text, rule));
        }
        Ok(Self {
            text: text.to_owned(),
            path,
            value,
        })
    }
}

impl fmt::Display for PayloadIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for PayloadIs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(condition: &str, payload: &str) -> bool {
        let condition: PayloadIs = condition.parse().unwrap();
        condition.fits(&Payload::json(payload).unwrap())
    }

    #[test]
    fn a_value_is_found_at_its_path() {
        let payload = r#" {"a": {"b.c": [1, {"d": "x"}, null], "0": true}, "n": 12345678901234567890123, "e": 1.50, "a=b": "\u0041"} "#;
        for condition in [
            r"a.b\.c.0=1",
            r"a.b\.c[0]=1.0",
            r"a.b\.c[1].d=x",
            r#"a.b\.c.1.d="x""#,
            r"a.b\.c.2=null",
            "a.0=true",
            "n=12345678901234567890123",
            "e=1.5",
            "e=15e-1",
            r"a\=b=A",
        ] {
            assert!(fits(condition, payload), "{condition}");
        }
        for condition in [
            "a=1",
            "a.b=1",
            r"a.b\.c.3=1",
            r"a.b\.c.x=1",
            r#"a.b\.c.0="1""#,
            "a.0=\"true\"",
            "n=12345678901234567890124",
            "e=1.6",
            "missing=null",
        ] {
            assert!(!fits(condition, payload), "{condition}");
        }
        assert!(fits("a=2", r#"{"a":1,"a":2}"#));
        assert!(fits("0.1=x", r#"[["a","x"]]"#));
        assert!(fits("a=", r#"{"a":""}"#));
        assert!(fits("a=1=2", r#"{"a":"1=2"}"#));
        for payload in ["1", "null", "\"a\"", "[]"] {
            assert!(!fits("a=1", payload), "{payload}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_its_form() {
        let long = format!("{}=1", "a".repeat(MAX_BYTES));
        let deep = format!("{}b=1", "a.".repeat(MAX_DEPTH));
        for text in [
            "", "=1", "a", "a.=1", ".a=1", "a..b=1", "a[x]=1", "a[1=1", "a[0]b=1", "a={}", "a=[1]",
            "a\\", &long, &deep,
        ] {
            let refusal = text.parse::<PayloadIs>().unwrap_err();
            assert!(matches!(refusal, Error::Invalid { .. }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_condition_or_a_refusal(text in "[a-c.\\[\\]=\\\\0-2\"{} ]{0,16}", payload in "[a-c0-2\\[\\]{}\":, ]{0,16}") {
            if let (Ok(condition), Ok(payload)) = (text.parse::<PayloadIs>(), Payload::json(payload)) {
                condition.fits(&payload);
                prop_assert_eq!(condition.to_string(), text);
            }
        }
    }
}

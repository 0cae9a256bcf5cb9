//! Makes JSON of what is nearly JSON, as common writers of it produce: Python's `json.dumps` writes a lone surrogate for
//! each byte of a file name that is not UTF-8, and `NaN`; a shell's `printf` leaves control characters and backslashes
//! as they are. Only values are mended, never the structure. Pure.
//!
//! | as written | as read |
//! |---|---|
//! | `NaN`, `Infinity`, `-Infinity`, `nan`, `inf`, `-inf` | `null` |
//! | half of a pair of surrogates, `\udce9` | U+FFFD |
//! | a control character in a string | itself |
//! | a backslash that begins no escape, `C:\path` | itself |

use std::fmt::Write;

/// The text, mended. JSON stays as it is.
pub(super) fn repair(text: &str) -> String {
    let mut mended = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut quoted = false;
    while let Some(next) = rest.chars().next() {
        let taken = match next {
            '\\' if quoted => escape(rest, &mut mended),
            '\0'..' ' if quoted => {
                let _ = write!(mended, "\\u{:04x}", u32::from(next));
                1
            }
            '-' | 'N' | 'n' | 'I' | 'i' if !quoted => number(rest, &mut mended),
            _ => {
                quoted ^= next == '"';
                mended.push(next);
                next.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    mended
}

/// Mends what begins with a backslash in a string; returns how much of it was taken.
fn escape(text: &str, mended: &mut String) -> usize {
    match text.as_bytes().get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
            mended.push_str(&text[..2]);
            2
        }
        Some(b'u') => match (unit(text), text.get(6..).and_then(unit)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => {
                mended.push_str(&text[..12]);
                12
            }
            (Some(0xd800..0xe000), _) => {
                mended.push_str("\\ufffd");
                6
            }
            (Some(_), _) => {
                mended.push_str(&text[..6]);
                6
            }
            (None, _) => {
                mended.push_str("\\\\");
                1
            }
        },
        _ => {
            mended.push_str("\\\\");
            1
        }
    }
}

/// The UTF-16 unit of an escape that the text begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)
}

/// Mends a number that is none, if the text begins with one; returns how much of it was taken.
fn number(text: &str, mended: &mut String) -> usize {
    let sign = usize::from(text.starts_with('-'));
    let letters = text[sign..].bytes();
    let end = sign + letters.take_while(u8::is_ascii_alphabetic).count();
    let word = text[sign..end].to_ascii_lowercase();
    if matches!(word.as_str(), "nan" | "inf" | "infinity") {
        mended.push_str("null");
    } else {
        mended.push_str(&text[..end.max(1)]);
    }
    end.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_common_writers_write_is_read() {
        for (written, read) in [
            (r#""caf\udce9t\udce9.txt""#, "\"caf\u{fffd}t\u{fffd}.txt\""),
            (r#""\ud83d""#, "\"\u{fffd}\""),
            (r#""\ud83d\ud83d\ude00""#, "\"\u{fffd}\u{1f600}\""),
            (r#""\udc00\ud800 x""#, "\"\u{fffd}\u{fffd} x\""),
            (
                r#"{"a":NaN,"b":[-Infinity,Infinity],"c":nan,"d":-inf}"#,
                r#"{"a":null,"b":[null,null],"c":null,"d":null}"#,
            ),
            ("\"a\tb\u{1}\"", r#""a\tb\u0001""#),
            (r#""C:\path\"#, r#""C:\\path\\"#),
            (r#""\x41 \u12 \'""#, r#""\\x41 \\u12 \\'""#),
            (r#""NaN of \"inf\"""#, r#""NaN of \"inf\"""#),
        ] {
            let mended = repair(written);
            match serde_json::from_str::<Value>(read) {
                Ok(read) => assert_eq!(
                    serde_json::from_str::<Value>(&mended).expect(&mended),
                    read,
                    "{written}"
                ),
                Err(_) => assert_eq!(mended, read),
            }
        }
    }

    #[test]
    fn what_has_another_structure_stays_none() {
        for text in [
            "hello",
            "{'a': None}",
            "undefined",
            "{\"a\":}",
            "[1,]",
            "",
            "-",
            "infos",
            "null null",
        ] {
            assert!(
                serde_json::from_str::<Value>(&repair(text)).is_err(),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn json_stays_as_it_is(text in "\\PC*", number in any::<f64>(), whole in any::<i64>()) {
            let value = serde_json::json!({"text": text, "nested": [{ text.as_str(): number }, whole, null, true, false]});
            let json = value.to_string();
            prop_assert_eq!(repair(&json), json);
        }

        #[test]
        fn any_string_between_quotes_is_read(text in "[^\"\\\\]*(\\\\[^\"\\\\][^\"\\\\]*)*") {
            let json = repair(&format!("\"{text}\""));
            prop_assert!(serde_json::from_str::<String>(&json).is_ok(), "{}", json);
        }

        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let once = repair(&text);
            prop_assert_eq!(repair(&once), once);
        }
    }
}

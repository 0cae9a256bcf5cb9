//! Reading what Redis answered as what was expected. Not by the client library: its errors repeat the
//! whole value, at several times its size, and a hostile server answers with large ones. Pure.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;

use redis::Value;

/// A value that is not what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it answered with {found} where {expected} was expected")]
pub(crate) struct Unfit {
    expected: &'static str,
    found: &'static str,
}

/// What a value can be read as.
pub(crate) trait FromValue: Sized {
    fn from_value(value: Value) -> Result<Self, Unfit>;
}

/// Reads a value.
pub(crate) fn read<T: FromValue>(value: Value) -> Result<T, Unfit> {
    T::from_value(value)
}

/// Reads names and values, which come one behind the other, or as a map.
pub(crate) fn read_pairs<K: FromValue, V: FromValue>(value: Value) -> Result<Vec<(K, V)>, Unfit> {
    if let Value::Map(pairs) = value {
        let pairs = pairs.into_iter();
        return pairs
            .map(|(name, value)| Ok((read(name)?, read(value)?)))
            .collect();
    }
    let unfit = unfit(&value, "names and values");
    let mut rest = read::<Vec<Value>>(value)?.into_iter();
    let mut pairs = Vec::with_capacity(rest.len() / 2);
    while let Some(name) = rest.next() {
        pairs.push((read(name)?, read(rest.next().ok_or(unfit)?)?));
    }
    Ok(pairs)
}

/// Why this value is not what was expected.
pub(crate) fn unfit(value: &Value, expected: &'static str) -> Unfit {
    let found = match value {
        Value::Nil => "nothing",
        Value::Int(_) | Value::Double(_) | Value::BigNumber(_) => "a number",
        Value::Boolean(_) => "a truth value",
        Value::BulkString(_)
        | Value::SimpleString(_)
        | Value::Okay
        | Value::VerbatimString { .. } => "a text",
        Value::ServerError(_) => "an error",
        _ => "a list",
    };
    Unfit { expected, found }
}

/// A text as bytes.
fn bytes(value: Value, expected: &'static str) -> Result<Vec<u8>, Unfit> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        Value::Double(number) => Ok(number.to_string().into_bytes()),
        other => Err(unfit(&other, expected)),
    }
}

fn number<T: FromStr>(value: Value) -> Result<T, Unfit> {
    let expected = "a number";
    let wrong = Unfit {
        expected,
        found: "a text that is none, or one out of its range",
    };
    let text = bytes(value, expected)?;
    let text = std::str::from_utf8(&text).map_err(|_| wrong)?;
    text.parse().map_err(|_| wrong)
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, Unfit> {
        Ok(value)
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value) -> Result<Self, Unfit> {
        bytes(value, "a text")
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, Unfit> {
        String::from_utf8(bytes(value, "a text")?).map_err(|_| Unfit {
            expected: "a text",
            found: "bytes that are no UTF-8",
        })
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Result<Self, Unfit> {
        let wrong = unfit(&value, "0 or 1");
        match value {
            Value::Nil => Ok(false),
            Value::Int(number) => Ok(number != 0),
            Value::Boolean(holds) => Ok(holds),
            value => match bytes(value, "0 or 1")?.as_slice() {
                b"0" => Ok(false),
                b"1" => Ok(true),
                _ => Err(wrong),
            },
        }
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl FromValue for $number {
            fn from_value(value: Value) -> Result<Self, Unfit> {
                number(value)
            }
        })*
    };
}

numbers! { u16 u32 u64 usize i64 f64 }

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, Unfit> {
        match value {
            Value::Nil => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Value) -> Result<Self, Unfit> {
        match value {
            Value::Array(values) | Value::Set(values) => values.into_iter().map(read).collect(),
            Value::Nil => Ok(Vec::new()),
            other => Err(unfit(&other, "a list")),
        }
    }
}

impl<T: FromValue + Ord> FromValue for BTreeSet<T> {
    fn from_value(value: Value) -> Result<Self, Unfit> {
        Ok(read::<Vec<T>>(value)?.into_iter().collect())
    }
}

impl FromValue for HashMap<String, String> {
    fn from_value(value: Value) -> Result<Self, Unfit> {
        Ok(read_pairs(value)?.into_iter().collect())
    }
}

impl<A: FromValue, B: FromValue> FromValue for (A, B) {
    fn from_value(value: Value) -> Result<Self, Unfit> {
        let wrong = unfit(&value, "a list of two");
        let parts: [Value; 2] = read::<Vec<Value>>(value)?.try_into().map_err(|_| wrong)?;
        let [first, second] = parts;
        Ok((read(first)?, read(second)?))
    }
}

impl<A: FromValue, B: FromValue, C: FromValue> FromValue for (A, B, C) {
    fn from_value(value: Value) -> Result<Self, Unfit> {
        let wrong = unfit(&value, "a list of three");
        let parts: [Value; 3] = read::<Vec<Value>>(value)?.try_into().map_err(|_| wrong)?;
        let [first, second, third] = parts;
        Ok((read(first)?, read(second)?, read(third)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn list(values: &[Value]) -> Value {
        Value::Array(values.to_vec())
    }

    #[test]
    fn numbers_come_as_such_and_as_texts() {
        assert_eq!(read::<u64>(Value::Int(7)), Ok(7));
        assert_eq!(read::<u64>(text("7")), Ok(7));
        assert_eq!(
            read::<f64>(text("1700000000000.5")),
            Ok(1_700_000_000_000.5)
        );
        assert_eq!(read::<f64>(Value::Double(0.5)), Ok(0.5));
        assert_eq!(read::<String>(Value::Int(-7)), Ok("-7".to_owned()));
        assert_eq!(read::<bool>(Value::Nil), Ok(false));
        assert_eq!(read::<bool>(text("1")), Ok(true));
        assert_eq!(read::<Option<u32>>(Value::Nil), Ok(None));
        for wrong in [text("x"), Value::Int(-1), Value::Nil, list(&[])] {
            read::<u64>(wrong).unwrap_err();
        }
        read::<bool>(text("2")).unwrap_err();
    }

    #[test]
    fn lists_pairs_and_maps_are_read_to_their_end() {
        let flat = list(&[text("a"), text("1"), text("b"), Value::Int(2)]);
        let pairs = Ok(vec![("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(read_pairs::<String, u64>(flat.clone()), pairs);
        let map = Value::Map(vec![(text("a"), text("1")), (text("b"), Value::Int(2))]);
        assert_eq!(read_pairs::<String, u64>(map), pairs);
        assert_eq!(read::<Vec<Vec<u8>>>(Value::Nil), Ok(Vec::new()));
        assert_eq!(
            read::<(u64, u64)>(list(&[text("1"), text("2")])),
            Ok((1, 2))
        );
        read_pairs::<String, u64>(list(&[text("a")])).unwrap_err();
        read::<(u64, u64)>(list(&[text("1")])).unwrap_err();
        read::<Vec<u64>>(flat).unwrap_err();
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        for (value, found) in [
            (text(&"x".repeat(1_000_000)), "a text that is none"),
            (list(&vec![Value::Int(1); 100_000]), "a list"),
            (Value::Nil, "nothing"),
        ] {
            let told = read::<u64>(value).unwrap_err().to_string();
            assert!(told.contains(found) && told.len() < 200, "{told}");
        }
        let told = read::<String>(Value::BulkString(vec![0xff; 1_000])).unwrap_err();
        assert!(told.to_string().contains("no UTF-8"), "{told}");
    }
}

//! The name of a queue: parse and print. Which characters are safe inside a Redis key is decided
//! here alone.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Error;

/// Longest namespace or queue name, as Kubernetes has it.
const MAX_PART: usize = 63;

/// A queue's name: a namespace and a name inside it, printed as `namespace/name`.
///
/// Each part has 1 to 63 characters of `a-z`, `0-9`, `-` and `.`; so neither can hold the `{`, `}`,
/// `:` or `/` that give a Redis key its structure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName {
    namespace: Arc<str>,
    name: Arc<str>,
}

impl QueueName {
    /// Checks both parts. The error names the part at fault.
    pub fn new(namespace: &str, name: &str) -> Result<Self, Error> {
        check_part("namespace", namespace)?;
        check_part("queue name", name)?;
        Ok(Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// The part before the slash.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for QueueName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Err(Error::invalid(
                "queue",
                text,
                "it is written as namespace/name",
            )),
        }
    }
}

impl serde::Serialize for QueueName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for QueueName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn check_part(field: &'static str, part: &str) -> Result<(), Error> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    if (1..=MAX_PART).contains(&part.len()) && part.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Error::invalid(
            field,
            part,
            "1 to 63 characters of a-z, 0-9, '-' and '.'",
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_part_is_checked_at_its_limits_and_one_over() {
        let longest = "a".repeat(63);
        assert!(QueueName::new(&longest, "q").is_ok());
        for (namespace, name, field) in [
            ("", "q", "namespace"),
            ("n", "", "queue name"),
            (&"a".repeat(64), "q", "namespace"),
            ("n", "}:tasks", "queue name"),
            ("n", "a/b", "queue name"),
            ("N", "q", "namespace"),
            ("n", "ü", "queue name"),
        ] {
            match QueueName::new(namespace, name) {
                Err(Error::Invalid { field: at, .. }) => assert_eq!(at, field),
                other => panic!("{namespace}/{name} gave {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn a_name_survives_printing_and_parsing(ns in "[a-z0-9.-]{1,63}", name in "[a-z0-9.-]{1,63}") {
            let queue = QueueName::new(&ns, &name).unwrap();
            prop_assert_eq!(queue.to_string().parse::<QueueName>().unwrap(), queue);
        }

        #[test]
        fn any_text_is_a_name_or_a_refusal_and_never_breaks_out_of_a_key(text in ".*") {
            if let Ok(queue) = text.parse::<QueueName>() {
                let breaks_out = |c: char| matches!(c, '{' | '}' | ':' | '\n' | '\0');
                prop_assert!(!queue.to_string().contains(breaks_out));
            }
        }
    }
}

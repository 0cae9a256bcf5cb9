//! Taking a script's answer apart: a status, then values in a fixed order; and the names in it. Pure.

use redis::Value;

use crate::fault::Faults;
use crate::id::is_bucket;
use crate::value::{FromValue, read, unfit};
use crate::{Error, TaskId};

/// A script's answer, read from the front.
pub(crate) struct Reply<'a> {
    script: &'static str,
    faults: &'a Faults,
    values: std::vec::IntoIter<Value>,
}

impl<'a> Reply<'a> {
    pub(crate) fn new(
        value: Value,
        script: &'static str,
        faults: &'a Faults,
    ) -> Result<Self, Error> {
        match value {
            Value::Array(values) => Ok(Self {
                script,
                faults,
                values: values.into_iter(),
            }),
            other => Err(faults.script(script, unfit(&other, "a list").to_string())),
        }
    }

    /// The next value as the caller's type.
    pub(crate) fn next<T: FromValue>(&mut self) -> Result<T, Error> {
        let value = self.values.next().unwrap_or(Value::Nil);
        read(value).map_err(|fault| self.faults.script(self.script, fault.to_string()))
    }
}

/// The ids of an answer.
pub(crate) fn ids(texts: &[String]) -> Result<Vec<TaskId>, Error> {
    texts.iter().map(|text| text.parse()).collect()
}

/// Names that a bucket may have; what else somebody has put there is passed over.
pub(crate) fn buckets_named(names: &[Vec<u8>]) -> Vec<String> {
    let texts = names
        .iter()
        .filter_map(|name| std::str::from_utf8(name).ok());
    let known = texts.filter(|name| is_bucket(name));
    known.map(str::to_owned).collect()
}

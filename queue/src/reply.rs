//! Taking a script's answer apart: a status, then values in a fixed order. Pure.

use redis::{FromRedisValue, Value};

use crate::Error;
use crate::fault::Faults;

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
            other => Err(faults.script(script, format!("answered {other:?}"))),
        }
    }

    /// The next value as the caller's type.
    pub(crate) fn next<T: FromRedisValue>(&mut self) -> Result<T, Error> {
        let value = self.values.next().unwrap_or(Value::Nil);
        T::from_redis_value(value)
            .map_err(|fault| self.faults.script(self.script, fault.to_string()))
    }
}

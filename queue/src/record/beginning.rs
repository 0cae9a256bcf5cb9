//! What the beginning of a record tells, wherever the rest was cut off. Pure.

use super::split;
use crate::pack::{Malformed, Reader};

/// The first of what a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beginning<'a> {
    /// A done record has none.
    pub(crate) level: Option<&'a str>,
    pub(crate) kind: &'a str,
    /// 0 for none.
    pub(crate) due_ms: u64,
    /// How many attempts had failed.
    pub(crate) attempts: u32,
}

/// That of a task which has not ended, or of a dead letter.
pub(crate) fn beginning(bytes: &[u8]) -> Result<Beginning<'_>, Malformed> {
    let (level, _, body) = split(bytes)?;
    let mut reader = Reader::new(body);
    reader.array_of(4)?;
    let _created: u64 = reader.uint()?;
    Ok(Beginning {
        level: Some(level),
        due_ms: reader.uint()?,
        kind: reader.text()?,
        attempts: reader.uint()?,
    })
}

/// That of a done record.
pub(crate) fn beginning_of_done(bytes: &[u8]) -> Result<Beginning<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    reader.array_of(3)?;
    let _what: u64 = reader.uint()?;
    Ok(Beginning {
        level: None,
        due_ms: 0,
        kind: reader.text()?,
        attempts: reader.uint()?,
    })
}

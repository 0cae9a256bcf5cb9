//! What the log of ends holds of a change of the number of workers. Pure.

use crate::Error;
use crate::pack::{Malformed, Reader, Writer};

/// What stands for such a change, where an end has what happened to its task.
const SCALED: u64 = 16;

/// The numbers before and from then on, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scaled<'a> {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) equation: &'a str,
}

impl<'a> Scaled<'a> {
    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut writer = Writer::after(&[], 16 + self.equation.len());
        writer.array(4);
        writer.uint(SCALED);
        writer.uint(self.from.into());
        writer.uint(self.to.into());
        writer.text(self.equation);
        writer.finish(&[])
    }

    pub(crate) fn unpack(bytes: &'a [u8]) -> Result<Self, Error> {
        let wrong = |reason| super::corrupt("a change of workers in the log of ends", &reason);
        Self::read(bytes).map_err(wrong)
    }

    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        reader.array_of(4)?;
        if reader.uint::<u64>()? != SCALED {
            return Err(Malformed("a change of workers"));
        }
        Ok(Self {
            from: reader.uint()?,
            to: reader.uint()?,
            equation: reader.text()?,
        })
    }
}

//! Writing and reading the few kinds of `MessagePack` values that records are made of, by hand:
//! records are packed and unpacked for every task, and Lua must be able to read them too. Pure.
//! Which values make a record is in `record`.

use std::fmt;

use rmp::{Marker, decode, encode};

/// Writes values one behind the other.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Begins with these bytes and room for more.
    pub(crate) fn after(beginning: &[u8], room: usize) -> Self {
        let mut bytes = Vec::with_capacity(beginning.len() + room);
        bytes.extend_from_slice(beginning);
        Self(bytes)
    }

    pub(crate) fn array(&mut self, length: usize) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        written(encode::write_array_len(&mut self.0, length));
    }

    pub(crate) fn uint(&mut self, value: u64) {
        written(encode::write_uint(&mut self.0, value));
    }

    pub(crate) fn text(&mut self, value: &str) {
        written(encode::write_str(&mut self.0, value));
    }

    pub(crate) fn maybe_bytes(&mut self, value: Option<&[u8]>) {
        match value {
            Some(bytes) => written(encode::write_bin(&mut self.0, bytes)),
            None => written(encode::write_nil(&mut self.0)),
        }
    }

    /// Values as they were read.
    pub(crate) fn more(&mut self, more: &More) {
        self.0.extend_from_slice(&more.bytes);
    }

    /// The bytes written, with these behind them as they are.
    pub(crate) fn finish(mut self, end: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(end);
        self.0
    }
}

/// Values at the end of an array that this version does not know, as they are: a later one wrote them, and
/// gets them back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct More {
    count: u32,
    bytes: Vec<u8>,
}

impl More {
    /// How many values there are.
    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    /// These numbers, as a later version would write them.
    #[cfg(test)]
    pub(crate) fn of(numbers: &[u64]) -> Self {
        let mut writer = Writer::after(&[], 0);
        for number in numbers {
            writer.uint(*number);
        }
        Self {
            count: u32::try_from(numbers.len()).unwrap_or(u32::MAX),
            bytes: writer.finish(&[]),
        }
    }
}

/// Writing to memory cannot fail.
fn written<T, E: fmt::Debug>(result: Result<T, E>) {
    debug_assert!(result.is_ok(), "{:?}", result.err());
}

/// Why bytes are not what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

/// Reads values from the front.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The length of the array that begins here.
    pub(crate) fn array(&mut self) -> Result<u32, Malformed> {
        decode::read_array_len(&mut self.0).map_err(|_| Malformed("an array"))
    }

    /// An array of this length begins here, or of more: how many values more.
    pub(crate) fn array_of(&mut self, length: u32) -> Result<u32, Malformed> {
        let found = self.array()?;
        found.checked_sub(length).ok_or(Malformed("a longer array"))
    }

    /// The next values, whatever they are.
    pub(crate) fn more(&mut self, count: u32) -> Result<More, Malformed> {
        let begin = self.0;
        // Each takes a byte at least, so that no count makes this longer than what there is.
        let mut left = u64::from(count);
        while left > 0 {
            left = left - 1 + self.skip()?;
        }
        let bytes = &begin[..begin.len() - self.0.len()];
        Ok(More {
            count,
            bytes: bytes.to_vec(),
        })
    }

    /// Passes over one value, but for the values that it holds: how many these are.
    fn skip(&mut self) -> Result<u64, Malformed> {
        let wrong = Malformed("a value");
        let marker = Marker::from_u8(self.take(1).ok_or(wrong)?[0]);
        let (held, length) = match marker {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => {
                (0, 0)
            }
            Marker::U8 | Marker::I8 => (0, 1),
            Marker::U16 | Marker::I16 => (0, 2),
            Marker::U32 | Marker::I32 | Marker::F32 => (0, 4),
            Marker::U64 | Marker::I64 | Marker::F64 => (0, 8),
            Marker::FixStr(length) => (0, length.into()),
            Marker::Str8 | Marker::Bin8 => (0, self.length(1)?),
            Marker::Str16 | Marker::Bin16 => (0, self.length(2)?),
            Marker::Str32 | Marker::Bin32 => (0, self.length(4)?),
            Marker::FixArray(length) => (length.into(), 0),
            Marker::Array16 => (self.length(2)?.into(), 0),
            Marker::Array32 => (self.length(4)?.into(), 0),
            Marker::FixMap(length) => (2 * u64::from(length), 0),
            Marker::Map16 => (2 * u64::from(self.length(2)?), 0),
            Marker::Map32 => (2 * u64::from(self.length(4)?), 0),
            _ => return Err(wrong),
        };
        self.take(length).map(|_| held).ok_or(wrong)
    }

    /// A length of so many bytes.
    fn length(&mut self, bytes: u32) -> Result<u32, Malformed> {
        let bytes = self.take(bytes).ok_or(Malformed("a length"))?;
        Ok(bytes
            .iter()
            .fold(0, |length, byte| length << 8 | u32::from(*byte)))
    }

    pub(crate) fn uint<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        let wrong = Malformed("a number");
        let value: u64 = decode::read_int(&mut self.0).map_err(|_| wrong)?;
        T::try_from(value).map_err(|_| wrong)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let wrong = Malformed("a text");
        let length = decode::read_str_len(&mut self.0).map_err(|_| wrong)?;
        std::str::from_utf8(self.take(length).ok_or(wrong)?).map_err(|_| wrong)
    }

    pub(crate) fn maybe_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let wrong = Malformed("bytes");
        if self.0.first().copied().map(Marker::from_u8) == Some(Marker::Null) {
            self.take(1);
            return Ok(None);
        }
        let length = decode::read_bin_len(&mut self.0).map_err(|_| wrong)?;
        self.take(length).map(Some).ok_or(wrong)
    }

    /// All that was not read.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    fn take(&mut self, length: u32) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

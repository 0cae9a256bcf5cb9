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

    /// The bytes written, with these behind them as they are.
    pub(crate) fn finish(mut self, end: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(end);
        self.0
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

    /// An array of exactly this length begins here.
    pub(crate) fn array_of(&mut self, length: u32) -> Result<(), Malformed> {
        let found = self.array()?;
        if found == length {
            Ok(())
        } else {
            Err(Malformed("an array of another length"))
        }
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

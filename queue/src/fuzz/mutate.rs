//! Making bytes wrong. Pure: chance is an argument.

use rand::RngExt;

use super::Dice;

/// Beginnings of `MessagePack` values that promise more than any input has, or are of another kind
/// than what was there.
const HEADS: [&[u8]; 16] = [
    b"\xdd\xff\xff\xff\xff",
    b"\xdc\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xda\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\xff",
    b"\xc0",
    b"\xc3",
    b"\x90",
    b"\xa0",
    b"\x00",
];

/// Texts that scripts and decoders take for numbers, or should not.
pub(super) const TEXTS: [&str; 16] = [
    "",
    "0",
    "-1",
    "1.5",
    "1e400",
    "-1e400",
    "inf",
    "nan",
    "0x10",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "4294967296",
    "null",
    "{}",
    "\0",
];

/// Any bytes, mostly few.
pub(super) fn bytes(dice: &mut Dice) -> Vec<u8> {
    let longest = if dice.random_bool(0.9) { 40 } else { 2_000 };
    let length = dice.random_range(0..longest);
    (0..length).map(|_| dice.random()).collect()
}

/// These bytes with one to four things wrong with them; `other` is something to splice in.
pub(super) fn mutated(dice: &mut Dice, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..dice.random_range(1..=4) {
        once(dice, &mut bytes, other);
    }
    bytes
}

fn once(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = place(dice, bytes.len());
    let last = bytes.len().saturating_sub(1);
    match dice.random_range(0..9) {
        0 if !bytes.is_empty() => bytes[at.min(last)] ^= 1 << dice.random_range(0..8),
        1 if !bytes.is_empty() => bytes[at.min(last)] = dice.random(),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(..at)),
        4 => bytes.insert(at, dice.random()),
        5 => {
            let head = HEADS[dice.random_range(0..HEADS.len())];
            let end = (at + head.len()).min(bytes.len());
            // Over what is there, or before it.
            let end = if dice.random() { end } else { at };
            bytes.splice(at..end, head.iter().copied());
        }
        6 => {
            bytes.truncate(at);
            bytes.extend_from_slice(&other[place(dice, other.len())..]);
        }
        7 => {
            let end = at + place(dice, bytes.len() - at);
            let twice = bytes[at..end].to_vec();
            bytes.splice(at..at, twice);
        }
        _ => {
            let text = TEXTS[dice.random_range(0..TEXTS.len())];
            bytes.splice(at..at, text.bytes());
        }
    }
}

/// A place in something, more often near its beginning, where the structure is.
fn place(dice: &mut Dice, length: usize) -> usize {
    if dice.random_bool(0.5) {
        dice.random_range(0..=length.min(40))
    } else {
        dice.random_range(0..=length)
    }
}

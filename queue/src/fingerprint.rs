//! Which failures are of one kind: those of one task type, with one cause, whose messages differ only in what changes from one
//! failure to the next. Pure.

use std::fmt;
use std::str::FromStr;

use crate::record::first_kib;
use crate::{Cause, Error};

/// Longest normalised message, in bytes.
pub(crate) const MOST_NORMALIZED_BYTES: usize = 256;
/// Digits of a fingerprint.
const DIGITS: usize = 16;
/// What stands for a number or an id.
const NUMBER: char = '#';

/// What failures of one kind have in common, as 16 digits of `0-9a-f`. It says the same in every process and
/// release.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = Some(text).filter(|text| is_hex(text, DIGITS));
        match digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
            Some(number) => Ok(Self(number)),
            None => Err(Error::invalid(
                "fingerprint",
                text,
                "16 characters of 0-9 and a-f",
            )),
        }
    }
}

/// Whether this is so many digits of `0-9a-f`.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == digits && text.bytes().all(digit)
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The fingerprint of a failure of a task of type `kind`. Of the message its first KiB counts, which is what a
/// task keeps of it, as [`normalized`] makes it.
pub fn fingerprint(kind: &str, cause: Cause, message: &str) -> Fingerprint {
    of_normalized(kind, cause, &normalized(message))
}

/// The same, of a message that is normalised already.
pub(crate) fn of_normalized(kind: &str, cause: Cause, normalized: &str) -> Fingerprint {
    // A type has no zero byte.
    let cause = [0, u8::try_from(cause.number()).unwrap_or(u8::MAX)];
    let parts = [kind.as_bytes(), &cause, normalized.as_bytes()];
    // FNV-1a: never to be changed, as fingerprints are stored.
    let hash = parts
        .into_iter()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    Fingerprint(hash)
}

/// A message without what changes from one failure to the next: `#` stands for each number (with its points and
/// colons: times, addresses) and each word that looks like an id (hexadecimal digits, UUIDs, random ends of
/// pods' names, long words with digits), `*` for what stands in quotes. White space and control characters are
/// single spaces. Of a message the first KiB counts, of the outcome there are 256 bytes at most.
pub fn normalized(message: &str) -> String {
    let text = first_kib(message);
    let mut scan = Scan {
        rest: text,
        before: ' ',
        unclosed: [false; 3],
        out: String::with_capacity(text.len().min(MOST_NORMALIZED_BYTES)),
    };
    while scan.out.len() < MOST_NORMALIZED_BYTES && scan.step() {}
    let mut out = scan.out;
    out.truncate(out.floor_char_boundary(MOST_NORMALIZED_BYTES));
    out.truncate(out.trim_end().len());
    out
}

/// A walk over a message, from the front.
struct Scan<'a> {
    rest: &'a str,
    /// What stands before the rest, as it is in the outcome.
    before: char,
    /// For each kind of quotes, whether none closes any more.
    unclosed: [bool; 3],
    out: String,
}

impl Scan<'_> {
    /// Takes the next part; whether there was one.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else {
            return false;
        };
        if first.is_ascii_alphanumeric() {
            self.take_word();
        } else if first.is_whitespace() || first.is_control() {
            self.skip(first.len_utf8());
            if self.before != ' ' {
                self.put(' ');
            }
        } else if let Some(length) = self.quoted(first) {
            self.skip(length);
            for c in [first, '*', first] {
                self.put(c);
            }
        } else {
            self.skip(first.len_utf8());
            self.put(first);
        }
        true
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn put(&mut self, c: char) {
        // Nothing begins with a space.
        if c != ' ' || !self.out.is_empty() {
            self.out.push(c);
        }
        self.before = c;
    }

    /// The length of what stands in quotes here, with them.
    fn quoted(&mut self, quote: char) -> Option<usize> {
        let kind = ['"', '\'', '`'].iter().position(|known| *known == quote)?;
        let in_word = |c: char| c.is_alphanumeric() || c == NUMBER;
        // As in `can't`.
        if self.unclosed[kind] || (quote == '\'' && in_word(self.before)) {
            return None;
        }
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((place, c)) = chars.next() {
            if c == '\\' {
                chars.next();
            } else if c == quote {
                let next = chars.peek().map_or(' ', |(_, next)| *next);
                if quote != '\'' || !in_word(next) {
                    return Some(place + c.len_utf8());
                }
            }
        }
        self.unclosed[kind] = true;
        None
    }

    /// A run of letters and digits of ASCII, or a UUID.
    fn take_word(&mut self) {
        if let Some(length) = uuid(self.rest) {
            self.skip(length);
            self.put(NUMBER);
            return;
        }
        let length = word(self.rest);
        let (text, rest) = self.rest.split_at(length);
        let in_name = self.before == '-' || rest.starts_with('-');
        if is_id(text) || (in_name && is_random(text)) {
            self.skip(length);
            self.put(NUMBER);
            return;
        }
        let digits = number(self.rest);
        if digits > 0 {
            self.skip(digits);
            self.put(NUMBER);
            return;
        }
        // Up to the next digit; what follows is the rest of the same word.
        let letters = text.find(|c: char| c.is_ascii_digit()).unwrap_or(length);
        for c in text[..letters].chars() {
            self.put(c);
        }
        self.skip(letters);
        let digits = number(self.rest);
        if digits > 0 {
            self.skip(digits);
            self.put(NUMBER);
        }
    }
}

/// How long the word is that begins here.
fn word(text: &str) -> usize {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric());
    end.unwrap_or(text.len())
}

/// How long the number is that begins here: digits, with points, commas and colons between them.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digit = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_digit);
    let mut end = 0;
    while digit(end)
        || (end > 0 && matches!(bytes.get(end), Some(b'.' | b',' | b':')) && digit(end + 1))
    {
        end += 1;
    }
    end
}

/// The length of the UUID that begins here, if one does.
fn uuid(text: &str) -> Option<usize> {
    let candidate = text.get(..36)?;
    let ends = !text[36..].starts_with(|c: char| c.is_ascii_alphanumeric());
    let fits = candidate
        .bytes()
        .enumerate()
        .all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    (ends && fits).then_some(36)
}

/// Whether a word looks like an id, though it is no number.
fn is_id(word: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let runs = word.split(|c: char| !c.is_ascii_digit());
    let runs = runs.filter(|run| !run.is_empty()).count();
    let letters = word.len() > digits;
    let hexadecimal = hex(word) && (word.len() >= 8 || (word.len() >= 6 && digits > 0));
    let mixed = (word.len() >= 6 && runs >= 2) || (word.len() >= 16 && digits > 0);
    word.strip_prefix("0x").is_some_and(hex) || (letters && (hexadecimal || mixed))
}

/// Whether a part of a pod's name is one that Kubernetes made up: five to ten characters of those that it takes.
fn is_random(word: &str) -> bool {
    let taken = |byte: u8| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte);
    (5..=10).contains(&word.len()) && word.bytes().all(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_changes_from_one_failure_to_the_next_is_taken_out_and_the_rest_stays() {
        for (message, expected) in [
            ("", ""),
            ("no route to host", "no route to host"),
            ("can't open the user's file", "can't open the user's file"),
            ("timeout after 30.5s, try 3", "timeout after #s, try #"),
            ("connect 10.0.0.17:6379: refused", "connect #: refused"),
            (
                "at 12:30:05 no order 9f8b7c6d-1234-4abc-8def-0123456789ab",
                "at # no order #",
            ),
            ("commit deadbeef, then 1a2b3c", "commit #, then #"),
            ("at 0x7fff5fbff8c0", "at #"),
            ("task 06f1k2a000g3n9t8s7q6 is gone", "task # is gone"),
            ("no such table: 'users'", "no such table: '*'"),
            (r#"key "a\"b" is "c""#, r#"key "*" is "*""#),
            ("an \"open quote", "an \"open quote"),
            ("/var/tmp/job-17/part3.csv", "/var/tmp/job-#/part#.csv"),
            ("pod mail-7d9c6f5b8d-x2x8q: OOM", "pod mail-#-#: OOM"),
            ("  two\n\tlines \u{7} ", "two lines"),
            ("utf8 and http2", "utf# and http#"),
            ("lost its worker 2 times", "lost its worker # times"),
        ] {
            assert_eq!(normalized(message), expected, "{message}");
        }
    }

    /// They are stored, so what they are must never change.
    #[test]
    fn a_fingerprint_is_the_same_in_every_release() {
        let print = fingerprint("mail", Cause::Error, "no user 17");
        assert_eq!(print, fingerprint("mail", Cause::Error, "no user 4"));
        assert_eq!(print, of_normalized("mail", Cause::Error, "no user #"));
        for other in [
            fingerprint("letter", Cause::Error, "no user 17"),
            fingerprint("mail", Cause::Timeout, "no user 17"),
            fingerprint("mail", Cause::Error, "no group 17"),
        ] {
            assert_ne!(print, other);
        }
        assert_eq!(
            fingerprint("", Cause::Error, "").to_string(),
            "08328807b4eb6fed"
        );
    }

    #[test]
    fn what_is_no_fingerprint_is_refused_with_its_form() {
        for text in [
            "",
            "0",
            "08328807B4EB6FED",
            "08328807b4eb6fedd",
            "+8328807b4eb6fed",
        ] {
            let refusal = text.parse::<Fingerprint>().unwrap_err().to_string();
            assert!(
                refusal.contains("16 characters of 0-9 and a-f"),
                "{refusal}"
            );
        }
    }

    fn any_message() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,80}",
            "[a-f0-9x\"'` .:,#*\\\\-]{0,300}",
            "[ -~]{0,1500}",
            "[aü9' ]{900,1200}",
        ]
    }

    proptest! {
        #[test]
        fn the_outcome_is_short_one_line_without_digits_and_depends_on_what_a_task_keeps(message in any_message()) {
            let normal = normalized(&message);
            prop_assert!(normal.len() <= MOST_NORMALIZED_BYTES);
            prop_assert!(!normal.contains(|c: char| c.is_ascii_digit() || c.is_control()), "{}", normal);
            prop_assert_eq!(normal.trim(), &normal);
            prop_assert_eq!(&normalized(first_kib(&message)), &normal);
        }

        #[test]
        fn what_is_normal_stays_as_it_is(message in any_message()) {
            let normal = normalized(&message);
            prop_assume!(normal.len() < MOST_NORMALIZED_BYTES - 4);
            prop_assert_eq!(normalized(&normal), normal);
        }

        #[test]
        fn numbers_ids_and_quotes_make_no_difference(one in any::<u64>(), other in any::<u64>(), a in "[^\"\\\\]{0,20}", b in "[^\"\\\\]{0,20}") {
            let message = |number: u64, quoted: &str| {
                let hex = format!("{number:016x}");
                let uuid = format!("{}-{}-{}-{}-{hex}", &hex[..8], &hex[8..12], &hex[12..], &hex[..4]);
                let uuid = &uuid[..36];
                format!("no {number} at {hex} of {uuid} in \"{quoted}\", /tmp/{number}/x")
            };
            let prints = [message(one, &a), message(other, &b)].map(|message| fingerprint("t", Cause::Error, &message));
            prop_assert_eq!(prints[0], prints[1]);
        }

        #[test]
        fn a_fingerprint_survives_printing_and_parsing(number in any::<u64>()) {
            let print = Fingerprint(number);
            prop_assert_eq!(print.to_string().parse::<Fingerprint>().unwrap(), print);
        }
    }
}

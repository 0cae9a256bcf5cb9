//! Text of others as a terminal can show it safely: what would steer the terminal, end a line or turn the direction of
//! writing stands as an escape of JSON, `\u001b`, so that a document of JSON stays the document that it is. Pure.

use std::borrow::Cow;
use std::fmt::Write;

/// One line: nothing in it ends it. Tabs stay.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |it| it == '\t')
}

/// Several lines: their ends and tabs stay.
pub fn document(text: &str) -> Cow<'_, str> {
    escaped(text, |it| matches!(it, '\t' | '\n'))
}

/// A cell of a table: nothing in it ends the line or begins another column.
pub fn cell(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Several lines in at most `most` bytes, at least 3, which end with … if there were more.
pub fn cut(text: impl Into<String>, most: usize) -> String {
    let text = text.into();
    let stays = |it| !steers(it) || matches!(it, '\t' | '\n');
    if text.len() <= most && text.chars().all(stays) {
        return text;
    }
    let room = most.saturating_sub('…'.len_utf8());
    let (mut plain, mut fits) = (String::new(), 0);
    for it in text.chars() {
        push(&mut plain, it, stays(it));
        if plain.len() > most {
            plain.truncate(fits);
            plain.push('…');
            break;
        }
        if plain.len() <= room {
            fits = plain.len();
        }
    }
    plain
}

/// Whether a character steers whoever shows it: a control character, or one that ends a line or turns the direction of
/// writing.
pub fn steers(it: char) -> bool {
    let turns = matches!(
        it,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
    );
    it.is_control() || turns || matches!(it, '\u{2028}' | '\u{2029}')
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(|it| steers(it) && !stays(it)) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for it in text.chars() {
        push(&mut plain, it, !steers(it) || stays(it));
    }
    Cow::Owned(plain)
}

fn push(plain: &mut String, it: char, stays: bool) {
    if stays {
        plain.push(it);
    } else {
        let _ = write!(plain, "\\u{:04x}", u32::from(it));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_all_else_stays() {
        for (text, plain) in [
            ("\u{1b}[31mred\u{7}", r"\u001b[31mred\u0007"),
            ("a\u{9b}2Jb\u{85}", r"a\u009b2Jb\u0085"),
            ("\u{202e}gnp.exe\u{2066}", r"\u202egnp.exe\u2066"),
            ("a\rb\u{7f}\u{2028}", r"a\u000db\u007f\u2028"),
            (
                "Grüße, 世界 → 😀 👩\u{200d}💻",
                "Grüße, 世界 → 😀 👩\u{200d}💻",
            ),
        ] {
            for escaped in [line(text), document(text), cell(text)] {
                assert_eq!(escaped, plain);
            }
        }
        let lines = "a\tb\nc";
        assert_eq!(document(lines), lines);
        assert_eq!(line(lines), "a\tb\\u000ac");
        assert_eq!(cell(lines), r"a\u0009b\u000ac");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, most, plain) in [
            ("", 8, ""),
            ("as it is\n", 9, "as it is\n"),
            ("a\u{1b}[2Jb", 64, r"a\u001b[2Jb"),
            ("a\r\u{85}\0", 64, r"a\u000d\u0085\u0000"),
            ("123456789", 9, "123456789"),
            ("1234567890", 9, "123456…"),
            ("12345éé", 9, "12345éé"),
            ("12345ééé", 9, "12345…"),
            ("12345\u{1b}6", 9, "12345…"),
        ] {
            assert_eq!(cut(text, most), plain);
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_is_never_longer_and_steers_nothing(text in any::<String>(), most in 3_usize..40) {
            let plain = cut(text, most);
            prop_assert!(plain.len() <= most);
            prop_assert!(!plain.contains(|it: char| steers(it) && !matches!(it, '\t' | '\n')));
        }
    }

    #[test]
    fn a_document_of_json_stays_the_same_document() {
        let text = "\u{9b}2J \u{202e} \u{7f} \u{1b} \n";
        let json = serde_json::to_string_pretty(&[text]).expect("it serializes");
        let shown = document(&json);
        assert_ne!(shown, json);
        let read: Vec<String> = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(read, [text]);
    }
}

//! What others say, made fit to be shown to people: a server, a worker, whoever may write to Redis. Pure.

/// Bytes that are shown of what a server says.
pub(crate) const MOST_SAID: usize = 1_024;

/// The text in at most `most` bytes, which end with … if there were more; control characters but the end
/// of a line are written out, as in `\\u{1b}`.
pub fn printable(text: &str, most: usize) -> String {
    let room = most.saturating_sub('…'.len_utf8());
    let (mut shown, mut fits) = (String::new(), 0);
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        if shown.len() > most {
            shown.truncate(fits);
            shown.push('…');
            break;
        }
        if shown.len() <= room {
            fits = shown.len();
        }
    }
    shown
}

/// What a server says.
pub(crate) fn said(text: &str) -> String {
    printable(text, MOST_SAID)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_its_control_characters_are_seen() {
        for (text, most, shown) in [
            ("", 8, ""),
            ("as it is\n", 9, "as it is\n"),
            ("a\u{1b}[2Jb", 64, "a\\u{1b}[2Jb"),
            ("a\r\u{85}\0", 64, "a\\r\\u{85}\\u{0}"),
            ("123456789", 9, "123456789"),
            ("1234567890", 9, "123456…"),
            ("12345éé", 9, "12345éé"),
            ("12345ééé", 9, "12345…"),
            ("12345\u{1b}6", 9, "12345…"),
        ] {
            assert_eq!(printable(text, most), shown);
        }
    }

    proptest! {
        #[test]
        fn it_is_never_longer_and_never_moves_a_cursor(text in any::<String>(), most in 3_usize..40) {
            let shown = printable(&text, most);
            prop_assert!(shown.len() <= most);
            prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'));
        }
    }
}

//! Streams of lines: from Windows, without an end, too long, slow.

use std::io::Cursor;

use super::*;

/// All payloads as text, the sizes of the batches, and how the lines ended.
fn read(input: &str, form: Form, limit: usize) -> (Vec<String>, Vec<usize>, Option<String>) {
    let mut lines = Lines::new(Cursor::new(input.to_owned()), form, limit);
    let (mut payloads, mut sizes, mut end) = (Vec::new(), Vec::new(), None);
    while let Some(batch) = lines.next_batch() {
        sizes.push(batch.payloads.len());
        payloads.extend(
            batch.payloads.into_iter().map(|payload| {
                String::from_utf8(payload.into_bytes()).expect("a payload is UTF-8")
            }),
        );
        match batch.end {
            Some(End::Refused { number, reason }) => {
                end = Some(format!("{number}: {reason}"));
                break;
            }
            Some(End::Unreadable(error)) => end = Some(error.to_string()),
            None => (),
        }
    }
    (payloads, sizes, end)
}

#[test]
fn a_line_of_text_becomes_a_string_as_it_is() {
    let (payloads, _, end) = read(
        "/usr/share/doc/a b\n\nit's \"quoted\"\nlast",
        Form::Text,
        100,
    );
    assert_eq!(
        payloads,
        [
            r#""/usr/share/doc/a b""#,
            r#""""#,
            r#""it's \"quoted\"""#,
            r#""last""#
        ]
    );
    assert_eq!(end, None);
}

#[test]
fn a_line_of_json_stays_as_it_stands() {
    let (payloads, _, end) = read("{\"a\": 1.0}\n[1]\n", Form::Json, 100);
    assert_eq!(payloads, ["{\"a\": 1.0}", "[1]"]);
    assert_eq!(end, None);
}

#[test]
fn the_first_bad_line_ends_the_lines_and_is_named() {
    let (payloads, _, end) = read("1\n2\n{oops\n4\n", Form::Json, 100);
    assert_eq!(payloads, ["1", "2"]);
    let end = end.expect("it is refused");
    assert!(
        end.starts_with("3: cannot be a payload: payload is not JSON"),
        "{end}"
    );
    // Empty lines count, so that the number is that of an editor.
    assert!(
        read("1\n\n\r\n{oops\n", Form::Json, 100)
            .2
            .expect("it is refused")
            .starts_with("4: ")
    );
}

#[test]
fn a_file_from_windows_makes_the_same_payloads() {
    let strings =
        |texts: &[&str]| -> Vec<String> { texts.iter().map(|text| format!("{text:?}")).collect() };
    for (input, payloads) in [
        ("a\r\n\r\nb", &["a", "", "b"][..]),
        ("a\r\nb\r\n", &["a", "b"]),
        ("\u{feff}a\r\nb", &["a", "b"]),
        ("\u{feff}\r\n\r\nb", &["", "", "b"]),
        // Only where it ends a line, and only one.
        ("a\rb\r\r\nc\r", &["a\rb\r", "c\r"]),
        // Only at the beginning.
        ("a\n\u{feff}b", &["a", "\u{feff}b"]),
        ("\u{feff}", &[]),
    ] {
        let (seen, _, end) = read(input, Form::Text, 100);
        let seen: Vec<String> = seen
            .iter()
            .map(|payload| serde_json::from_str::<String>(payload).expect("a string"))
            .map(|text| format!("{text:?}"))
            .collect();
        assert_eq!((seen, end), (strings(payloads), None), "{input:?}");
    }
    let (payloads, _, end) = read("\u{feff}{\"a\": 1}\r\n[1]\r\n", Form::Json, 100);
    assert_eq!(
        (payloads, end),
        (vec!["{\"a\": 1}".into(), "[1]".into()], None)
    );
}

#[test]
fn empty_lines_are_no_values_and_at_the_end_no_texts() {
    let (payloads, _, end) = read("\n1\n\n \t\r\n2\n\n\n", Form::Json, 100);
    assert_eq!((payloads, end), (vec!["1".into(), "2".into()], None));
    for (input, payloads) in [
        ("a\nb\n\n", &["\"a\"", "\"b\""][..]),
        ("a\n\n\nb\n\n\n", &["\"a\"", "\"\"", "\"\"", "\"b\""]),
        ("\n\na", &["\"\"", "\"\"", "\"a\""]),
        ("\n\n\n", &[]),
        // A line of blanks is a text as good as any.
        ("a\n \n", &["\"a\"", "\" \""]),
    ] {
        let (seen, _, end) = read(input, Form::Text, 100);
        assert_eq!(seen, payloads, "{input:?}");
        assert_eq!(end, None);
    }
    // Those before a line that is refused are enqueued, as all before it.
    let long = format!("a\n\n{}\n", "x".repeat(60));
    let (payloads, _, end) = read(&long, Form::Text, 50);
    assert_eq!(payloads, ["\"a\"", "\"\""]);
    assert!(end.expect("it is refused").starts_with("3: is too long"));
}

#[test]
fn a_text_in_utf_16_is_named_as_one() {
    for mark in [[0xff, 0xfe], [0xfe, 0xff]] {
        for form in [Form::Json, Form::Text] {
            let mut input = mark.to_vec();
            input.extend(b"\"\0a\0\"\0\n\0");
            let batch = Lines::new(Cursor::new(input), form, 100).next_batch();
            let end = batch.expect("a batch").end;
            assert!(
                matches!(&end, Some(End::Refused { number: 1, reason })
                    if reason.contains("is UTF-16: convert it to UTF-8")),
                "{end:?}"
            );
        }
    }
}

#[test]
fn a_line_at_the_limit_is_taken_and_a_longer_one_is_not() {
    for form in [Form::Json, Form::Text] {
        let quotes = if form == Form::Json { "\"" } else { "" };
        let line = |payload: usize| format!("{quotes}{}{quotes}\n", "x".repeat(payload - 2));
        assert_eq!(read(&line(50), form, 50).2, None);
        let windows = format!("{MARK}{}", line(50).replace('\n', "\r\n"));
        assert_eq!(read(&windows, form, 50).2, None);
        let end = read(&line(51), form, 50).2.expect("it is refused");
        assert_eq!(
            end,
            "1: is too long: the queue takes payloads of at most 50 bytes"
        );
    }
}

#[test]
fn a_stream_without_newlines_is_refused_and_not_kept() {
    struct Endless;
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }
    let batch = Lines::new(Endless, Form::Text, 1000)
        .next_batch()
        .expect("a batch");
    assert!(matches!(batch.end, Some(End::Refused { number: 1, .. })));
}

#[test]
fn batches_are_bounded_and_lose_nothing() {
    let numbers: Vec<String> = (0..2500).map(|number: u32| number.to_string()).collect();
    let (payloads, sizes, _) = read(&numbers.join("\n"), Form::Json, 100);
    assert_eq!(sizes, [1000, 1000, 499, 1]);
    assert_eq!(payloads, numbers);
}

#[test]
fn what_is_there_is_not_held_back_for_what_is_not() {
    /// Gives one line a read, as a slow pipe does.
    struct Slow(u8);
    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            buffer[..2].copy_from_slice(b"1\n");
            Ok(if self.0 > 3 { 0 } else { 2 })
        }
    }
    let mut lines = Lines::new(Slow(0), Form::Json, 100);
    let sizes: Vec<usize> = std::iter::from_fn(|| lines.next_batch())
        .map(|batch| batch.payloads.len())
        .collect();
    assert_eq!(sizes, [1, 1, 1]);
}

#[test]
fn a_line_is_not_held_back_by_empty_ones_behind_it() {
    /// Gives a line with an empty one behind it, and must not be read again before they came out.
    struct Once(bool);
    impl Read for Once {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(!std::mem::replace(&mut self.0, true), "read again");
            buffer[..3].copy_from_slice(b"1\n\n");
            Ok(3)
        }
    }
    for form in [Form::Json, Form::Text] {
        let batch = Lines::new(Once(false), form, 100).next_batch();
        assert_eq!(batch.expect("a batch").payloads.len(), 1);
    }
}

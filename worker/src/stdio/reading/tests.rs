//! What lines of children say, kind by kind.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::message::{Seconds, Words};
use super::*;

const ID: &str = "01234567890123456789";
const OTHER: &str = "11234567890123456789";

fn filled(line: &str) -> Bytes {
    let line = line.replace("OTHER", &format!("\"{OTHER}\""));
    line.replace("ID", &format!("\"{ID}\"")).into()
}

fn all_of(line: &str) -> Vec<Reading> {
    Said::by(&Line::Whole(filled(line))).collect()
}

/// The only thing that a line says.
fn read(line: &Line) -> Reading {
    let mut said: Vec<_> = Said::by(line).collect();
    let last = said.pop().expect("it says something");
    assert!(said.is_empty(), "{said:?} and {last:?}");
    last
}

fn of(line: &str) -> Reading {
    read(&Line::Whole(filled(line)))
}

fn odd_of(line: &str) -> Odd {
    match of(line) {
        Reading::Odd(odd) => odd,
        other => unreachable!("{line}: {other:?}"),
    }
}

#[test]
fn every_message_is_read() {
    for line in [
        r#"{"ready":{}}"#,
        r#"{"done":{"id":ID}}"#,
        r#"{"done":{"id":ID,"result":{"width":640}}}"#,
        r#"{"retry":{"id":ID,"error":"busy","seconds":1.5}}"#,
        r#"{"retry":{"id":ID}}"#,
        r#"{"dead":{"id":ID,"error":"no such file"}}"#,
        r#"{"snooze":{"id":ID,"seconds":60}}"#,
        r#"{"progress":{"id":ID,"progress":0.5}}"#,
        r#"{"log":{"id":ID,"line":"half way"}}"#,
        r#"{"extend":{"id":ID,"seconds":30}}"#,
        " {\"ready\": {}}\r",
        "\u{feff}{\"ready\":{}}",
    ] {
        assert!(
            matches!(of(line), Reading::Message(_)),
            "{line}: {:?}",
            of(line)
        );
    }
}

#[test]
fn what_is_nearly_json_is_read() {
    for (line, error) in [
        (
            r#"{"dead":{"id":ID,"error":"cannot read \udce9t\udce9.txt"}}"#,
            "cannot read \u{fffd}t\u{fffd}.txt",
        ),
        (r#"{"dead":{"id":ID,"error":"no C:\path"}}"#, r"no C:\path"),
        ("{\"dead\":{\"id\":ID,\"error\":\"a\tb\"}}", "a\tb"),
    ] {
        let Reading::Mended(
            Message::Dead {
                error: Words(told), ..
            },
            _,
        ) = of(line)
        else {
            unreachable!("{line}: {:?}", of(line));
        };
        assert_eq!(told, error);
    }
    let bytes = Bytes::copy_from_slice(
        &[
            filled(r#"{"dead":{"id":ID,"error":"caf"#).as_ref(),
            b"\xe9\"}}",
        ]
        .concat(),
    );
    let Reading::Mended(
        Message::Dead {
            error: Words(told), ..
        },
        _,
    ) = read(&Line::Whole(bytes))
    else {
        unreachable!("Latin-1 is read");
    };
    assert_eq!(told, "caf\u{fffd}");
    let Reading::Mended(
        Message::Done {
            result: Some(result),
            ..
        },
        why,
    ) = of(r#"{"done":{"id":ID,"result":{"mean":NaN}}}"#)
    else {
        unreachable!("NaN is read");
    };
    assert_eq!(result.get(), r#"{"mean":null}"#);
    assert!(why.contains("expected value"), "{why}");
}

#[test]
fn an_error_that_is_no_text_is_told_as_its_json() {
    for (error, told) in [
        ("5", "5"),
        ("null", ""),
        (r#"{"code": 7}"#, r#"{"code": 7}"#),
        (r#""x""#, "x"),
    ] {
        let line = format!(r#"{{"dead":{{"id":ID,"error":{error}}}}}"#);
        let Reading::Message(Message::Dead {
            error: Words(words),
            ..
        }) = of(&line)
        else {
            unreachable!("{line}: {:?}", of(&line));
        };
        assert_eq!(words, told);
    }
}

#[test]
fn a_time_is_one_or_says_what_it_was() {
    for (seconds, read) in [
        ("1.5", Ok(Duration::from_millis(1_500))),
        ("1e20", Ok(Duration::MAX)),
        ("1e400", Ok(Duration::MAX)),
        ("-5", Err("-5".to_owned())),
    ] {
        let line = format!(r#"{{"snooze":{{"id":ID,"seconds":{seconds}}}}}"#);
        let Reading::Message(Message::Snooze {
            seconds: Seconds(span),
            ..
        }) = of(&line)
        else {
            unreachable!("{line}: {:?}", of(&line));
        };
        assert_eq!(span, read);
    }
    // Of NaN nothing is left.
    let none = of(r#"{"retry":{"id":ID,"error":"x","seconds":NaN}}"#);
    assert!(
        matches!(
            none,
            Reading::Mended(Message::Retry { seconds: None, .. }, _)
        ),
        "{none:?}"
    );
    assert_eq!(
        odd_of(r#"{"snooze":{"id":ID,"seconds":NaN}}"#).kind,
        Kind::End
    );
    assert_eq!(
        odd_of(r#"{"snooze":{"id":ID,"seconds":"soon"}}"#).kind,
        Kind::End
    );
}

#[test]
fn a_line_that_names_its_task_is_charged_to_it() {
    for (line, kind) in [
        (r#"{"done":{"id":ID,"result":undefined}}"#, Kind::End),
        (r#"{"done":{"id":ID,"result":{"a":1}"#, Kind::End),
        (r#"{"done":{"id":ID,"took":5}}"#, Kind::End),
        (r#"{"retry":{"id":ID,"error":"a"b"}}"#, Kind::End),
        (r#"{"dead":{"id":ID,"error":'none'}}"#, Kind::Dead),
        (r#"{"snooze":{"id":ID}}"#, Kind::End),
        (r#"{"extend":{"id":ID}}"#, Kind::Aside),
        (r#"{"progress":{"id":ID}}"#, Kind::Aside),
        (
            r#"{"log":{"id":ID,"line":"x{"done":{"id":OTHER}}"#,
            Kind::Aside,
        ),
        (r#"{"finished":{"id":ID}}"#, Kind::Unknown),
    ] {
        let odd = odd_of(line);
        assert_eq!((odd.id.as_str(), odd.kind), (ID, kind), "{line}");
        assert!(odd.why.contains("which is no message"), "{}", odd.why);
    }
    let why = odd_of(r#"{"finished":{"id":ID}}"#).why;
    assert!(why.contains("unknown variant `finished`"), "{why}");
    let why = odd_of(r#"{"snooze":{"id":ID}}"#).why;
    assert!(why.contains("missing field `seconds`"), "{why}");
}

#[test]
fn a_line_that_names_no_task_or_two_is_charged_to_none() {
    for (line, reason) in [
        ("hello", "expected value"),
        (r#"{"done":{"id":"7"}}"#, "task id"),
        (r#"{"done":{"id":7}}"#, "invalid type"),
        (r#"{"done":{"result":undefined,"id":ID}}"#, "expected value"),
        (r#"{"done":{"id":ID,"id":OTHER}}"#, "duplicate field"),
        (r#"{"done":{"id":ID},"dead":{"id":OTHER}}"#, "expected"),
        // What a print() of a task, or of a line that it got, looks like.
        (r#"{"id":ID,"type":"any"}"#, "unknown variant"),
        (r#"{"task":{"id":ID,"type":"any"}}"#, "unknown variant"),
        ("{'done': {'id': ID}}", "key must be a string"),
        (r#"["done",ID]"#, "expected"),
        ("null", "expected"),
    ] {
        let Reading::Stray(why) = of(line) else {
            unreachable!("{line}: {:?}", of(line));
        };
        assert!(why.contains(reason), "{line}: {why}");
        assert!(why.contains("standard error"), "{why}");
    }
    let Reading::Stray(why) = read(&Line::Whole(Bytes::from_static(b"\xff\xfe{\0\"\0"))) else {
        unreachable!("UTF-16 is no message");
    };
    assert!(why.contains("UTF-16"), "{why}");
}

/// What a line says, in short: the task's end, an odd one, or something stray.
fn told(line: &str) -> Vec<(&'static str, Option<String>)> {
    let told = all_of(line).into_iter().map(|reading| match reading {
        Reading::Message(message) => ("message", message.id()),
        Reading::Mended(message, _) => ("mended", message.id()),
        Reading::Odd(odd) => ("odd", Some(odd.id)),
        Reading::Stray(_) => ("stray", None),
    });
    told.map(|(what, id)| (what, id.map(|id| id.to_string())))
        .collect()
}

#[test]
fn several_messages_in_one_line_are_read_one_by_one() {
    let (this, other) = (Some(ID.to_owned()), Some(OTHER.to_owned()));
    let both = |what| vec![(what, this.clone()), (what, other.clone())];
    for line in [
        r#"{"done":{"id":ID}}{"done":{"id":OTHER}}"#,
        "{\"done\":{\"id\":ID,\"result\":\"}{\"}} \t{\"dead\":{\"id\":OTHER}} \r",
    ] {
        assert_eq!(told(line), both("message"), "{line}");
    }
    // One that has to be mended, before another and behind it.
    for line in [
        r#"{"done":{"id":ID,"result":NaN}}{"done":{"id":OTHER}}"#,
        r#"{"done":{"id":ID,"result":"\udce9"}}{"done":{"id":OTHER,"result":NaN}}"#,
    ] {
        let told = told(line);
        let ids: Vec<_> = told.iter().map(|(_, id)| id.clone()).collect();
        assert_eq!(ids, [this.clone(), other.clone()], "{told:?}");
        assert!(
            told.iter()
                .all(|(what, _)| ["message", "mended"].contains(what))
        );
    }
    // An odd one costs its own task.
    for (line, wanted) in [
        (
            r#"{"done":{"id":ID,"took":5}}{"done":{"id":OTHER}}"#,
            vec![("odd", this.clone()), ("message", other.clone())],
        ),
        (
            r#"{"done":{"id":ID}}{"done":{"id":OTHER,"result":undefined}}"#,
            vec![("message", this.clone()), ("odd", other.clone())],
        ),
        (
            r#"{"done":{"id":ID}} {"x":1}"#,
            vec![("message", this.clone()), ("stray", None)],
        ),
        (
            r#"{"done":{"id":ID}} and so on"#,
            vec![("message", this.clone()), ("stray", None)],
        ),
        (
            r#"{"level":"info"}{"done":{"id":ID}}"#,
            vec![("stray", None), ("message", this.clone())],
        ),
    ] {
        assert_eq!(told(line), wanted, "{line}");
    }
    for line in ["", " \t\r", "\u{feff}"] {
        assert_eq!(told(line), [], "{line:?}");
    }
}

#[test]
fn a_line_of_very_many_things_is_read_in_a_while_that_grows_with_its_length() {
    let line = Line::Whole(Bytes::from("{} ".repeat(200_000)));
    assert_eq!(Said::by(&line).count(), 200_000);
}

#[test]
fn a_long_line_is_charged_to_the_task_that_it_names() {
    let long = |line: &str| {
        read(&Line::Long {
            head: filled(line),
            bytes: 2_000_000,
        })
    };
    let Reading::Odd(Odd { id, kind, .. }) = long(r#"{"done": {"id": ID, "result": "xxx"#) else {
        unreachable!("it names its task");
    };
    let head = "\"xxx".to_owned();
    assert_eq!(
        (id.as_str(), kind),
        (
            ID,
            Kind::Oversized {
                head,
                bytes: 2_000_000
            }
        )
    );
    assert!(matches!(
        long(r#"{"dead":{"id":ID,"error":"xxx"#),
        Reading::Odd(Odd {
            kind: Kind::Dead,
            ..
        })
    ));
    assert!(matches!(
        long(r#"{"done":{"result":"xxx"#),
        Reading::Stray(_)
    ));
}

#[test]
fn a_line_that_the_child_s_end_cut_is_charged_to_nobody() {
    let unfinished = |line: &str| read(&Line::Unfinished(filled(line)));
    assert!(matches!(
        unfinished(r#"{"done":{"id":ID,"resu"#),
        Reading::Stray(_)
    ));
    assert!(matches!(
        unfinished(r#"{"done":{"id":ID}}"#),
        Reading::Message(_)
    ));
}

#[test]
fn a_result_is_kept_to_the_letter() {
    let line = r#"{"done":{"id":ID,"result":{"b": 1.50, "n": 12345678901234567890123}}}"#;
    let Reading::Message(Message::Done {
        result: Some(result),
        ..
    }) = of(line)
    else {
        unreachable!("it is read");
    };
    assert_eq!(result.get(), r#"{"b": 1.50, "n": 12345678901234567890123}"#);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in any::<Vec<u8>>(), tail in any::<Vec<u8>>()) {
        let begun = [filled(r#"{"done":{"id":ID,"#).as_ref(), &bytes].concat();
        let glued = [filled(r#"{"done":{"id":ID}}"#).as_ref(), &bytes].concat();
        for line in [bytes, begun, glued] {
            let _ = Said::by(&Line::Whole(line.clone().into())).count();
            let _ = Said::by(&Line::Unfinished(line.into())).count();
        }
        let _ = Said::by(&Line::Long { head: tail.into(), bytes: 2_000_000 }).count();
    }

    #[test]
    fn no_end_of_a_line_names_another_task(tail in "\\PC*") {
        let line = format!(r#"{{"done":{{"id":ID,{tail}"#);
        for said in all_of(&line) {
            match said {
                Reading::Odd(odd) => prop_assert_eq!(odd.id.as_str(), ID),
                Reading::Message(message) | Reading::Mended(message, _) => {
                    prop_assert_eq!(message.id().map(|id| id.to_string()), Some(ID.to_owned()));
                }
                Reading::Stray(_) => {}
            }
        }
    }
}

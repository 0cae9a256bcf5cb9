use proptest::prelude::*;

use super::*;

fn queue(name: &str) -> QueueName {
    QueueName::new("test", name).unwrap()
}

fn places() -> impl Strategy<Value = Place> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let scored = || {
        let score = prop_oneof![
            Just("inf".to_owned()),
            any::<i64>().prop_map(|n| n.to_string())
        ];
        prop::option::of((score, bytes()).prop_map(|(score, member)| Scored { score, member }))
    };
    let listed = (prop::collection::vec(bytes(), 1..4), bytes(), any::<u64>());
    let listed = listed.prop_map(|(recent, last, ahead)| InList {
        recent,
        last,
        ahead,
    });
    prop_oneof![
        prop::option::of("[0-9a-v]{20}")
            .prop_map(|id| Place::Active(id.map(|id| id.parse().unwrap()))),
        (
            "[a-z]{1,9}",
            prop::option::of(listed),
            prop::collection::vec("[a-z]{1,9}", 0..3)
        )
            .prop_map(|(level, behind, rest)| Place::Waiting {
                level,
                behind,
                rest
            }),
        bytes().prop_map(Place::Blocked),
        scored().prop_map(Place::Scheduled),
        scored().prop_map(Place::Dead),
        "([0-9a-v]{9})?([0-9a-v]{11})?".prop_map(Place::Ended),
    ]
}

#[test]
fn a_listing_goes_through_what_its_filter_asks_for_in_a_fixed_order() {
    let levels = ["high".to_owned(), "low".to_owned()];
    let count = |filter: &Filter| {
        let places = beginnings(filter, &levels);
        let mut place = places.first().cloned();
        let mut count = 0;
        while let Some(here) = place {
            count += 1;
            place = here.following(&places);
        }
        count
    };
    assert_eq!(count(&Filter::default()), 5);
    assert_eq!(count(&Filter::of([Stage::Waiting])), 2);
    assert_eq!(count(&Filter::of([Stage::Expired])), 1);
    let all = Stage::NOT_ENDED.into_iter().chain(Stage::ENDED);
    assert_eq!(count(&Filter::of(all.chain([Stage::Dead]))), 7);
    let low = Filter {
        level: Some("low".to_owned()),
        ..Filter::of([Stage::Waiting])
    };
    assert_eq!(count(&low), 1);
    // The levels that it began with, in their order.
    let began = beginnings(&Filter::default(), &levels);
    let now = beginnings(&Filter::default(), &["low".to_owned(), "new".to_owned()]);
    let next = began[1].following(&now);
    assert!(
        matches!(&next, Some(Place::Waiting { level, rest, .. }) if level == "low" && rest.is_empty())
    );
    assert_eq!(
        next.unwrap().following(&now),
        Some(Place::Blocked(Vec::new()))
    );
}

#[test]
fn a_cursor_is_good_for_its_queue_and_filter_alone() {
    let filter = Filter::of([Stage::Dead]);
    let cursor = Cursor::new(&queue("a"), &filter, Place::Dead(None)).unwrap();
    assert!(cursor.place(&queue("a"), &filter).is_ok());
    for (queue, filter) in [
        (queue("b"), filter.clone()),
        (queue("a"), Filter::default()),
    ] {
        let refusal = cursor.place(&queue, &filter).unwrap_err().to_string();
        assert!(
            refusal.starts_with("cursor \"") && refusal.contains("of another listing"),
            "{refusal}"
        );
    }
    let long = Place::Blocked(vec![0; MAX_NAME_BYTES + 1]);
    assert_eq!(Cursor::new(&queue("a"), &filter, long), None);
}

#[test]
fn what_is_no_cursor_is_refused_with_what_to_do() {
    let long = "A".repeat(MAX_TEXT_BYTES + 4);
    for text in ["", "AA", "=", "ä", "AQEA", &long] {
        let refusal = text.parse::<Cursor>().unwrap_err().to_string();
        assert!(
            refusal.starts_with("cursor") && refusal.contains("anew"),
            "{refusal}"
        );
        assert!(refusal.len() < 400);
    }
}

proptest! {
    #[test]
    fn a_cursor_survives_printing_and_parsing(place in places()) {
        let cursor = Cursor::new(&queue("a"), &Filter::default(), place).unwrap();
        let text = cursor.to_string();
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        prop_assert_eq!(text.parse::<Cursor>().unwrap(), cursor);
    }

    #[test]
    fn any_bytes_are_a_cursor_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..60), place in places(), at in any::<prop::sample::Index>()) {
        for mut bytes in [bytes.clone(), URL_SAFE_NO_PAD.decode(Cursor { asked: 0, place }.to_string()).unwrap()] {
            let at = at.index(bytes.len() + 1);
            bytes.truncate(at);
            bytes.push(0x93);
            if let Ok(cursor) = URL_SAFE_NO_PAD.encode(&bytes).parse::<Cursor>() {
                prop_assert!(cursor.to_string().len() <= MAX_TEXT_BYTES);
            }
        }
    }
}

use proptest::prelude::*;

use super::*;

fn shown(url: &str) -> String {
    Endpoint::parse(url).unwrap().to_string()
}

#[test]
fn the_password_is_never_printed() {
    let endpoint = Endpoint::parse("redis://me:hunter2@cache.example:6390/3").unwrap();
    for shown in [endpoint.to_string(), format!("{endpoint:?}")] {
        assert!(shown.contains("redis://cache.example:6390/3"), "{shown}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("me:"),
            "{shown}"
        );
    }
    for bad in [
        "redis://me:hunter2@",
        "redis://me:hunter2@h/notadb",
        "hunter2",
        "http://:hunter2@h",
        "redis://me:12/hunter2@h",
        "redis://me:12?prefix=hunter2@h",
        "redis://h?prefix=hunter/2",
        "redis+sentinel://a:12/hunter2/3@h",
        "redis://me:#hunter2@h",
        "redis://hunter2@h",
        "redis://h/hunter2",
        "redis://h:hunter2",
    ] {
        let refusal = Endpoint::parse(bad).unwrap_err().to_string();
        assert!(!refusal.contains("hunter2"), "{bad}: {refusal}");
    }
}

#[test]
fn each_form_of_url_is_understood() {
    for (url, wanted) in [
        ("redis://h", "redis://h:6379/0"),
        ("redis://h/\n", "redis://h:6379/0"),
        ("rediss://u:p@h:1/2", "rediss://h:1/2"),
        ("redis://[::1]:7000", "redis://[::1]:7000/0"),
        (
            "redis+sentinel://u:p@a,b:2/main",
            "redis+sentinel://a:26379,b:2/main/0",
        ),
        (
            "rediss+sentinel://:p@[::1],b/m.a-i_n/3",
            "rediss+sentinel://[::1]:26379,b:26379/m.a-i_n/3",
        ),
        ("redis+cluster://a,b:7001", "redis+cluster://a:6379,b:7001"),
        (
            "rediss+cluster://a/0?prefix=x.Y-_9",
            "rediss+cluster://a:6379?prefix=x.Y-_9",
        ),
        ("REDIS://H", "redis://H:6379/0"),
        (
            "Rediss+Sentinel://a/Main",
            "rediss+sentinel://a:26379/Main/0",
        ),
        ("valkey://u:p@h/1", "redis://h:6379/1"),
        ("VALKEYS://h", "rediss://h:6379/0"),
        ("valkey+sentinel://a/m", "redis+sentinel://a:26379/m/0"),
        ("valkeys+sentinel://a/m", "rediss+sentinel://a:26379/m/0"),
        ("valkey+cluster://a,b", "redis+cluster://a:6379,b:6379"),
        ("valkeys+cluster://a", "rediss+cluster://a:6379"),
    ] {
        assert_eq!(shown(url), wanted);
        // Without credentials, what is printed leads to the same place.
        assert_eq!(shown(wanted), wanted);
    }
    let endpoint = Endpoint::parse("redis://m%40e:%3A%2f%25x%@h").unwrap();
    assert_eq!(endpoint.login.user.as_deref(), Some("m@e"));
    assert_eq!(endpoint.login.password.as_deref(), Some(":/%x%"));
}

#[test]
fn what_is_wrong_in_a_url_is_named() {
    for (url, word) in [
        ("http://h", "redis+cluster://"),
        ("http://h", "valkey://"),
        ("valkeyss://h", "valkeys"),
        ("redis+://h", "redis+cluster://"),
        ("redis+sentinels://h/m", "redis+sentinel://"),
        ("redis://", "host"),
        ("redis://a,b", "one host"),
        ("redis://h:0", "port"),
        ("redis://h:65536", "port"),
        ("redis://::1:7000", "[::1]"),
        ("redis://::1", "[ ]"),
        ("redis://2001:db8::1/2", "[ ]"),
        ("redis+cluster://a:1,::1:7000", "[ ]"),
        ("redis://[::1", "]"),
        ("redis://[x]", "IPv6"),
        ("redis://h/-1", "number"),
        ("redis://h/99999999999", "number"),
        ("redis://u@h", "user:password"),
        ("redis://u:a/b@h", "%2F"),
        ("redis+sentinel://h", "name"),
        ("redis+sentinel://h/a b", "name"),
        ("redis+cluster://h/1", "no databases"),
        ("redis+cluster://a,,b", "host"),
        ("redis://h?protocol=resp3", "prefix=…"),
        ("redis://h?prefix=", "1 to 32 characters"),
        ("redis://h#insecure", "behind a #"),
        ("\u{feff}redis://h", "byte order mark"),
        (" \u{feff}redis://h", "byte order mark"),
        ("redis://:%ff@h", "UTF-8"),
        ("redis://:a%0d%0aSET%20x@h", "control characters"),
        ("redis://a%00b:p@h", "control characters"),
        ("redis://:a%c2%85b@h", "control characters"),
    ] {
        let refusal = Endpoint::parse(url).unwrap_err();
        assert!(!refusal.is_transient());
        assert!(refusal.to_string().contains(word), "{url}: {refusal}");
    }
}

#[test]
fn a_url_names_sixteen_hosts_at_most() {
    let url = |count: usize| format!("redis+sentinel://{}/main", vec!["h"; count].join(","));
    assert_eq!(Endpoint::parse(&url(16)).unwrap().hosts().len(), 16);
    let refusal = Endpoint::parse(&url(3_000)).unwrap_err().to_string();
    assert!(
        refusal.contains("redis url") && refusal.contains("3000 hosts and may name 16"),
        "{refusal}"
    );
}

#[test]
fn a_login_of_sentinels_holds_no_control_characters() {
    let sentinel = || Endpoint::parse("redis+sentinel://h/m").unwrap();
    for (user, password) in [("a\nb", "p"), ("a", "p\r\nq")] {
        let refusal = sentinel().with_sentinel_login(user, password).unwrap_err();
        assert!(
            refusal.to_string().contains("control characters"),
            "{refusal}"
        );
    }
}

#[test]
fn a_prefix_outside_the_rule_is_refused_and_named() {
    let endpoint = Endpoint::parse("redis://h").unwrap();
    let long = "x".repeat(33);
    for prefix in ["", "a:b", "a{b", "ä", " ", "a*", long.as_str()] {
        let refusal = endpoint.clone().with_prefix(prefix).unwrap_err();
        let Error::Invalid { field, value, rule } = refusal else {
            panic!("{refusal:?}");
        };
        assert_eq!((field, value.as_str()), ("prefix", prefix));
        assert!(rule.contains("1 to 32 characters"), "{rule}");
    }
    for prefix in ["t", "Team.a_b-9", &"x".repeat(32)] {
        let endpoint = endpoint.clone().with_prefix(prefix).unwrap();
        assert_eq!(endpoint.prefix(), prefix);
        assert_eq!(shown(&endpoint.to_string()), endpoint.to_string());
    }
}

#[test]
fn tls_options_are_refused_without_tls_and_a_sentinel_login_without_sentinels() {
    let plain = || Endpoint::parse("redis://h").unwrap();
    for refusal in [
        plain().with_ca("x"),
        plain().with_client_cert("x", "y"),
        plain().with_sentinel_login("", "hunter2"),
    ] {
        let refusal = refusal.unwrap_err();
        assert!(matches!(refusal, Error::Invalid { .. }), "{refusal}");
        assert!(!refusal.to_string().contains("hunter2"));
    }
    assert!(Endpoint::parse("rediss://h").unwrap().is_tls());
    let sentinel = Endpoint::parse("redis+sentinel://h/m").unwrap();
    let sentinel = sentinel.with_sentinel_login("me", "hunter2").unwrap();
    assert!(!format!("{sentinel} {sentinel:?}").contains("hunter2"));
}

/// Pieces of which URLs and their mistakes are made.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "redis://",
            "rediss+sentinel://",
            "redis+cluster://",
            "?prefix=",
            "h",
            "h:1",
            ":",
            "@",
            "/",
            ",",
            "#",
            "[",
            "]",
            "%",
            "%zz",
            "%40",
            "0",
            "12",
            "?",
            "=",
            "main",
            "\n",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ]
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,80}", pieces in prop::collection::vec(piece(), 0..12)) {
        let _ = Endpoint::parse(&text);
        let _ = Endpoint::parse(&format!("redis://{text}"));
        let _ = Endpoint::parse(&pieces.concat());
    }

    /// What stands before the last @ is taken for credentials, or the URL is refused.
    #[test]
    fn a_password_is_not_shown_however_it_was_written(
        scheme in proptest::sample::select(vec![
            "redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://", "redis+cluster://",
            "", "http://",
        ]),
        before in prop::collection::vec(piece(), 0..6),
        between in prop::collection::vec(piece(), 0..4),
        after in proptest::sample::select(vec!["h", "h:1/2", "a,b/main", "a,b:2/main/3", "", "?"]),
    ) {
        let password = "Hunter2Hunter2";
        let (before, between) = (before.concat(), between.concat());
        let url = format!("{scheme}{before}{password}{between}@{after}");
        let shown = match Endpoint::parse(&url) {
            Ok(endpoint) => format!("{endpoint} {endpoint:?} {}", endpoint.address()),
            Err(refusal) => format!("{refusal} {refusal:?}"),
        };
        prop_assert!(!shown.contains(password), "{url}: {shown}");
    }

    #[test]
    fn an_encoded_password_comes_through_as_it_was(password in "\\PC{1,20}", user in "\\PC{0,8}") {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let url = format!("redis+cluster://{}:{}@h", encoded(&user), encoded(&password));
        let endpoint = Endpoint::parse(&url).unwrap();
        prop_assert_eq!(endpoint.login.password.as_deref(), Some(password.as_str()));
        prop_assert_eq!(endpoint.login.user.unwrap_or_default(), user);
    }
}

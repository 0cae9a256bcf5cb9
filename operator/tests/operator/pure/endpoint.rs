//! The URL of a Redis.

use taskqueue_operator::endpoint::EndpointUrl;

use crate::fixtures::endpoint;

#[test]
fn the_password_is_never_shown() {
    for url in [
        "redis://:hunter2@redis:6379",
        "redis://user:hunter2@redis",
        "rediss://user:hunter2%40x@redis/1",
        "redis://user:p@hunter2@redis",
        "redis+sentinel://user:hunter2@redis-a,redis-b/main",
        "rediss+cluster://:hunter2@redis-a,redis-b",
    ] {
        let endpoint = endpoint(url);
        for shown in [
            endpoint.to_string(),
            format!("{endpoint:?}"),
            format!("{:?}", Some(&endpoint)),
        ] {
            assert!(!shown.contains("hunter2"), "{url} is shown as {shown}");
            assert!(shown.contains("redis"), "{url} is shown as {shown}");
        }
        assert!(endpoint.has_password(), "{url}");
        assert_eq!(endpoint.expose(), url);
    }
}

#[test]
fn a_url_without_a_password_is_shown_as_it_is() {
    for url in [
        "redis://redis:6379",
        "rediss://redis/1",
        "redis://redis:6379?prefix=team-b",
        "redis+sentinel://a:26379,b:26379/main",
        "redis+cluster://a,b",
    ] {
        let endpoint = endpoint(url);
        assert_eq!(endpoint.to_string(), url);
        assert!(!endpoint.has_password(), "{url}");
    }
}

#[test]
fn a_refused_url_is_not_repeated() {
    for url in [
        "http://:hunter2@redis",
        "hunter2",
        "redis://:hunter2@",
        "redis://:hunter2@redis/x",
    ] {
        let refusal = EndpointUrl::parse(url.to_owned()).unwrap_err().to_string();
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
}

//! Which Events that cannot be published are worth a word.

use kube::core::{Status, response::StatusCause, response::StatusDetails};
use taskqueue_operator::events::is_going;

fn refusal(code: u16, kind: &str, cause: &str) -> kube::Error {
    let causes = vec![StatusCause {
        reason: cause.to_owned(),
        message: String::new(),
        field: String::new(),
    }];
    let details = StatusDetails {
        name: "shop".to_owned(),
        group: String::new(),
        kind: kind.to_owned(),
        uid: String::new(),
        causes: if cause.is_empty() { Vec::new() } else { causes },
        retry_after_seconds: 0,
    };
    let status = Status::failure("no", "Forbidden")
        .with_code(code)
        .with_details(details);
    kube::Error::Api(status.boxed())
}

#[test]
fn a_namespace_that_is_being_deleted_takes_no_events_and_that_is_no_fault() {
    // As the API server answers to a POST in such a namespace, and once it is gone.
    assert!(is_going(&refusal(403, "events", "NamespaceTerminating")));
    assert!(is_going(&refusal(404, "namespaces", "")));
    // A missing right is one.
    assert!(!is_going(&refusal(403, "events", "")));
    assert!(!is_going(&refusal(404, "events", "")));
    assert!(!is_going(&kube::Error::LinesCodecMaxLineLengthExceeded));
}

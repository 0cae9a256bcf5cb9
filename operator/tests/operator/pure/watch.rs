//! What is kept of watched objects, and which of their changes start a reconcile.

use futures::{StreamExt, stream};
use kube::{
    core::DeserializeGuard,
    runtime::watcher::{self, Event},
};
use serde_json::{Value, json};
use taskqueue_operator::{reconcile::Guarded, watch};

use crate::fixtures::{Edit, exec, resource};

fn guarded(edits: &[Edit]) -> Guarded {
    DeserializeGuard(Ok(resource(edits)))
}

#[test]
fn of_a_task_queue_the_spec_the_status_and_our_own_annotations_are_kept() {
    let annotations = json!({
        "kubectl.kubernetes.io/last-applied-configuration": "{}", "taskqueue.dev/pause-scale-in": "true"
    });
    let managers = json!([{ "manager": "kubectl", "operation": "Apply" }]);
    let given = [
        ("/metadata/annotations", annotations),
        ("/metadata/managedFields", managers),
        ("/status", json!({ "queue": "shop/thumbnails" })),
    ];
    let mut kept = guarded(&given);
    watch::strip_resource(&mut kept);
    let expected = guarded(&[
        (
            "/metadata/annotations",
            json!({ "taskqueue.dev/pause-scale-in": "true" }),
        ),
        given[2].clone(),
    ]);
    assert_eq!(kept.0.unwrap(), expected.0.unwrap());
}

#[test]
fn of_a_spec_that_is_too_large_the_refusal_is_kept() {
    let with_script = |bytes: usize| {
        let script = "x".repeat(bytes);
        let container = json!({ "name": "a", "image": "a", "command": ["sh", "-c", script] });
        let template = json!({ "spec": { "containers": [container] } });
        let mut kept = guarded(&exec(template));
        watch::strip_resource(&mut kept);
        kept
    };
    assert!(with_script(watch::MOST_SPEC - 1_000).0.is_ok());
    let refused = with_script(watch::MOST_SPEC);
    assert_eq!(kube::ResourceExt::name_any(&refused), "thumbnails");
    let refused = refused.0.unwrap_err();
    assert!(watch::is_too_large(&refused) && refused.error.len() < 1_000);
    for part in ["131072", "bytes", "ConfigMaps"] {
        assert!(refused.error.contains(part), "{}", refused.error);
    }
    let mut malformed = refused;
    malformed.error = "unknown variant".repeat(10_000);
    assert!(!watch::is_too_large(&malformed));
    let mut kept = DeserializeGuard(Err(malformed));
    watch::strip_resource(&mut kept);
    assert!(kept.0.unwrap_err().error.len() <= 1_024);
}

/// The names of the objects of which these events are news.
fn news(events: Vec<Event<Guarded>>) -> Vec<String> {
    let events = stream::iter(events.into_iter().map(Ok::<_, watcher::Error>));
    let news = watch::news(events, watch::meaning).map(|object| {
        let object = object.unwrap();
        kube::ResourceExt::name_any(&object)
    });
    futures::executor::block_on(news.collect())
}

fn named(name: &str, edits: &[Edit]) -> Guarded {
    let mut edits = edits.to_vec();
    edits.push(("/metadata/name", name.into()));
    guarded(&edits)
}

#[test]
fn a_change_of_the_status_is_no_news() {
    let changed =
        |waiting: u64| -> Edit { ("/status", json!({ "depth": { "waiting": waiting } })) };
    let events = vec![
        Event::Apply(named("a", &[])),
        Event::Apply(named("a", &[changed(1)])),
        Event::Apply(named("a", &[changed(2)])),
    ];
    assert_eq!(news(events), ["a"]);
}

#[test]
fn edits_deletions_and_our_annotations_are() {
    let deleted = json!("2026-01-03T00:00:00Z");
    let steps: [(&'static str, Value); 4] = [
        ("/metadata/generation", json!(4)),
        ("/metadata/uid", json!("made anew")),
        ("/metadata/deletionTimestamp", deleted),
        ("/metadata/annotations", json!({ "taskqueue.dev/a": "b" })),
    ];
    for step in steps {
        let events = vec![
            Event::Apply(named("a", &[])),
            Event::Apply(named("a", &[step])),
        ];
        assert_eq!(news(events).len(), 2);
    }
    let gone_and_back = vec![
        Event::Apply(named("a", &[])),
        Event::Delete(named("a", &[])),
        Event::Apply(named("a", &[])),
    ];
    assert_eq!(news(gone_and_back).len(), 3);
}

#[test]
fn a_list_that_begins_anew_tells_only_what_is_new_in_it() {
    let events = vec![
        Event::Init,
        Event::InitApply(named("a", &[])),
        Event::InitApply(named("b", &[])),
        Event::InitDone,
        Event::Init,
        Event::InitApply(named("a", &[])),
        Event::InitApply(named("c", &[])),
        Event::InitDone,
        // It went in between, and is back.
        Event::Apply(named("b", &[])),
    ];
    assert_eq!(news(events), ["a", "b", "c", "b"]);
}

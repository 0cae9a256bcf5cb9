//! What is kept of the objects that are watched, and which of their changes a reconcile is for.
//!
//! With thousands of TaskQueues the caches are most of the operator's memory, and nearly every
//! event is a change of some status. So all that nobody reads is taken out before it is kept, and
//! a change that no reconcile would act on starts none. Pure, apart from the streams themselves.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
};

use futures::{Stream, StreamExt, future};
use kube::{
    Resource,
    core::{ObjectMeta, error_boundary::InvalidObject},
    runtime::watcher,
};
use serde::Serialize;
use taskqueue_plain as plain;

use crate::{key::Key, reconcile::Guarded};

/// Prefix of the annotations that mean something to us.
const OURS: &str = "taskqueue.dev/";
/// Most bytes of a spec, as JSON. Templates and payloads are free-form, and the API server takes 1.5 MiB
/// of them: a few hundred such TaskQueues would fill the memory of an operator that kept them.
pub const MOST_SPEC: usize = 128 * 1024;
/// How the refusal of a larger one begins.
const TOO_LARGE: &str = "the spec is too large: ";
/// Bytes kept of why an object does not parse, which may repeat all of it.
const MOST_REASON: usize = 1_024;

/// Takes out of a TaskQueue what nobody here reads: who manages which field, and the annotations
/// of others, among them the whole manifest once more. Of one whose spec is too large the refusal is
/// kept instead.
pub fn strip_resource(resource: &mut Guarded) {
    strip_meta(resource.meta_mut());
    match &mut resource.0 {
        Ok(parsed) => {
            let size = json_size(&parsed.spec);
            if size > MOST_SPEC {
                let metadata = std::mem::take(&mut parsed.metadata);
                let error = format!(
                    "{TOO_LARGE}it has {size} bytes as JSON, and {MOST_SPEC} are taken: put scripts and \
                     configuration into ConfigMaps that the pod template mounts, and what is long in \
                     the payloads of schedules into what their handler reads"
                );
                resource.0 = Err(InvalidObject { error, metadata });
            }
        }
        Err(invalid) => invalid.error = plain::cut(invalid.error.as_str(), MOST_REASON),
    }
}

/// Whether this is the refusal of a spec that is too large.
pub fn is_too_large(invalid: &InvalidObject) -> bool {
    invalid.error.starts_with(TOO_LARGE)
}

fn json_size(value: &impl Serialize) -> usize {
    let mut count = Count(0);
    // As with a fingerprint, nothing here can fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

fn strip_meta(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.annotations = metadata.annotations.take().and_then(|mut annotations| {
        annotations.retain(|name, _| name.starts_with(OURS));
        (!annotations.is_empty()).then_some(annotations)
    });
}

/// What starts a reconcile when it changes: anything but the status.
pub fn meaning(resource: &Guarded) -> u64 {
    let metadata = resource.meta();
    let mut hasher = DefaultHasher::new();
    metadata.uid.hash(&mut hasher);
    metadata.generation.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    for annotation in metadata.annotations.iter().flatten() {
        annotation.hash(&mut hasher);
    }
    hasher.finish()
}

/// A number for what `value` is as JSON. The same in every run of one build, which
/// is all that may be relied on.
pub fn fingerprint(value: &impl Serialize) -> u64 {
    let mut sink = Sink(DefaultHasher::new());
    // Neither the sink nor the types that are printed here can fail; one that did would be printed
    // up to the same place the next time.
    let _ = serde_json::to_writer(&mut sink, value);
    sink.0.finish()
}

/// The value of [`APPLIED`](crate::workload::APPLIED) for children of this fingerprint.
pub fn mark(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

/// Hashes what is written to it.
struct Sink(DefaultHasher);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts the bytes that are written to it.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Of a watch the objects that came, went, or changed in what `print` looks at.
pub fn news<K: Resource>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    print: impl Fn(&K) -> u64,
) -> impl Stream<Item = watcher::Result<K>> {
    let mut seen = Seen::default();
    events.filter_map(move |event| {
        future::ready(match event {
            Ok(event) => seen.take(event, &print).map(Ok),
            Err(error) => Some(Err(error)),
        })
    })
}

/// The prints of the objects that there are, by the hash of their keys.
#[derive(Default)]
struct Seen {
    prints: HashMap<u64, u64>,
    /// Those of a list that is under way: who is not in it is gone.
    listed: HashMap<u64, u64>,
}

impl Seen {
    fn take<K: Resource>(
        &mut self,
        event: watcher::Event<K>,
        print: impl Fn(&K) -> u64,
    ) -> Option<K> {
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                None
            }
            watcher::Event::InitApply(object) => {
                let (key, print) = (key_hash(&object), print(&object));
                self.listed.insert(key, print);
                (self.prints.insert(key, print) != Some(print)).then_some(object)
            }
            watcher::Event::InitDone => {
                self.prints = std::mem::take(&mut self.listed);
                None
            }
            watcher::Event::Apply(object) => {
                let (key, print) = (key_hash(&object), print(&object));
                (self.prints.insert(key, print) != Some(print)).then_some(object)
            }
            watcher::Event::Delete(object) => {
                self.prints.remove(&key_hash(&object));
                Some(object)
            }
        }
    }
}

fn key_hash(object: &impl Resource) -> u64 {
    let mut hasher = DefaultHasher::new();
    Key::of(object).hash(&mut hasher);
    hasher.finish()
}

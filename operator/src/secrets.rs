//! The Secrets that TaskQueues name, and who is to know when one of them changes.
//!
//! They are asked for one by one, under their names, and only for their version. A watch would
//! tell the same at once, but the right to watch Secrets is the right to read all of them, since
//! every watch begins with what there is; `get` alone lets nobody look for what no TaskQueue
//! names. The server answers from its cache, and a bound on the pace keeps thousands of Secrets
//! from costing more than tens.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::GetParams};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::key::Key;

/// Time in which every Secret is asked for once, as long as the pace allows.
const ROUND: Duration = Duration::from_secs(1);
/// Least time between two questions: 20 a second, so that 1,000 Secrets take 50 s a round.
const LEAST: Duration = Duration::from_millis(50);

/// The version of a Secret; `None` when there is none.
pub type Version = Option<String>;

/// What each TaskQueue read of which Secrets.
#[derive(Default)]
pub struct References(Mutex<State>);

#[derive(Default)]
struct State {
    /// By namespace and name of the Secret: who named it, and the version that they read.
    secrets: BTreeMap<(String, String), BTreeMap<Key, Version>>,
    /// The names that each TaskQueue named.
    named: HashMap<Key, Vec<String>>,
}

impl References {
    /// Takes note of the Secrets that a pass over a TaskQueue read, by name; they take the place of
    /// those before.
    pub fn refer(&self, key: &Key, read: BTreeMap<String, Version>) {
        let mut state = self.lock();
        state.forget(key);
        if read.is_empty() {
            return;
        }
        state
            .named
            .insert(key.clone(), read.keys().cloned().collect());
        for (name, version) in read {
            let place = (key.namespace.clone(), name);
            let readers = state.secrets.entry(place).or_default();
            readers.insert(key.clone(), version);
        }
    }

    /// The TaskQueue is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().forget(key);
    }

    /// The Secret behind this one in the order of their names, or the first; with how many there
    /// are.
    fn after(&self, last: Option<&(String, String)>) -> Option<((String, String), usize)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let state = self.lock();
        let behind = last.and_then(|last| {
            let mut rest = state.secrets.range((Excluded(last.clone()), Unbounded));
            rest.next()
        });
        let next = behind.or_else(|| state.secrets.iter().next())?.0.clone();
        Some((next, state.secrets.len()))
    }

    /// Those who read another version than this one. Each is told once of each version.
    fn outdated(&self, secret: &(String, String), version: &Version) -> BTreeSet<Key> {
        let mut state = self.lock();
        let readers = state.secrets.get_mut(secret);
        let outdated = readers.into_iter().flatten();
        let outdated = outdated.filter(|(_, read)| *read != version);
        outdated
            .map(|(key, read)| {
                read.clone_from(version);
                key.clone()
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic elsewhere leaves behind is at worst one reader that is not told.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, key: &Key) {
        for name in self.named.remove(key).unwrap_or_default() {
            let place = (key.namespace.clone(), name);
            if let Some(readers) = self.secrets.get_mut(&place) {
                readers.remove(key);
                if readers.is_empty() {
                    self.secrets.remove(&place);
                }
            }
        }
    }
}

/// Looks until `stop` for Secrets that have changed since they were read, and tells who read them.
pub async fn follow(
    client: Client,
    references: Arc<References>,
    tell: impl Fn(&Key),
    stop: CancellationToken,
) {
    let following = async {
        let mut last = None;
        loop {
            let Some((secret, number)) = references.after(last.as_ref()) else {
                sleep(ROUND).await;
                continue;
            };
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            sleep((ROUND / number).max(LEAST)).await;
            match version(&client, &secret).await {
                Ok(version) => references
                    .outdated(&secret, &version)
                    .iter()
                    .for_each(&tell),
                // The next round asks again; what a TaskQueue needs is read by its own passes, which tell.
                Err(error) => {
                    tracing::debug!(namespace = secret.0, name = secret.1, %error, "cannot ask for a Secret's version");
                }
            }
            last = Some(secret);
        }
    };
    let _: Option<()> = stop.run_until_cancelled(following).await;
}

async fn version(
    client: &Client,
    (namespace, name): &(String, String),
) -> Result<Version, kube::Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    // Any version that the server has in its cache will do: the next round sees a newer one.
    let cached = GetParams {
        resource_version: Some("0".to_owned()),
    };
    let found = api.get_metadata_opt_with(name, &cached).await?;
    Ok(found.and_then(|found| found.metadata.resource_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    fn secret(name: &str) -> (String, String) {
        ("shop".to_owned(), name.to_owned())
    }

    fn read<const N: usize>(secrets: [(&str, Option<&str>); N]) -> BTreeMap<String, Version> {
        let owned = secrets.map(|(name, version)| (name.to_owned(), version.map(str::to_owned)));
        owned.into()
    }

    #[test]
    fn who_read_another_version_is_told_once() {
        let references = References::default();
        references.refer(&key("a"), read([("redis", Some("1"))]));
        references.refer(&key("b"), read([("redis", None), ("ca", Some("7"))]));
        let outdated = |at: &str| references.outdated(&secret("redis"), &Some(at.to_owned()));
        assert_eq!(outdated("1"), [key("b")].into());
        assert_eq!(outdated("1"), [].into());
        assert_eq!(outdated("2"), [key("a"), key("b")].into());
        assert_eq!(
            references.outdated(&secret("ca"), &Some("7".to_owned())),
            [].into()
        );
    }

    #[test]
    fn a_pass_that_names_others_and_a_task_queue_that_goes_leave_nothing_behind() {
        let references = References::default();
        references.refer(&key("a"), read([("redis", Some("1"))]));
        references.refer(&key("a"), read([("other", Some("1"))]));
        assert_eq!(references.outdated(&secret("redis"), &None), [].into());
        assert_eq!(
            references.outdated(&secret("other"), &None),
            [key("a")].into()
        );
        references.forget(&key("a"));
        assert_eq!(references.after(None), None);
    }

    #[test]
    fn every_secret_has_its_turn() {
        let references = References::default();
        references.refer(&key("a"), read([("x", None), ("y", None)]));
        references.refer(&key("b"), read([("z", None), ("y", None)]));
        let mut last = None;
        let mut turns = Vec::new();
        for _ in 0..4 {
            let (next, number) = references.after(last.as_ref()).expect("there are some");
            assert_eq!(number, 3);
            turns.push(next.1.clone());
            last = Some(next);
        }
        assert_eq!(turns, ["x", "y", "z", "x"]);
        // One that has gone meanwhile holds up nothing.
        let after = references.after(Some(&secret("xx")));
        assert_eq!(after, Some((secret("y"), 3)));
    }
}

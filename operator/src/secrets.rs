//! The Secrets that TaskQueues name, and who is to know when one of them changes.
//!
//! They are asked for one by one, under their names, and only for their version. A watch would
//! tell the same at once, but the right to watch Secrets is the right to read all of them, since
//! every watch begins with what there is; `get` alone lets nobody look for what no TaskQueue
//! names. The server answers from its cache, and a bound on the pace keeps thousands of Secrets
//! from costing more than tens. Namespaces take turns ([`rounds`]), so that thousands of one delay
//! only themselves.

mod rounds;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::GetParams};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::key::Key;
use rounds::{Next, Rounds};

/// How long nothing is asked while no TaskQueue names a Secret.
const NOTHING: Duration = Duration::from_secs(1);
/// Least time between two questions: 20 a second, so that 1,000 Secrets of one namespace take 50 s a round.
const LEAST: Duration = Duration::from_millis(50);

/// The version of a Secret; `None` when there is none.
pub type Version = Option<String>;

/// By namespace and name of the Secret: who named it, and the version that they read.
type Secrets = BTreeMap<String, BTreeMap<String, BTreeMap<Key, Version>>>;

/// What each TaskQueue read of which Secrets.
#[derive(Default)]
pub struct References(Mutex<State>);

#[derive(Default)]
struct State {
    secrets: Secrets,
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
        let secrets = state.secrets.entry(key.namespace.clone()).or_default();
        for (name, version) in read {
            let readers = secrets.entry(name).or_default();
            readers.insert(key.clone(), version);
        }
    }

    /// The TaskQueue is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().forget(key);
    }

    /// Which Secret is asked for next, and when; `None` while there is none.
    fn next(&self, rounds: &mut Rounds, now: Instant) -> Option<Next> {
        rounds.next(&self.lock().secrets, now)
    }

    /// Those who read another version than this one. Each is told once of each version.
    fn outdated(&self, (namespace, name): &(String, String), version: &Version) -> BTreeSet<Key> {
        let mut state = self.lock();
        let secrets = state.secrets.get_mut(namespace);
        let readers = secrets.and_then(|secrets| secrets.get_mut(name));
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
        let Some(secrets) = self.secrets.get_mut(&key.namespace) else {
            return;
        };
        for name in self.named.remove(key).unwrap_or_default() {
            if let Some(readers) = secrets.get_mut(&name) {
                readers.remove(key);
                if readers.is_empty() {
                    secrets.remove(&name);
                }
            }
        }
        if secrets.is_empty() {
            self.secrets.remove(&key.namespace);
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
        let mut rounds = Rounds::default();
        loop {
            let secret = match references.next(&mut rounds, Instant::now()) {
                Some(Next::Ask(secret)) => secret,
                Some(Next::Wait(until)) => {
                    sleep_until(until).await;
                    continue;
                }
                None => {
                    sleep(NOTHING).await;
                    continue;
                }
            };
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
            sleep(LEAST).await;
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
        let mut rounds = Rounds::default();
        assert_eq!(references.next(&mut rounds, Instant::now()), None);
        assert!(references.lock().named.is_empty());
    }
}

//! What a TaskQueue's Redis needs out of Secrets. Reads only.

use std::collections::{BTreeMap, btree_map::Entry};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use taskqueue_api::spec::SecretKeySelector;

use super::observe::ObserveError;
use crate::secrets::Version;

/// Bound on what is read of one key, in bytes. Pods get it as a variable, of which the system
/// takes 128 KiB.
const MOST: usize = 64 * 1024;

/// Reads keys of Secrets in one namespace, each Secret once.
pub(super) struct Reader<'a> {
    client: &'a Client,
    namespace: &'a str,
    read: BTreeMap<String, Option<Secret>>,
    digest: Sha256,
}

impl<'a> Reader<'a> {
    pub(super) fn new(client: &'a Client, namespace: &'a str) -> Self {
        Self {
            client,
            namespace,
            read: BTreeMap::new(),
            digest: Sha256::new(),
        }
    }

    /// The text under a key. `field` is the part of the spec that names it.
    pub(super) async fn text(
        &mut self,
        selector: &SecretKeySelector,
        field: &'static str,
    ) -> Result<String, ObserveError> {
        let SecretKeySelector { name, key } = selector;
        let secret = match self.read.entry(name.clone()) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(place) => {
                let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
                let found = api
                    .get_opt(name)
                    .await
                    .map_err(|source| ObserveError::Api {
                        what: "Secret",
                        name: name.clone(),
                        source,
                    })?;
                place.insert(found)
            }
        };
        let secret = secret.as_ref().ok_or_else(|| ObserveError::SecretMissing {
            namespace: self.namespace.to_owned(),
            name: name.clone(),
            field,
        })?;
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        let text = value
            .and_then(|value| std::str::from_utf8(&value.0).ok())
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| ObserveError::SecretKeyMissing {
                name: name.clone(),
                key: key.clone(),
                field,
            })?;
        if text.len() > MOST {
            return Err(ObserveError::SecretTooLong {
                name: name.clone(),
                key: key.clone(),
                length: text.len(),
            });
        }
        note(&mut self.digest, secret, text.as_bytes());
        Ok(text.to_owned())
    }

    /// The Secrets that were asked for, with their versions.
    pub(super) fn versions(&self) -> BTreeMap<String, Version> {
        let read = self.read.iter();
        read.map(|(name, secret)| {
            let version = secret
                .as_ref()
                .and_then(|secret| secret.metadata.resource_version.clone());
            (name.clone(), version)
        })
        .collect()
    }

    /// A mark of all that was read, if anything was.
    pub(super) fn mark(self) -> Option<String> {
        (!self.read.is_empty()).then(|| short(self.digest))
    }
}

/// A mark of all that we wrote into a Secret of our own.
pub(super) fn mark(stored: &Secret, written: &Secret) -> String {
    let mut digest = Sha256::new();
    for value in written.data.iter().flat_map(BTreeMap::values) {
        note(&mut digest, stored, &value.0);
    }
    short(digest)
}

/// Pods bear the mark, which many may read, so nobody must be able to try passwords against it.
/// The uid is the salt: only who may read the Secret can see it.
fn note(digest: &mut Sha256, secret: &Secret, value: &[u8]) {
    let uid = secret.metadata.uid.as_deref().unwrap_or_default();
    for part in [uid.as_bytes(), value] {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
}

fn short(digest: Sha256) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in digest.finalize().iter().take(8) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

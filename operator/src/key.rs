//! Which TaskQueue: namespace and name, as a key of maps and a field of log lines.

use std::fmt;

use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};

/// Namespace and name of a TaskQueue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of a resource, or of the TaskQueue that a child belongs to when they share names.
    pub fn of(resource: &impl Resource) -> Self {
        Self {
            namespace: resource.namespace().unwrap_or_default(),
            name: resource.name_any(),
        }
    }

    /// The reference under which a store holds the object.
    pub fn object_ref<K: Resource<DynamicType = ()>>(&self) -> ObjectRef<K> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

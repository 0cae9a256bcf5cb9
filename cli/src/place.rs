//! From what was typed to the queue that is meant: its full name, and the Redis it is in.

use taskqueue_queue::{Client, Endpoint, Queue, QueueName};

use crate::args::Place;
use crate::exit::Failure;

const NO_REDIS: &str = "\
where is Redis? Give --redis URL or set TASKQUEUE_REDIS_URL.
A Redis inside a cluster is reached through a forwarded port:
  kubectl port-forward service/taskqueue-redis 6379 &
  export TASKQUEUE_REDIS_URL=redis://:PASSWORD@127.0.0.1:6379
(the URL with its password is in the Secret that the notes of helm install name)";

/// The namespace where none was typed.
const DEFAULT: &str = "default";

/// A connection, and the namespace of queues that are named without one.
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
}

impl Cluster {
    pub(crate) async fn connect(place: &Place) -> Result<Self, Failure> {
        let url = place.redis.as_deref().filter(|url| !url.is_empty());
        let url = url.ok_or_else(|| Failure::Usage(NO_REDIS.to_owned()))?;
        let endpoint = Endpoint::parse(url).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Self {
            client: Client::connect(&endpoint).await?,
            namespace: namespace(place).to_owned(),
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The queue that was typed.
    pub(crate) fn queue(&self, typed: &str) -> Result<Queue, Failure> {
        Ok(self.client.queue(in_namespace(&self.namespace, typed)?))
    }
}

/// The namespace of queues that are named without one.
fn namespace(place: &Place) -> &str {
    place.namespace.as_deref().unwrap_or(DEFAULT)
}

/// The name of the queue that was typed, without asking anybody.
pub(crate) fn full_name(place: &Place, typed: &str) -> Result<QueueName, Failure> {
    in_namespace(namespace(place), typed)
}

/// `shop/orders` as it stands, `orders` in the namespace.
fn in_namespace(namespace: &str, typed: &str) -> Result<QueueName, Failure> {
    let name = if typed.contains('/') {
        typed.parse()
    } else {
        QueueName::new(namespace, typed)
    };
    name.map_err(|error| Failure::Usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str, typed: &str) -> String {
        in_namespace(namespace, typed)
            .map_or_else(|failure| failure.to_string(), |name| name.to_string())
    }

    #[test]
    fn a_bare_name_is_in_the_namespace_and_a_full_one_says_its_own() {
        assert_eq!(name("default", "orders"), "default/orders");
        assert_eq!(name("default", "shop/orders"), "shop/orders");
    }

    #[test]
    fn a_bad_part_is_named() {
        assert!(name("default", "Orders").contains("queue name \"Orders\""));
        assert!(name("Default", "orders").contains("namespace \"Default\""));
    }
}

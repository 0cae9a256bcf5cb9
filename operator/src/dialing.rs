//! What connections to Redis may cost the operator, which serves the Redis of many tenants: bounds for
//! each namespace beside those for all, so that what one of them names harms no other.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use taskqueue_queue::{Bounds, MAX_PAYLOAD_BYTES};
use tokio::sync::Semaphore;

use crate::{allowed::AllowedRedis, endpoint::EndpointUrl};

/// Memory that the answers on one connection may take at a time: that of the largest task, which is read
/// when it expires, and some more.
const LARGEST_ANSWER: usize = MAX_PAYLOAD_BYTES + 2 * 1024 * 1024;
/// Large answers that are read at the same time, and for one namespace: each takes up to three times
/// that bound while it comes in.
const LARGE: usize = 2;
const LARGE_EACH: usize = 1;
/// Connections that are made at the same time, and for one namespace. Each may take a thread of its own
/// for as long as a name is looked up, of which there are 512.
const DIALS: usize = 64;
const DIALS_EACH: usize = 8;
/// Connections that stand for one namespace: two for each Redis, one more with sources that push, and one
/// for each node of a cluster.
const STANDING_EACH: usize = 128;

/// The bounds of all connections.
pub struct Dialing {
    default_redis: Option<EndpointUrl>,
    allowed: Arc<AllowedRedis>,
    all: Shares,
    namespaces: Mutex<HashMap<String, Shares>>,
}

/// What is shared out, to all or to one namespace.
#[derive(Clone)]
struct Shares {
    large: Arc<Semaphore>,
    dials: Arc<Semaphore>,
    standing: Arc<Semaphore>,
}

impl Shares {
    fn new(large: usize, dials: usize, standing: usize) -> Self {
        let share = |count| Arc::new(Semaphore::new(count));
        Self {
            large: share(large),
            dials: share(dials),
            standing: share(standing),
        }
    }

    /// Whether anyone has a part of them.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.standing) > 1
    }
}

impl Dialing {
    /// Bounds for the Redis of TaskQueues. The default one is the administrator's, and may be anywhere.
    pub fn new(default_redis: Option<EndpointUrl>, allowed: AllowedRedis) -> Self {
        Self {
            default_redis,
            allowed: Arc::new(allowed),
            all: Shares::new(LARGE, DIALS, 0),
            namespaces: Mutex::default(),
        }
    }

    /// Whether this is the Redis that the operator was installed with.
    pub fn is_default(&self, url: &EndpointUrl) -> bool {
        self.default_redis.as_ref() == Some(url)
    }

    /// The bounds of connections to a Redis that a TaskQueue of this namespace names.
    pub fn bounds(&self, url: &EndpointUrl, namespace: &str) -> Bounds {
        if self.is_default(url) {
            return Bounds {
                largest_answer: Some(LARGEST_ANSWER),
                ..Bounds::default()
            };
        }
        let own = self.shares_of(namespace);
        let allowed = Arc::clone(&self.allowed);
        Bounds {
            largest_answer: Some(LARGEST_ANSWER),
            large: vec![own.large, Arc::clone(&self.all.large)],
            dialing: vec![own.dials, Arc::clone(&self.all.dials)],
            standing: Some(own.standing),
            allows: Some(Arc::new(move |host: &str, address: IpAddr| {
                allowed.check(host, address)
            })),
        }
    }

    fn shares_of(&self, namespace: &str) -> Shares {
        let namespaces = self.namespaces.lock();
        let mut namespaces = namespaces.unwrap_or_else(PoisonError::into_inner);
        namespaces.retain(|_, shares| shares.is_used());
        let shares = namespaces
            .entry(namespace.to_owned())
            .or_insert_with(|| Shares::new(LARGE_EACH, DIALS_EACH, STANDING_EACH));
        shares.clone()
    }
}

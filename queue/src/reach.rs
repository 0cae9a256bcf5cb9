//! Connecting to the host of an address: its name looked up, each place that it names looked at, and
//! all of it in turn with others, within the [`Bounds`] of the client.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OwnedSemaphorePermit;

use crate::bounds::{Bounds, permits};
use crate::dial::{Address, Undialed};

/// A connection, and what it holds of the client's bounds for as long as it stands.
pub(crate) struct Reached {
    pub(crate) stream: TcpStream,
    pub(crate) standing: Option<OwnedSemaphorePermit>,
}

/// Connects. Takes as long as the system lets it.
pub(crate) async fn reach(address: &Address, bounds: &Bounds) -> Result<Reached, Undialed> {
    let standing = match &bounds.standing {
        Some(places) => Some(place(places)?),
        None => None,
    };
    let (found, _turns) = look_up(address, bounds).await;
    let mut failure = None;
    for place in found.map_err(Undialed::Io)? {
        // Where it leads is known only now: a name may stand for any address.
        if let Some(allows) = &bounds.allows
            && let Err(reason) = allows(&address.host, place.ip())
        {
            failure = Some(Undialed::NotAllowed(reason));
            continue;
        }
        match TcpStream::connect(place).await {
            Ok(stream) => return Ok(Reached { stream, standing }),
            Err(fault) => failure = Some(Undialed::Io(fault)),
        }
    }
    let no_place = || Undialed::Io(io::Error::other("the name stands for no address"));
    Err(failure.unwrap_or_else(no_place))
}

fn place(
    places: &std::sync::Arc<tokio::sync::Semaphore>,
) -> Result<OwnedSemaphorePermit, Undialed> {
    let place = std::sync::Arc::clone(places).try_acquire_owned();
    place.map_err(|_| {
        let reason = "too many connections to Redis stand already for the same tenant: use fewer Redis, \
                      or one with fewer nodes";
        Undialed::NotAllowed(reason.to_owned())
    })
}

/// Looks a name up when it is its turn. The turn is kept until the caller lets go of it, or, when the
/// caller waits no more, until the lookup has ended: its thread cannot be stopped, and threads are what
/// must not run out.
async fn look_up(
    address: &Address,
    bounds: &Bounds,
) -> (io::Result<Vec<SocketAddr>>, Vec<OwnedSemaphorePermit>) {
    let turns = permits(bounds.dialing.clone()).await;
    let name = (address.host.clone(), address.port);
    let looking = tokio::spawn(async move {
        let found = lookup_host(name).await;
        (found.map(Iterator::collect), turns)
    });
    match looking.await {
        Ok(looked) => looked,
        Err(ended) => (Err(io::Error::other(ended)), Vec::new()),
    }
}

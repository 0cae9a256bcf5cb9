//! Asking sentinels where the primary is.

use std::cmp::Reverse;
use std::time::Duration;

use futures::StreamExt;
use redis::Value;

use crate::dial::{Address, Way};
use crate::fault::Faults;
use crate::value::read;
use crate::{Endpoint, Error, diagnose};

/// Longest wait for one sentinel.
const PATIENCE: Duration = Duration::from_secs(1);
/// Sentinels that are asked at the same time.
const AT_ONCE: usize = 4;

/// Where the primary of that name may be: the address that most sentinels name, then the others.
/// Asks no longer than until more than half of them agree, so one that is frozen, or was cut off
/// during a failover, does no harm.
pub(crate) async fn find(
    endpoint: &Endpoint,
    primary: &str,
    faults: &Faults,
) -> Result<Vec<Address>, Error> {
    let sentinels = endpoint.hosts();
    let asked: Vec<_> = sentinels
        .iter()
        .map(|sentinel| ask(sentinel, endpoint, primary, faults.at(sentinel)))
        .collect();
    let mut asked = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
    let mut votes: Vec<(Address, usize)> = Vec::new();
    let mut failure: Option<Error> = None;
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(address) => {
                let place = votes.iter().position(|(named, _)| *named == address);
                let place = place.unwrap_or_else(|| {
                    votes.push((address, 0));
                    votes.len() - 1
                });
                votes[place].1 += 1;
                if votes[place].1 * 2 > sentinels.len() {
                    break;
                }
            }
            // A fault that waiting does not heal says more than one that it does.
            Err(error) if failure.as_ref().is_none_or(Error::is_transient) => failure = Some(error),
            Err(_) => {}
        }
    }
    if votes.is_empty() {
        return Err(
            failure.unwrap_or_else(|| faults.unreachable("no sentinel answered".to_owned()))
        );
    }
    votes.sort_by_key(|(_, count)| Reverse(*count));
    Ok(votes.into_iter().map(|(address, _)| address).collect())
}

async fn ask(
    sentinel: &Address,
    endpoint: &Endpoint,
    primary: &str,
    faults: Faults,
) -> Result<Address, Error> {
    let way = Way {
        address: sentinel,
        tls: endpoint.tls(),
        login: endpoint.sentinel_login(),
        database: 0,
        bounds: endpoint.bounds(),
        faults: &faults,
    };
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(primary);
    let questions = [(command, "SENTINEL")];
    let mut opened = diagnose::open(&way, &questions, PATIENCE, PATIENCE).await?;
    match opened.answers.pop() {
        Some(Value::Nil) | None => {
            Err(faults.wrong_server(format!("this sentinel knows no primary named {primary:?}")))
        }
        Some(value) => {
            let (host, port) =
                read(value).map_err(|fault| faults.script("SENTINEL", fault.to_string()))?;
            Ok(Address { host, port })
        }
    }
}

//! Making a connection in bounded time, and finding out, after a failed attempt, whether the two
//! sides disagree about TLS. The server itself does not say: it hangs up, or waits for more.

use std::io;
use std::time::Duration;

use redis::Cmd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Error;
use crate::bounds::Bounds;
use crate::dial::{Address, Opened, Undialed, Way, dial};
use crate::fault::{speaks_tls, wants_certificate};
use crate::reach::reach;
use crate::tls::Tls;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Connects and asks `questions` within `patience`; each later call may take `timeout`. Looks at the
/// server again where the failure itself says little.
pub(crate) async fn open(
    way: &Way<'_>,
    questions: &[(Cmd, &'static str)],
    timeout: Duration,
    patience: Duration,
) -> Result<Opened, Error> {
    let opening = tokio::time::timeout(patience, way.open(questions, timeout));
    let error = match opening.await {
        Ok(Ok(opened)) => return Ok(opened),
        Ok(Err(error)) => error,
        Err(_) => way.faults.timed_out_after(patience),
    };
    let unclear = matches!(
        error,
        Error::Unreachable { .. } | Error::Timeout { .. } | Error::TlsFailed { .. }
    );
    if unclear && let Some(hint) = mismatch(way).await {
        return Err(way.faults.tls_failed(hint.to_owned()));
    }
    Err(error)
}

/// What to change, if the server speaks what the URL does not.
async fn mismatch(way: &Way<'_>) -> Option<&'static str> {
    let Way {
        address,
        tls,
        bounds,
        ..
    } = *way;
    let Some(tls) = tls else {
        let speaks_tls = tokio::time::timeout(PATIENCE, answers_tls(address, bounds)).await;
        return speaks_tls
            .is_ok_and(|tls| tls)
            .then_some("the server speaks TLS; write rediss:// instead of redis://");
    };
    let (answer, parting) = tokio::join!(
        tokio::time::timeout(PATIENCE, first_byte_of_pong(address, bounds)),
        tokio::time::timeout(PATIENCE, parting_word(address, tls, bounds)),
    );
    // +PONG, or a refusal.
    if matches!(answer, Ok(Some(b'+' | b'-'))) {
        return Some("the server speaks plain text; write redis:// instead of rediss://");
    }
    parting
        .is_ok_and(|fault| fault.is_some_and(|fault| wants_certificate(&fault)))
        .then_some("the server wants a certificate that it trusts; give one with_client_cert")
}

/// Whether a handshake gets as far as a certificate, trusted or not.
async fn answers_tls(address: &Address, bounds: &Bounds) -> bool {
    match dial(address, Some(&Tls::distrustful()), bounds).await {
        Ok(_) => true,
        Err(Undialed::Io(fault)) => speaks_tls(&fault),
        Err(Undialed::Tls(_) | Undialed::NotAllowed(_)) => false,
    }
}

async fn first_byte_of_pong(address: &Address, bounds: &Bounds) -> Option<u8> {
    let mut reached = reach(address, bounds).await.ok()?;
    reached.stream.write_all(b"PING\r\n").await.ok()?;
    reached.stream.read_u8().await.ok()
}

/// Why the server ends a connection on which nothing was said yet.
async fn parting_word(address: &Address, tls: &Tls, bounds: &Bounds) -> Option<io::Error> {
    match dial(address, Some(tls), bounds).await {
        Ok(mut dialed) => dialed.stream.read_u8().await.err(),
        Err(Undialed::Io(fault)) => Some(fault),
        Err(Undialed::Tls(_) | Undialed::NotAllowed(_)) => None,
    }
}

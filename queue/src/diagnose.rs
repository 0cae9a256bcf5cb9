//! Finding out, after a failed attempt to connect, whether the two sides disagree about TLS. The
//! server itself does not say: it hangs up, or waits for more.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Endpoint;
use crate::dial::{Address, Undialed, dial};
use crate::fault::{speaks_tls, wants_certificate};
use crate::tls::Tls;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// What to change, if the server speaks what the URL does not.
pub(crate) async fn mismatch(address: &Address, endpoint: &Endpoint) -> Option<&'static str> {
    let Some(tls) = endpoint.tls() else {
        let speaks_tls = tokio::time::timeout(PATIENCE, answers_tls(address)).await;
        return speaks_tls
            .is_ok_and(|tls| tls)
            .then_some("the server speaks TLS; write rediss:// instead of redis://");
    };
    let (answer, parting) = tokio::join!(
        tokio::time::timeout(PATIENCE, first_byte_of_pong(address)),
        tokio::time::timeout(PATIENCE, parting_word(address, tls)),
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
async fn answers_tls(address: &Address) -> bool {
    match dial(address, Some(&Tls::distrustful())).await {
        Ok(_) => true,
        Err(Undialed::Io(fault)) => speaks_tls(&fault),
        Err(Undialed::Tls(_)) => false,
    }
}

async fn first_byte_of_pong(address: &Address) -> Option<u8> {
    let mut stream = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .ok()?;
    stream.write_all(b"PING\r\n").await.ok()?;
    stream.read_u8().await.ok()
}

/// Why the server ends a connection on which nothing was said yet.
async fn parting_word(address: &Address, tls: &Tls) -> Option<io::Error> {
    match dial(address, Some(tls)).await {
        Ok(mut stream) => stream.read_u8().await.err(),
        Err(Undialed::Io(fault)) => Some(fault),
        Err(Undialed::Tls(_)) => None,
    }
}

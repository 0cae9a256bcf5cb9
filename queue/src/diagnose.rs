//! Finding out, after a failed attempt to connect, whether one side speaks TLS and the other plain
//! text. The server itself does not say: it hangs up, or waits for more.

use std::time::Duration;

use redis::{AsyncConnectionConfig, ConnectionAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Endpoint;
use crate::fault::is_tls_refusal;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// What to change in the URL, if the server speaks what the URL does not.
pub(crate) async fn mismatch(endpoint: &Endpoint) -> Option<&'static str> {
    let info = endpoint.client().get_connection_info();
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => {
            let speaks_tls = tokio::time::timeout(PATIENCE, answers_tls(host, *port)).await;
            speaks_tls
                .is_ok_and(|tls| tls)
                .then_some("the server speaks TLS; write rediss:// instead of redis://")
        }
        ConnectionAddr::TcpTls { host, port, .. } => {
            let answer = tokio::time::timeout(PATIENCE, first_byte_of_pong(host, *port)).await;
            // +PONG, or a refusal.
            matches!(answer, Ok(Some(b'+' | b'-')))
                .then_some("the server speaks plain text; write redis:// instead of rediss://")
        }
        _ => None,
    }
}

/// Whether a handshake gets as far as a certificate, trusted or not.
async fn answers_tls(host: &str, port: u16) -> bool {
    let address = ConnectionAddr::TcpTls {
        host: host.to_owned(),
        port,
        insecure: false,
        tls_params: None,
    };
    let Ok(client) = redis::Client::open(address) else {
        return false;
    };
    let config = AsyncConnectionConfig::new();
    match client
        .get_multiplexed_async_connection_with_config(&config)
        .await
    {
        Ok(_) => true,
        Err(fault) => is_tls_refusal(&fault),
    }
}

async fn first_byte_of_pong(host: &str, port: u16) -> Option<u8> {
    let mut stream = TcpStream::connect((host, port)).await.ok()?;
    stream.write_all(b"PING\r\n").await.ok()?;
    stream.read_u8().await.ok()
}

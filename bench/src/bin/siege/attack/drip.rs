//! Answers one byte a second, of a list that seems to come to an end at last.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::field::{Field, endpoints, listen, ticks};

pub(super) async fn begin(field: &Field) {
    let port = listen(drip).await;
    field.queues("drip", endpoints(port, 50)).await;
}

async fn drip(mut stream: TcpStream) {
    let mut tick = ticks(Duration::from_secs(1));
    for byte in b"*9\r\n$5\r\n"
        .iter()
        .chain(b"abcdefghijklmnopqrstuvwxyz".iter().cycle())
    {
        tick.tick().await;
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
    }
}

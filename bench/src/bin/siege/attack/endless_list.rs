//! Answers anything with one list of two thousand million numbers, as fast as it is read.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::field::{Field, endpoints, listen};

pub(super) async fn begin(field: &Field) {
    let port = listen(pour).await;
    field.queues("endless-list", endpoints(port, 20)).await;
}

async fn pour(mut stream: TcpStream) {
    let mut asked = [0; 1024];
    if stream.read(&mut asked).await.is_err() || stream.write_all(b"*2147483647\r\n").await.is_err()
    {
        return;
    }
    let numbers = b":1\r\n".repeat(16_384);
    for _ in 0..131_072 {
        if stream.write_all(&numbers).await.is_err() {
            return;
        }
    }
}

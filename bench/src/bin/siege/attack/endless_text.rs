//! Answers anything with one string of a gigabyte, as fast as it is read.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::field::{Field, endpoints, listen};

pub(super) async fn begin(field: &Field) {
    let port = listen(pour).await;
    field.queues("endless-text", endpoints(port, 20)).await;
}

async fn pour(mut stream: TcpStream) {
    let mut asked = [0; 1024];
    if stream.read(&mut asked).await.is_err() || stream.write_all(b"$1073741824\r\n").await.is_err()
    {
        return;
    }
    let text = vec![b'x'; 65_536];
    for _ in 0..16_384 {
        if stream.write_all(&text).await.is_err() {
            return;
        }
    }
}

//! TLS: it works with a private CA, and each way of getting it wrong is named.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bench;

use std::path::Path;
use std::process::Command;

use taskqueue_queue::testing::RedisServer;
use taskqueue_queue::{Client, Endpoint, Error};

use bench::{name, task};

/// A CA and a server certificate for localhost, made by openssl.
fn certificates(directory: &Path) {
    let openssl = |words: &str| {
        let status = Command::new("openssl")
            .args(words.split(' '))
            .current_dir(directory)
            .output();
        let output = status.expect("openssl cannot be run: install the Debian package openssl");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=test-ca"
    ));
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN=localhost"
    ));
    std::fs::write(
        directory.join("ext"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
    )
    .unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile ext",
    );
}

async fn server(directory: &Path) -> (RedisServer, u16) {
    let path = |file: &str| directory.join(file).display().to_string();
    let port = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let redis = RedisServer::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path("server.crt"),
        "--tls-key-file",
        &path("server.key"),
        "--tls-ca-cert-file",
        &path("ca.crt"),
        "--tls-auth-clients",
        "no",
    ])
    .await;
    (redis, port)
}

#[tokio::test]
async fn tls_works_with_a_private_ca_and_each_mismatch_is_named() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let (redis, tls_port) = server(directory.path()).await;
    let ca = std::fs::read(directory.path().join("ca.crt")).unwrap();
    let endpoint =
        |scheme: &str, port: u16| Endpoint::parse(&format!("{scheme}://127.0.0.1:{port}")).unwrap();

    let trusted = endpoint("rediss", tls_port).with_ca(ca.clone()).unwrap();
    let client = Client::connect(&trusted).await.unwrap();
    client.queue(name("jobs")).enqueue(task(1)).await.unwrap();

    let untrusted = Client::connect(&endpoint("rediss", tls_port))
        .await
        .unwrap_err();
    let tls_to_plain = endpoint("rediss", redis.port()).with_ca(ca).unwrap();
    let tls_to_plain = Client::connect(&tls_to_plain).await.unwrap_err();
    let plain_to_tls = Client::connect(&endpoint("redis", tls_port))
        .await
        .unwrap_err();
    for (fault, words) in [
        (untrusted, "UnknownIssuer"),
        (tls_to_plain, "write redis:// instead of rediss://"),
        (plain_to_tls, "write rediss:// instead of redis://"),
    ] {
        assert!(
            matches!(fault, Error::TlsFailed { .. }) && !fault.is_transient(),
            "{fault:?}"
        );
        assert!(fault.to_string().contains(words), "{fault}");
    }
}

#[tokio::test]
async fn a_ca_that_is_no_certificate_or_for_a_plain_url_is_refused() {
    let plain = Endpoint::parse("redis://127.0.0.1").unwrap().with_ca("x");
    assert!(matches!(plain, Err(Error::Invalid { .. })), "{plain:?}");
}

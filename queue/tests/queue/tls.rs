//! TLS: it works with a private CA and with certificates on both sides, and each way of getting it
//! wrong is named.

use std::process::Command;

use taskqueue_queue::testing::{Cluster, RedisServer, Sentinels};
use taskqueue_queue::{Announcement, Client, Endpoint, Error};
use tempfile::TempDir;

use crate::testbed::{name, task};

/// A CA, certificates of it for localhost and for a client, and a CA that is none of ours; made by
/// openssl.
struct Certificates(TempDir);

impl Certificates {
    fn make() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for ca in ["ca", "other"] {
            made.openssl(&format!(
                "req -x509 {key} -keyout {ca}.key -out {ca}.crt -days 2 -subj /CN={ca}"
            ));
        }
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
        std::fs::write(made.0.path().join("ext"), names).unwrap();
        for (who, ca) in [("server", "ca"), ("client", "ca"), ("stranger", "other")] {
            made.openssl(&format!(
                "req {key} -keyout {who}.key -out {who}.csr -subj /CN={who}"
            ));
            made.openssl(&format!(
                "x509 -req -in {who}.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial \
                 -out {who}.crt -days 2 -extfile ext"
            ));
        }
        made
    }

    fn openssl(&self, words: &str) {
        let run = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(self.0.path())
            .output();
        let output = run.expect("openssl cannot be run: install the Debian package openssl");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn path(&self, file: &str) -> String {
        self.0.path().join(file).display().to_string()
    }

    fn pem(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    /// The arguments of a server that shows its certificate, and asks clients for theirs or not.
    fn arguments(&self, clients: &str) -> Vec<String> {
        [
            "--tls-cert-file",
            &self.path("server.crt"),
            "--tls-key-file",
            &self.path("server.key"),
            "--tls-ca-cert-file",
            &self.path("ca.crt"),
            "--tls-auth-clients",
            clients,
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// A server with a port for TLS beside its own.
async fn server(certificates: &Certificates, clients: &str) -> (RedisServer, u16) {
    let arguments = certificates.arguments(clients);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let server = RedisServer::start_with(&arguments).await;
    let port = server.safest_port();
    (server, port)
}

fn endpoint(scheme: &str, port: u16) -> Endpoint {
    Endpoint::parse(&format!("{scheme}://127.0.0.1:{port}")).unwrap()
}

async fn refusal(endpoint: &Endpoint) -> Error {
    Client::connect(endpoint).await.unwrap_err()
}

fn assert_says(fault: &Error, words: &str) {
    assert!(
        matches!(fault, Error::TlsFailed { .. }) && !fault.is_transient(),
        "{fault:?}"
    );
    assert!(fault.to_string().contains(words), "{fault}");
}

#[tokio::test]
async fn tls_works_with_a_private_ca_and_each_mismatch_is_named() {
    let certificates = Certificates::make();
    let (redis, tls_port) = server(&certificates, "no").await;
    let ca = certificates.pem("ca.crt");

    let trusted = endpoint("rediss", tls_port).with_ca(&ca).unwrap();
    let client = Client::connect(&trusted).await.unwrap();
    client.queue(name("jobs")).enqueue(task(1)).await.unwrap();
    let mut announcements = client.announcements();
    assert_eq!(announcements.next().await, Announcement::Resync);

    let other = certificates.pem("other.crt");
    let untrusted = endpoint("rediss", tls_port).with_ca(other).unwrap();
    assert_says(&refusal(&untrusted).await, "UnknownIssuer");
    let tls_to_plain = endpoint("rediss", redis.port()).with_ca(&ca).unwrap();
    assert_says(
        &refusal(&tls_to_plain).await,
        "write redis:// instead of rediss://",
    );
    let plain_to_tls = endpoint("redis", tls_port);
    assert_says(
        &refusal(&plain_to_tls).await,
        "write rediss:// instead of redis://",
    );
}

#[tokio::test]
async fn a_server_that_asks_for_certificates_lets_in_who_shows_one_that_it_trusts() {
    let certificates = Certificates::make();
    let (_redis, port) = server(&certificates, "yes").await;
    let endpoint = endpoint("rediss", port)
        .with_ca(certificates.pem("ca.crt"))
        .unwrap();
    let showing = |who: &str| {
        let [cert, key] = ["crt", "key"].map(|kind| certificates.pem(&format!("{who}.{kind}")));
        endpoint.clone().with_client_cert(cert, key).unwrap()
    };
    let client = Client::connect(&showing("client")).await.unwrap();
    client.queue(name("jobs")).enqueue(task(1)).await.unwrap();

    assert_says(&refusal(&endpoint).await, "with_client_cert");
    assert_says(&refusal(&showing("stranger")).await, "that it trusts");
}

#[tokio::test]
async fn sentinels_and_clusters_are_spoken_to_over_tls_as_well() {
    let certificates = Certificates::make();
    let ca = certificates.pem("ca.crt");
    let mut arguments = certificates.arguments("no");
    arguments.extend(["--tls-replication", "yes", "--tls-cluster", "yes"].map(str::to_owned));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();

    let set = Sentinels::start_with(&arguments).await;
    let plain = format!(
        "redis+sentinel://127.0.0.1:{}/main",
        set.sentinels[0].safest_port()
    );
    let plain = refusal(&Endpoint::parse(&plain).unwrap()).await;
    assert_says(&plain, "write rediss:// instead of redis://");
    let endpoint = set.endpoint().with_ca(&ca).unwrap();
    assert!(endpoint.is_tls());
    let client = Client::connect(&endpoint).await.unwrap();
    client.queue(name("jobs")).enqueue(task(1)).await.unwrap();

    let cluster = Cluster::start_with(0, &arguments).await;
    let plain = format!(
        "redis+cluster://127.0.0.1:{}",
        cluster.nodes[0].safest_port()
    );
    let plain = refusal(&Endpoint::parse(&plain).unwrap()).await;
    assert_says(&plain, "write rediss:// instead of redis://");
    let endpoint = cluster.endpoint().with_ca(&ca).unwrap();
    assert!(endpoint.is_tls());
    let client = Client::connect(&endpoint).await.unwrap();
    let queues = [0, 1, 2].map(|place| client.queue(cluster.queue_on(place)));
    for queue in &queues {
        queue.enqueue(task(1)).await.unwrap();
    }
    for figures in client.snapshot(&queues).await {
        assert_eq!(figures.unwrap().backlog(), 1);
    }
    let mut announcements = client.announcements();
    assert_eq!(announcements.next().await, Announcement::Resync);
}

#[test]
fn what_is_no_certificate_or_not_of_its_key_or_for_a_plain_url_is_refused() {
    let certificates = Certificates::make();
    let [client, key, strange_key] =
        ["client.crt", "client.key", "stranger.key"].map(|file| certificates.pem(file));
    let tls = || Endpoint::parse("rediss://127.0.0.1").unwrap();
    for (refused, field, words) in [
        (tls().with_ca("x"), "ca", "BEGIN CERTIFICATE"),
        (tls().with_ca(&key), "ca", "BEGIN CERTIFICATE"),
        (
            tls().with_client_cert("x", &key),
            "client certificate",
            "BEGIN CERTIFICATE",
        ),
        (
            tls().with_client_cert(&client, &client),
            "client certificate",
            "key",
        ),
        (
            tls().with_client_cert(&client, &strange_key),
            "client certificate",
            "key",
        ),
        (
            Endpoint::parse("redis://h").unwrap().with_ca(&client),
            "ca",
            "rediss",
        ),
    ] {
        let fault = refused.unwrap_err();
        let Error::Invalid { field: at, .. } = &fault else {
            panic!("{fault:?}");
        };
        assert_eq!(*at, field);
        assert!(fault.to_string().contains(words), "{fault}");
        assert!(!fault.to_string().contains("PRIVATE"), "{fault}");
    }
}

/// The system's certificates are looked for in what `SSL_CERT_FILE` names, so this is run once more
/// by the test below, which sets it.
#[tokio::test]
#[ignore = "run by a_machine_without_certificates_fails_at_once_and_says_what_to_install"]
async fn without_certificates() {
    let certificates = Certificates::make();
    let (_redis, port) = server(&certificates, "no").await;
    assert_says(&refusal(&endpoint("rediss", port)).await, "ca-certificates");
    // One's own CA does not need the system's.
    let ca = certificates.pem("ca.crt");
    let trusting = endpoint("rediss", port).with_ca(ca).unwrap();
    Client::connect(&trusting).await.unwrap();
}

#[test]
fn a_machine_without_certificates_fails_at_once_and_says_what_to_install() {
    let empty = tempfile::tempdir().unwrap();
    for file in ["missing", "empty"] {
        std::fs::write(empty.path().join("empty"), "").unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tls::without_certificates", "--ignored"])
            .env("SSL_CERT_FILE", empty.path().join(file))
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{file}: {said}"
        );
    }
}

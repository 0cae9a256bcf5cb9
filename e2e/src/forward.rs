//! How this machine reaches a Service of the cluster.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::kubectl;

/// A way to a Service; a forwarded port is closed when this is dropped.
pub(crate) struct Route {
    /// `host:port`.
    pub(crate) address: String,
    forward: Option<Child>,
}

impl Route {
    /// Opens a way to a Service. On our own cluster service addresses are reachable from here;
    /// on another one a port is forwarded.
    pub(crate) fn to(namespace: &str, service: &str, port: u16) -> Self {
        if std::env::var("CLUSTER").is_ok_and(|cluster| cluster == "current") {
            return Self::forwarded(namespace, service, port);
        }
        let path = "jsonpath={.spec.clusterIP}";
        let address = kubectl(
            &["get", "service", "-n", namespace, service, "-o", path],
            "",
        );
        Self {
            address: format!("{address}:{port}"),
            forward: None,
        }
    }

    fn forwarded(namespace: &str, service: &str, port: u16) -> Self {
        let mut child = Command::new("kubectl")
            .args(["port-forward", "-n", namespace])
            .args([&format!("service/{service}"), &format!(":{port}")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl can be started");
        let output = child.stdout.take().expect("standard output is piped");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("kubectl port-forward says where it listens");
        let address = line
            .split_whitespace()
            .find(|word| word.starts_with("127.0.0.1:"))
            .unwrap_or_else(|| panic!("kubectl port-forward said {line:?}"))
            .to_owned();
        Self {
            address,
            forward: Some(child),
        }
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        if let Some(child) = &mut self.forward {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

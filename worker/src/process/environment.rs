//! Which of the worker's variables a command does not get. Pure.

use std::ffi::OsStr;

/// Variables with this prefix configure the worker, with secrets among them.
pub(super) const OWN: &str = "TASKQUEUE_";
/// Variables with this prefix say how spans reach a collector: for all signals, or as `TRACES_`, `METRICS_` and `LOGS_` for one.
const EXPORTER: &str = "OTEL_EXPORTER_OTLP_";
/// What of them is a secret or leads to one: a token in the headers, the key of a client certificate, and the certificate,
/// which is of no use without its key.
const SECRETS: [&str; 3] = ["HEADERS", "CLIENT_KEY", "CLIENT_CERTIFICATE"];

/// Whether a variable is the worker's alone. Everything else is passed on: a command may send spans of its own, and finds
/// the collector where the worker does.
pub(super) fn is_kept_back(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let secret = |of: &str| {
        SECRETS.iter().any(|secret| {
            let signal = of.strip_suffix(secret);
            signal.is_some_and(|signal| signal.is_empty() || signal.ends_with('_'))
        })
    };
    name.starts_with(OWN) || name.strip_prefix(EXPORTER).is_some_and(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_configures_the_worker_and_what_it_shows_to_a_collector_is_kept_back() {
        for name in [
            "TASKQUEUE_REDIS_URL",
            "TASKQUEUE_DRAIN_TOKEN",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        ] {
            assert!(is_kept_back(OsStr::new(name)), "{name}");
        }
        for name in [
            "PATH",
            "TASK_ID",
            "OTEL_SERVICE_NAME",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            // The authorities to trust, which are no secret.
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "MY_OTEL_EXPORTER_OTLP_HEADERS",
        ] {
            assert!(!is_kept_back(OsStr::new(name)), "{name}");
        }
    }
}

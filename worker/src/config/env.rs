//! Parsing of a [`WorkerConfig`] out of environment variables, and the errors that name the variable, the value and the
//! fix. Defaults are applied here, once.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::SignedDuration;
use taskqueue_queue::{Endpoint, QueueName};
use thiserror::Error;

use super::{
    CONCURRENCY_VARIABLE, Concurrency, DEFAULT_DRAIN_TIMEOUT, DEFAULT_HTTP_ADDRESS,
    DRAIN_TIMEOUT_VARIABLE, DRAIN_TOKEN_VARIABLE, DrainToken, HANDLER_VARIABLE,
    HTTP_ADDRESS_VARIABLE, HandlerConfig, LOG_FORMAT_VARIABLE, LogFormat, MAX_DRAIN_TIMEOUT,
    NODE_NAME_VARIABLE, POD_NAME_VARIABLE, QUEUE_VARIABLE, REDIS_CA_VARIABLE, REDIS_CERT_VARIABLE,
    REDIS_KEY_VARIABLE, REDIS_URL_VARIABLE, RedisTls, RedisUrl, WorkerConfig,
};

/// Why a configuration cannot be used. The message names the variable, the value and the fix.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A variable without a default is missing or empty.
    #[error("{variable} is not set: set it to {fix}")]
    Missing {
        /// The variable's name.
        variable: &'static str,
        /// What to set it to, with an example.
        fix: &'static str,
    },
    /// A variable's value cannot be used.
    #[error("{variable} is {value:?}: {reason}; set it to {fix}")]
    Invalid {
        /// The variable's name.
        variable: &'static str,
        /// The value that was found; for a secret, a placeholder.
        value: String,
        /// What is wrong with it.
        reason: String,
        /// What to set it to, with an example.
        fix: &'static str,
    },
}

/// One variable: its name, and what it should be set to (for the error message).
struct Variable {
    name: &'static str,
    fix: &'static str,
}

const QUEUE: Variable = Variable {
    name: QUEUE_VARIABLE,
    fix: "the queue to consume as namespace/name, for example shop/thumbnails",
};
const REDIS_URL: Variable = Variable {
    name: REDIS_URL_VARIABLE,
    fix: "the Redis to use, for example redis://redis:6379 or rediss://user:password@redis:6380/0 (valkey:// and valkeys:// mean the same)",
};
const REDIS_CA: Variable = Variable {
    name: REDIS_CA_VARIABLE,
    fix: "the certificates of the authorities to trust as PEM, with a URL that begins with rediss or valkeys",
};
const REDIS_CERT: Variable = Variable {
    name: REDIS_CERT_VARIABLE,
    fix: "a certificate as PEM, with its private key in TASKQUEUE_REDIS_KEY and a URL that begins with rediss",
};
const REDIS_KEY: Variable = Variable {
    name: REDIS_KEY_VARIABLE,
    fix: "the private key of TASKQUEUE_REDIS_CERT as PEM",
};
const CONCURRENCY: Variable = Variable {
    name: CONCURRENCY_VARIABLE,
    fix: "the number of tasks to run at once, from 1 to 1000",
};
const HANDLER: Variable = Variable {
    name: HANDLER_VARIABLE,
    fix: r#"{"exec":{"command":["program","argument"]}}, {"stdio":{"command":["program"]}}, {"http":{"port":8080,"path":"/tasks"}} or {"native":{}}"#,
};
const DRAIN_TIMEOUT: Variable = Variable {
    name: DRAIN_TIMEOUT_VARIABLE,
    fix: "a duration from 0s to 24h, for example 60s",
};
const HTTP_ADDRESS: Variable = Variable {
    name: HTTP_ADDRESS_VARIABLE,
    fix: "address:port, for example 0.0.0.0:8081",
};
const DRAIN_TOKEN: Variable = Variable {
    name: DRAIN_TOKEN_VARIABLE,
    fix: "1 to 128 letters, digits and hyphens that nobody can guess, for example a UUID",
};
const LOG_FORMAT: Variable = Variable {
    name: LOG_FORMAT_VARIABLE,
    fix: "json or text",
};

impl Variable {
    fn invalid(&self, value: impl Into<String>, reason: &dyn Display) -> ConfigError {
        ConfigError::Invalid {
            variable: self.name,
            value: value.into(),
            reason: reason.to_string(),
            fix: self.fix,
        }
    }

    fn missing(&self) -> ConfigError {
        ConfigError::Missing {
            variable: self.name,
            fix: self.fix,
        }
    }
}

pub(super) fn parse(lookup: &impl Fn(&str) -> Option<String>) -> Result<WorkerConfig, ConfigError> {
    let find = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let optional = |variable: &Variable| find(variable.name);
    let required = |variable: &Variable| find(variable.name).ok_or_else(|| variable.missing());
    let queue = parse_queue(required(&QUEUE)?)?;
    let redis_url = parse_redis_url(required(&REDIS_URL)?)?;
    let redis_tls = parse_redis_tls(&redis_url, find)?;
    let concurrency = optional(&CONCURRENCY)
        .map(parse_concurrency)
        .transpose()?
        .unwrap_or_default();
    Ok(WorkerConfig {
        queue,
        redis_url,
        redis_tls,
        concurrency,
        handler: parse_handler(required(&HANDLER)?, concurrency)?,
        drain_timeout: optional(&DRAIN_TIMEOUT)
            .map(parse_drain_timeout)
            .transpose()?
            .unwrap_or(DEFAULT_DRAIN_TIMEOUT),
        http_address: optional(&HTTP_ADDRESS)
            .map(parse_address)
            .transpose()?
            .unwrap_or(DEFAULT_HTTP_ADDRESS),
        pod_name: find(POD_NAME_VARIABLE),
        node_name: find(NODE_NAME_VARIABLE),
        drain_token: optional(&DRAIN_TOKEN).map(parse_drain_token).transpose()?,
        log_format: optional(&LOG_FORMAT)
            .map(parse_log_format)
            .transpose()?
            .unwrap_or_default(),
    })
}

fn parse_queue(value: String) -> Result<QueueName, ConfigError> {
    value.parse().map_err(|error| QUEUE.invalid(value, &error))
}

/// The URL's form is checked here, so that a typo ends the start and not the first connection.
fn parse_redis_url(value: String) -> Result<RedisUrl, ConfigError> {
    match Endpoint::parse(&value) {
        Ok(_) => Ok(RedisUrl::new(value)),
        Err(error) => Err(REDIS_URL.invalid("(hidden)", &error)),
    }
}

/// Certificates are checked here as well; the error names the variable of the one that is of no use.
fn parse_redis_tls(
    url: &RedisUrl,
    find: impl Fn(&str) -> Option<String>,
) -> Result<RedisTls, ConfigError> {
    let (cert, key) = (find(REDIS_CERT.name), find(REDIS_KEY.name));
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => return Err(REDIS_KEY.missing()),
        (None, Some(_)) => return Err(REDIS_CERT.missing()),
    };
    let tls = RedisTls {
        ca: find(REDIS_CA.name),
        identity,
    };
    let check = |variable: &Variable, part: RedisTls| {
        Endpoint::parse(url.expose())
            .and_then(|endpoint| part.apply(endpoint))
            .map_err(|error| variable.invalid("(hidden)", &error))
    };
    let (ca, identity) = (tls.ca.clone(), tls.identity.clone());
    check(&REDIS_CA, RedisTls { ca, identity: None })?;
    check(&REDIS_CERT, RedisTls { ca: None, identity })?;
    Ok(tls)
}

/// It is not shown: it may only be misspelt.
fn parse_drain_token(value: String) -> Result<DrainToken, ConfigError> {
    DrainToken::new(value).ok_or_else(|| DRAIN_TOKEN.invalid("(hidden)", &"no such token"))
}

fn parse_concurrency(value: String) -> Result<Concurrency, ConfigError> {
    match value.parse().map(Concurrency::new) {
        Ok(Some(concurrency)) => Ok(concurrency),
        Ok(None) => Err(CONCURRENCY.invalid(value, &"out of range")),
        Err(error) => Err(CONCURRENCY.invalid(value, &error)),
    }
}

fn parse_handler(value: String, concurrency: Concurrency) -> Result<HandlerConfig, ConfigError> {
    HandlerConfig::parse(&value, concurrency).map_err(|reason| HANDLER.invalid(value, &reason))
}

fn parse_drain_timeout(value: String) -> Result<Duration, ConfigError> {
    match parse_duration(&value) {
        Ok(duration) if duration <= MAX_DRAIN_TIMEOUT => Ok(duration),
        Ok(_) => Err(DRAIN_TIMEOUT.invalid(value, &"too long")),
        Err(reason) => Err(DRAIN_TIMEOUT.invalid(value, &reason)),
    }
}

fn parse_address(value: String) -> Result<SocketAddr, ConfigError> {
    value
        .parse()
        .map_err(|error| HTTP_ADDRESS.invalid(value, &error))
}

fn parse_log_format(value: String) -> Result<LogFormat, ConfigError> {
    value
        .parse()
        .map_err(|error| LOG_FORMAT.invalid(value, &error))
}

/// A duration of whole milliseconds, or why it is none.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let signed = text.parse::<SignedDuration>();
    let signed = signed.map_err(|error| error.to_string())?;
    let duration = Duration::try_from(signed).map_err(|_| "negative".to_owned())?;
    Ok(Duration::from_millis(millis(duration)))
}

/// `60s` and `1500ms`: whole milliseconds, because that is what the queue counts in.
pub(super) fn render_duration(duration: Duration) -> String {
    let millis = millis(duration);
    if millis.is_multiple_of(1000) {
        format!("{}s", millis / 1000)
    } else {
        format!("{millis}ms")
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::config::{BatchConfig, HttpHandler, HttpProtocol};

    const COMPLETE: [(&str, &str); 3] = [
        (QUEUE_VARIABLE, "shop/orders"),
        (REDIS_URL_VARIABLE, "redis://:hunter2@redis:6379/0"),
        (
            HANDLER_VARIABLE,
            r#"{"exec":{"command":["sh","-c","cat"]}}"#,
        ),
    ];

    fn parse_with(changes: &[(&str, &str)]) -> Result<WorkerConfig, ConfigError> {
        let mut variables = HashMap::from(COMPLETE);
        variables.extend(changes.iter().copied());
        WorkerConfig::from_env(|name| variables.get(name).map(|&value| value.to_owned()))
    }

    fn complaint(variable: &str, value: &str) -> String {
        parse_with(&[(variable, value)])
            .expect_err("it is refused")
            .to_string()
    }

    #[test]
    fn three_variables_are_enough() {
        let config = parse_with(&[]).expect("it is complete");
        assert_eq!(config.queue.to_string(), "shop/orders");
        assert_eq!(config.concurrency.get(), 1);
        assert_eq!(config.drain_timeout, DEFAULT_DRAIN_TIMEOUT);
        assert_eq!(config.http_address.to_string(), "0.0.0.0:8081");
        assert_eq!((config.pod_name, config.node_name), (None, None));
        assert_eq!(config.log_format, LogFormat::Json);
        let command = ["sh", "-c", "cat"].map(str::to_owned).to_vec();
        let batch = None;
        assert_eq!(config.handler, HandlerConfig::Exec { command, batch });
    }

    #[test]
    fn a_missing_variable_is_named_with_an_example() {
        for (variable, example) in [
            (QUEUE_VARIABLE, "shop/thumbnails"),
            (REDIS_URL_VARIABLE, "redis://"),
            (HANDLER_VARIABLE, "native"),
        ] {
            let error = complaint(variable, "");
            assert!(
                error.starts_with(&format!("{variable} is not set: set it to ")),
                "{error}"
            );
            assert!(error.contains(example), "{error}");
        }
    }

    #[test]
    fn a_bad_value_is_named_with_its_variable_and_a_fix() {
        for (variable, value, fix) in [
            (QUEUE_VARIABLE, "orders", "namespace/name"),
            (QUEUE_VARIABLE, "Shop/orders", "namespace/name"),
            (CONCURRENCY_VARIABLE, "0", "from 1 to 1000"),
            (CONCURRENCY_VARIABLE, "1001", "from 1 to 1000"),
            (CONCURRENCY_VARIABLE, "-1", "from 1 to 1000"),
            (CONCURRENCY_VARIABLE, "many", "from 1 to 1000"),
            (HANDLER_VARIABLE, "cat", "exec"),
            (HANDLER_VARIABLE, r#"{"exec":{"command":[]}}"#, "exec"),
            (HANDLER_VARIABLE, r#"{"exec":{"command":[""]}}"#, "exec"),
            (
                HANDLER_VARIABLE,
                r#"{"exec":{"command":["a\u0000"]}}"#,
                "exec",
            ),
            (HANDLER_VARIABLE, r#"{"exec":{"commands":["a"]}}"#, "exec"),
            (HANDLER_VARIABLE, r#"{"https":{}}"#, "exec"),
            (HANDLER_VARIABLE, r#"{"http":{"port":0}}"#, "1 to 65535"),
            (
                HANDLER_VARIABLE,
                r#"{"http":{"port":80,"socket":"/a/b"}}"#,
                "leave one out",
            ),
            (
                HANDLER_VARIABLE,
                r#"{"http":{"socket":"b"}}"#,
                "a whole path",
            ),
            (
                HANDLER_VARIABLE,
                r#"{"http":{"path":"tasks"}}"#,
                "such as /tasks",
            ),
            (HANDLER_VARIABLE, r#"{"http":{"protocol":"HTTP3"}}"#, "H2C"),
            (
                HANDLER_VARIABLE,
                r#"{"stdio":{"command":["a"],"processes":65}}"#,
                "1 to 64",
            ),
            (
                HANDLER_VARIABLE,
                r#"{"stdio":{"command":[]}}"#,
                "stdio.command",
            ),
            (
                HANDLER_VARIABLE,
                r#"{"exec":{"command":["a"],"batch":{"max":0,"wait":"1s"}}}"#,
                "exec.batch.max is 0: it is 1 to 1000",
            ),
            (
                HANDLER_VARIABLE,
                r#"{"http":{"batch":{"max":2,"wait":"1s"}}}"#,
                "http.batch.max is 2, and a worker runs 1 tasks at once",
            ),
            (
                HANDLER_VARIABLE,
                r#"{"stdio":{"command":["a"],"batch":{"max":1,"wait":"61s"}}}"#,
                "stdio.batch.wait is 61s: it is 0s to 60s",
            ),
            (
                HANDLER_VARIABLE,
                r#"{"http":{"batch":{"max":1,"wait":"soon"}}}"#,
                "such as 50ms",
            ),
            (
                HANDLER_VARIABLE,
                r#"{"native":{"batch":{"max":1,"wait":"1s"}}}"#,
                "unknown field",
            ),
            (DRAIN_TIMEOUT_VARIABLE, "60", "60s"),
            (DRAIN_TIMEOUT_VARIABLE, "-1s", "60s"),
            (DRAIN_TIMEOUT_VARIABLE, "25h", "0s to 24h"),
            (HTTP_ADDRESS_VARIABLE, "8081", "0.0.0.0:8081"),
            (LOG_FORMAT_VARIABLE, "xml", "json or text"),
        ] {
            let error = complaint(variable, value);
            assert!(
                error.starts_with(&format!("{variable} is {value:?}: ")),
                "{error}"
            );
            assert!(error.contains(fix), "{error}");
        }
    }

    #[test]
    fn a_bad_redis_url_is_refused_without_showing_it() {
        let error = complaint(REDIS_URL_VARIABLE, "http://:hunter2@redis");
        assert!(error.starts_with("TASKQUEUE_REDIS_URL is "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_certificate_that_is_of_no_use_is_refused_without_showing_it() {
        let tls = (REDIS_URL_VARIABLE, "rediss://redis");
        for (variables, start) in [
            (
                vec![tls, (REDIS_CA_VARIABLE, "hunter2")],
                "TASKQUEUE_REDIS_CA is ",
            ),
            (
                vec![tls, (REDIS_CERT_VARIABLE, "hunter2")],
                "TASKQUEUE_REDIS_KEY is not set",
            ),
            (
                vec![tls, (REDIS_KEY_VARIABLE, "hunter2")],
                "TASKQUEUE_REDIS_CERT is not set",
            ),
            (
                vec![
                    tls,
                    (REDIS_CERT_VARIABLE, "hunter2"),
                    (REDIS_KEY_VARIABLE, "hunter2"),
                ],
                "TASKQUEUE_REDIS_CERT is ",
            ),
            // Certificates for a connection that has none.
            (
                vec![
                    (REDIS_URL_VARIABLE, "redis://redis"),
                    (REDIS_CA_VARIABLE, "hunter2"),
                ],
                "TASKQUEUE_REDIS_CA is ",
            ),
        ] {
            let error = parse_with(&variables)
                .expect_err("it is refused")
                .to_string();
            assert!(error.starts_with(start), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_drain_token_that_is_of_no_use_is_refused_without_showing_it() {
        for token in ["hunter2!", "hunter 2", "hunter2\n", &"a".repeat(129)] {
            let error = complaint(DRAIN_TOKEN_VARIABLE, token);
            assert!(error.starts_with("TASKQUEUE_DRAIN_TOKEN is "), "{error}");
            assert!(!error.contains(token), "{error}");
        }
        let config = parse_with(&[(DRAIN_TOKEN_VARIABLE, "hunter2")]).expect("it is complete");
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    }

    #[test]
    fn the_password_is_not_in_the_debug_text_nor_in_the_rendered_variables() {
        let config = parse_with(&[]).expect("it is complete");
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(
            !config
                .to_env()
                .iter()
                .any(|(_, value)| value.contains("hunter2"))
        );
    }

    fn any_command() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[^\0]{1,20}", 1..4)
    }

    fn any_batch() -> impl Strategy<Value = Option<BatchConfig>> {
        let batch = (1..=1000_u16, 0..=60_000_u64);
        prop::option::of(batch.prop_map(|(max, millis)| BatchConfig {
            max,
            wait: Duration::from_millis(millis),
        }))
    }

    fn any_handler() -> impl Strategy<Value = HandlerConfig> {
        prop_oneof![
            Just(HandlerConfig::Native {}),
            (any_command(), any_batch())
                .prop_map(|(command, batch)| HandlerConfig::Exec { command, batch }),
            (any_command(), 1..=64_u16, any_batch()).prop_map(|(command, processes, batch)| {
                HandlerConfig::Stdio {
                    command,
                    processes,
                    batch,
                }
            }),
            (prop::option::of(1..=u16::MAX), any::<bool>(), any_batch()).prop_map(
                |(port, h2, batch)| {
                    HandlerConfig::Http(HttpHandler {
                        port,
                        batch,
                        socket: port.is_none().then(|| "/run/app.sock".to_owned()),
                        path: "/tasks".to_owned(),
                        protocol: if h2 {
                            HttpProtocol::H2c
                        } else {
                            HttpProtocol::Http1
                        },
                    })
                }
            ),
        ]
    }

    fn any_name() -> impl Strategy<Value = Option<String>> {
        prop::option::of("[a-z][a-z0-9-]{0,20}")
    }

    prop_compose! {
        fn any_config()(
            namespace in "[a-z][a-z0-9-]{0,20}",
            name in "[a-z][a-z0-9-]{0,20}",
            tasks in 1..=1000u32,
            handler in any_handler(),
            drain_millis in 0..=86_400_000u64,
            (octets, port) in any::<([u8; 4], u16)>(),
            pod_name in any_name(),
            node_name in any_name(),
            token in prop::option::of("[a-f0-9-]{1,40}"),
            json in any::<bool>(),
        ) -> WorkerConfig {
            let most = handler.batch().map_or(1, |batch| batch.max.into());
            WorkerConfig {
                queue: QueueName::new(&namespace, &name).expect("the name is good"),
                redis_url: RedisUrl::new("rediss://user:secret@redis:6380/1"),
                redis_tls: RedisTls::default(),
                concurrency: Concurrency::new(tasks.max(most)).expect("it is in range"),
                handler,
                drain_timeout: Duration::from_millis(drain_millis),
                http_address: SocketAddr::new(IpAddr::V4(Ipv4Addr::from(octets)), port),
                pod_name,
                node_name,
                drain_token: token.and_then(DrainToken::new),
                log_format: if json { LogFormat::Json } else { LogFormat::Text },
            }
        }
    }

    proptest! {
        #[test]
        fn what_the_operator_renders_is_what_the_worker_parses(config in any_config()) {
            let mut variables: HashMap<&str, String> = config.to_env().into_iter().collect();
            variables.insert(REDIS_URL_VARIABLE, config.redis_url.expose().to_owned());
            prop_assert_eq!(WorkerConfig::from_env(|name| variables.get(name).cloned()), Ok(config));
        }
    }
}

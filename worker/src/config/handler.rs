//! What runs a task: the part of the configuration that is JSON, in the shape of the manifest's `spec.worker.handler`.

use std::fmt;

use axum::http::uri::PathAndQuery;
use serde::{Deserialize, Serialize};

use super::{BatchConfig, Concurrency};

/// What runs a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum HandlerConfig {
    /// A command, started anew for every task.
    Exec {
        /// The program and its arguments; looked up on `PATH` when it has no slash. No shell is involved.
        command: Vec<String>,
        /// Many tasks in one run of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch: Option<BatchConfig>,
    },
    /// A command that goes on, and gets tasks as JSON lines.
    Stdio {
        /// As for `exec`.
        command: Vec<String>,
        /// How many of it run at once: 1 to 64.
        #[serde(default = "one")]
        processes: u16,
        /// Many tasks in one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch: Option<BatchConfig>,
    },
    /// A server in the same pod, that gets tasks as CloudEvents.
    Http(HttpHandler),
    /// The handlers that are built into the worker, chosen by the task's type.
    Native {},
}

/// Where a server in the same pod takes tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpHandler {
    /// The port it listens on; 8080 if neither port nor socket is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The Unix socket it listens on, instead of a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// The path that takes tasks.
    #[serde(default = "root")]
    pub path: String,
    /// What is spoken.
    #[serde(default)]
    pub protocol: HttpProtocol,
    /// Many tasks in one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchConfig>,
}

/// What is spoken with a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpProtocol {
    /// HTTP/1.1 with keep-alive.
    #[default]
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2 without TLS, from the first byte on.
    #[serde(rename = "H2C")]
    H2c,
}

/// Most children of `stdio` at once.
const MOST_PROCESSES: u16 = 64;

fn one() -> u16 {
    1
}

fn root() -> String {
    "/".to_owned()
}

impl HttpHandler {
    /// The port, where no socket is given.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(8080)
    }

    fn check(&self) -> Result<(), String> {
        if self.port.is_some() && self.socket.is_some() {
            return Err("http has both a port and a socket: leave one out".to_owned());
        }
        if self.port == Some(0) {
            return Err("http.port is 0: it is 1 to 65535".to_owned());
        }
        if let Some(socket) = self.socket.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(format!(
                "http.socket is {socket:?}: it is a whole path, such as /run/app/app.sock"
            ));
        }
        let is_path = self.path.starts_with('/') && self.path.parse::<PathAndQuery>().is_ok();
        if !is_path {
            return Err(format!(
                "http.path is {:?}: it is a path, such as /tasks",
                self.path
            ));
        }
        Ok(())
    }
}

impl HandlerConfig {
    /// Parses the JSON form, for a worker that runs so many tasks at once; the error says what is wrong with it.
    pub(super) fn parse(json: &str, concurrency: Concurrency) -> Result<Self, String> {
        let handler: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        handler.check(concurrency).map(|()| handler)
    }

    /// Says what is wrong with it, if anything, in a worker that runs so many tasks at once.
    pub fn check(&self, concurrency: Concurrency) -> Result<(), String> {
        if let Some(batch) = self.batch() {
            batch.check(self.name())?;
            batch.check_beside(self.name(), concurrency)?;
        }
        match self {
            Self::Exec { command, .. } => check_command("exec", command),
            Self::Stdio {
                command, processes, ..
            } => {
                if !(1..=MOST_PROCESSES).contains(processes) {
                    return Err(format!(
                        "stdio.processes is {processes}: it is 1 to {MOST_PROCESSES}"
                    ));
                }
                check_command("stdio", command)
            }
            Self::Http(http) => http.check(),
            Self::Native {} => Ok(()),
        }
    }

    /// How many tasks it gets in one call, if more than one.
    pub fn batch(&self) -> Option<&BatchConfig> {
        match self {
            Self::Exec { batch, .. } | Self::Stdio { batch, .. } => batch.as_ref(),
            Self::Http(http) => http.batch.as_ref(),
            Self::Native {} => None,
        }
    }

    /// Its name in the manifest.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Exec { .. } => "exec",
            Self::Stdio { .. } => "stdio",
            Self::Http(_) => "http",
            Self::Native {} => "native",
        }
    }
}

fn check_command(handler: &str, command: &[String]) -> Result<(), String> {
    if command.first().is_none_or(String::is_empty) {
        return Err(format!("{handler}.command names no program"));
    }
    if command.iter().any(|word| word.contains('\0')) {
        return Err(format!(
            "{handler}.command holds a NUL byte, which no argument can"
        ));
    }
    Ok(())
}

impl fmt::Display for HandlerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        serde_json::to_string(self).map_err(|_| fmt::Error)?.fmt(f)
    }
}

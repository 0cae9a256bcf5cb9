//! What runs a task: the part of the configuration that is JSON, in the shape of the manifest's `spec.worker.handler`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What runs a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum HandlerConfig {
    /// A command, started anew for every task.
    Exec {
        /// The program and its arguments; looked up on `PATH` when it has no slash. No shell is involved.
        command: Vec<String>,
    },
    /// The handlers that are built into the worker, chosen by the task's type.
    Native {},
}

impl HandlerConfig {
    /// Parses the JSON form; the error says what is wrong with it.
    pub(super) fn parse(json: &str) -> Result<Self, String> {
        let handler: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        match &handler {
            Self::Exec { command } if command.first().is_none_or(String::is_empty) => {
                Err("exec.command names no program".to_owned())
            }
            Self::Exec { command } if command.iter().any(|word| word.contains('\0')) => {
                Err("exec.command holds a NUL byte, which no argument can".to_owned())
            }
            Self::Exec { .. } | Self::Native {} => Ok(handler),
        }
    }
}

impl fmt::Display for HandlerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        serde_json::to_string(self).map_err(|_| fmt::Error)?.fmt(f)
    }
}

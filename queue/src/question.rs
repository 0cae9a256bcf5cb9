//! What is asked of a server: nothing but a connection, a plain command, or a script.

use redis::Cmd;

use crate::script::Call;

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) enum Ask<'a> {
    /// Only whether there is a connection; one is made if there is none.
    Connection,
    /// What has an answer.
    Question(Question<'a>),
}

/// What has an answer.
#[derive(Clone, Copy)]
pub(crate) enum Question<'a> {
    /// A plain command, with its name for messages.
    Plain(&'a Cmd, &'static str),
    /// A script, which is loaded if the server does not know it.
    Script(&'a Call),
}

impl<'a> Question<'a> {
    pub(crate) fn command(self) -> &'a Cmd {
        match self {
            Self::Plain(command, _) => command,
            Self::Script(call) => &call.command,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain(_, name) => name,
            Self::Script(call) => call.script.name,
        }
    }
}

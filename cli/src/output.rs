//! The one place that writes to standard output, and to standard error. A reader that goes away (`tq … | head`) is no error:
//! what is written after that is dropped.
//!
//! Much of what is written comes from others: producers, handlers, workers, servers. What of it would steer the terminal, or
//! look like something else than it is, is escaped here, so that no command has to see to it.

use std::io::{self, ErrorKind, IsTerminal, StdoutLock, Write};

use taskqueue_plain as plain;

use crate::exit::Failure;

/// Tells something beside the output in one line, on standard error.
pub(crate) fn tell(line: impl std::fmt::Display) {
    // Some messages of libraries have several.
    let line = line.to_string().replace(['\r', '\n'], " ");
    let _ = writeln!(io::stderr(), "{}", plain::line(&line));
}

/// A value as one line of JSON.
pub(crate) fn json_line(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::Form(error.to_string()))
}

/// Standard output.
pub(crate) struct Output {
    stdout: io::BufWriter<StdoutLock<'static>>,
    closed: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self {
            stdout: io::BufWriter::new(io::stdout().lock()),
            closed: false,
        }
    }

    /// Whether a person is looking.
    pub(crate) fn is_terminal(&self) -> bool {
        self.stdout.get_ref().is_terminal()
    }

    /// Whether the reader has gone away.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes one line, whatever is in it.
    pub(crate) fn line(&mut self, line: impl std::fmt::Display) -> io::Result<()> {
        let line = line.to_string();
        self.write(|stdout| writeln!(stdout, "{}", plain::line(&line)))
    }

    /// Writes a document of several lines, and an end of line behind it.
    pub(crate) fn document(&mut self, text: &str) -> io::Result<()> {
        self.write(|stdout| writeln!(stdout, "{}", plain::document(text)))
    }

    /// Writes bytes of our own as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(|stdout| stdout.write_all(bytes))
    }

    /// Passes on what was written so far.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.write(Write::flush)
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut io::BufWriter<StdoutLock<'static>>) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        match write(&mut self.stdout) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => written,
        }
    }
}

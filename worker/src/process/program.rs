//! Finding the command's program before the first task, so that a misspelt command ends the start with its reason and
//! not every task with its own. Nothing is run here.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use thiserror::Error;

/// Why a program cannot be run.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// The name has a slash, and nothing that can be run is there.
    #[error("the handler's command {program:?} cannot be run: {source}")]
    Unusable {
        /// The program as it was given.
        program: String,
        /// What the system says of it.
        source: io::Error,
    },
    /// The name has no slash, and no folder on `PATH` holds it.
    #[error(
        "the handler's command {program:?} is in no folder of PATH ({path:?}): \
         is it in the worker's image, and spelt right?"
    )]
    NotFound {
        /// The program as it was given.
        program: String,
        /// What was searched.
        path: String,
    },
}

/// The path of the program that a command names, found as a shell would: by `path` (the variable `PATH`) when the name
/// has no slash.
pub(super) fn find(program: &str, path: Option<&OsStr>) -> Result<PathBuf, ProgramError> {
    if program.contains('/') {
        return match check(Path::new(program)) {
            Ok(()) => Ok(PathBuf::from(program)),
            Err(source) => Err(ProgramError::Unusable {
                program: program.to_owned(),
                source,
            }),
        };
    }
    let path = path.unwrap_or_default();
    env::split_paths(path)
        .map(|folder| folder.join(program))
        .find(|file| check(file).is_ok())
        .ok_or_else(|| ProgramError::NotFound {
            program: program.to_owned(),
            path: path.to_string_lossy().into_owned(),
        })
}

fn check(file: &Path) -> io::Result<()> {
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(access(file, AccessFlags::X_OK)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(found: Result<PathBuf, ProgramError>) -> String {
        found.expect_err("nothing is found").to_string()
    }

    #[test]
    fn a_bare_name_is_searched_on_the_path() {
        let found = find("sh", Some(OsStr::new("/nowhere:/bin"))).expect("sh is found");
        assert_eq!(found, Path::new("/bin/sh"));
    }

    #[test]
    fn a_name_that_is_nowhere_is_named_with_the_path() {
        let error = message(find("no-such-program", Some(OsStr::new("/bin:/usr/bin"))));
        assert!(
            error.contains("\"no-such-program\" is in no folder of PATH (\"/bin:/usr/bin\")"),
            "{error}"
        );
        assert!(message(find("sh", None)).contains("PATH (\"\")"));
    }

    #[test]
    fn a_path_that_cannot_be_run_says_why() {
        assert!(
            message(find("/no/such/file", None))
                .contains("\"/no/such/file\" cannot be run: No such file")
        );
        assert!(message(find("/etc/passwd", None)).contains("Permission denied"));
        assert!(message(find("/etc", None)).contains("is a directory"));
    }
}

//! `taskqueue-worker install DEST`: the program copies itself. The operator's init container does this to bring the worker
//! into a user's image; the worker's own image holds nothing but this program, so there is no `cp`.

use std::env;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;

/// Copies the running executable to `destination`, or into it if it is a folder: whole or not at all, mode 0755.
/// Returns the path of the copy.
pub fn install(destination: &Path) -> io::Result<PathBuf> {
    let source = env::current_exe()?;
    let target = match (destination.is_dir(), source.file_name()) {
        (true, Some(name)) => destination.join(name),
        _ => destination.to_owned(),
    };
    let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    // Beside its target, because a rename is atomic only within one file system.
    let draft = target.with_file_name(format!(".{}.{}", name.to_string_lossy(), process::id()));
    let installed = copy(&source, &draft).and_then(|()| fs::rename(&draft, &target));
    if installed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    installed.map(|()| target)
}

fn copy(source: &Path, draft: &Path) -> io::Result<()> {
    fs::copy(source, draft)?;
    fs::set_permissions(draft, Permissions::from_mode(0o755))?;
    fs::File::open(draft)?.sync_all()
}

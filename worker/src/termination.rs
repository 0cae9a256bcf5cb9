//! What Kubernetes tells of a container that ended: the last words of its program.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Where the kubelet reads them, unless the container's `terminationMessagePath` is another.
const PATH: &str = "/dev/termination-log";

/// Leaves why the program ends, in a pod. `kubectl describe` shows it, and so does the condition of the `TaskQueue`.
pub fn leave(reason: &str) {
    leave_at(Path::new(PATH), reason);
}

/// The file is there in a container of Kubernetes and nowhere else. What cannot be left is in the log all the same.
fn leave_at(path: &Path, reason: &str) {
    if let Ok(mut file) = OpenOptions::new().write(true).truncate(true).open(path) {
        let _ = file.write_all(reason.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_left_where_there_is_a_place_for_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("termination-log");
        leave_at(&path, "the port is in use");
        assert!(!path.exists(), "nobody would read it");
        std::fs::write(&path, "of the run before, which said a little more").expect("a file");
        leave_at(&path, "the port is in use");
        let left = std::fs::read_to_string(&path).expect("it is there");
        assert_eq!(left, "the port is in use");
    }
}

//! Resident memory of a worker, from `/proc`.

use std::collections::BTreeMap;
use std::fs;

use super::Fault;

/// Bytes of a worker: of the program itself, or, where the program starts its worker as a process
/// of its own, of that process and all that it has started.
pub(crate) fn of(process: u32) -> Result<f64, Fault> {
    let parents = parents()?;
    let children = descendants(&parents, process);
    let counted = if children.is_empty() {
        vec![process]
    } else {
        children
    };
    let mut kilobytes = 0;
    for process in counted {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        kilobytes += kilobytes_of(&status).ok_or("a process tells no VmRSS")?;
    }
    Ok(f64::from(kilobytes) * 1024.0)
}

/// Every process with its parent.
fn parents() -> Result<BTreeMap<u32, u32>, Fault> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that has just ended has no status any more.
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        if let Some(parent) = field(&status, "PPid:").and_then(|text| text.parse().ok()) {
            parents.insert(process, parent);
        }
    }
    Ok(parents)
}

fn descendants(parents: &BTreeMap<u32, u32>, process: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut left = vec![process];
    while let Some(parent) = left.pop() {
        let children = parents.iter().filter(|(_, of)| **of == parent);
        for (child, _) in children {
            found.push(*child);
            left.push(*child);
        }
    }
    found
}

fn kilobytes_of(status: &str) -> Option<u32> {
    field(status, "VmRSS:")?.strip_suffix(" kB")?.parse().ok()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_in_kilobytes() {
        let status = "Name:\tnode\nPPid:\t7\nVmRSS:\t   81234 kB\n";
        assert_eq!(kilobytes_of(status), Some(81_234));
        assert_eq!(field(status, "PPid:"), Some("7"));
        assert_eq!(kilobytes_of("Name:\tkernel thread\n"), None);
    }

    #[test]
    fn descendants_are_found_at_every_depth() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1)]);
        assert_eq!(descendants(&parents, 2), [3, 4]);
        assert!(descendants(&parents, 5).is_empty());
    }
}

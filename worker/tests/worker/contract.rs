//! The tables of `docs/handlers.md`: each row has a test of the name that it gives.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn each_row_of_the_contract_has_a_test_of_its_name() {
    let crate_folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (mut code, mut rows) = (String::new(), 0);
    sources(&crate_folder.join("src"), &mut code);
    sources(&crate_folder.join("tests"), &mut code);
    let document = crate_folder.join("../docs/handlers.md");
    let document = fs::read_to_string(document).expect("the document");
    let mut in_table = false;
    for line in document.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let last = cells.last().copied().unwrap_or_default();
        in_table = line.starts_with('|') && (in_table || last == "test");
        if !in_table || last == "test" || line.starts_with("|---") {
            continue;
        }
        let name = last.trim_matches('`');
        assert!(
            code.contains(&format!("fn {name}(")),
            "no test is named {name:?}: {line}"
        );
        rows += 1;
    }
    assert!(rows >= 25, "only {rows} rows were found");
}

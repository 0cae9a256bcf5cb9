//! What needs an API server and no cluster: `tq` beside one that runs alone, with etcd and nothing else. It
//! needs no root. `make test-alone` runs it, and builds what it needs.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod doctor;
mod manifests;
mod rights;

#[path = "../rights/mod.rs"]
mod requests;
#[path = "../../../api/tests/rules/sources.rs"]
mod sources;
#[path = "../../../api/tests/rules/table/mod.rs"]
mod table;
#[path = "../../../api/tests/manifest/values.rs"]
mod values;
#[path = "../../../api/tests/manifest/verdicts.rs"]
mod verdicts;

//! Step 5: what the user is told. Built by a pure function, written by one writer.

pub mod build;
mod condition;
mod decision;
mod pace;
mod source;
mod write;

pub use write::Writer;

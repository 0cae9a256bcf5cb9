//! What a decision promises, and what is made of decisions.
#![allow(clippy::unwrap_used, missing_docs)]

mod decide;
mod estimator;
mod flow;
mod holds;
mod policies;
mod properties;
mod simulate;
mod windows;

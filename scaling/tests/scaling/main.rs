//! What a decision promises, and what is made of decisions.
#![allow(clippy::unwrap_used, missing_docs)]

mod decide;
mod policies;

//! Against a mock API server that plays a scenario: a missing call, another call and one too many
//! all fail.

mod events;
mod fleet;
mod leader;
mod reconcile;
pub(crate) mod server;
mod status;
mod world;

//! The autoscaler with a real redis-server each, and an API server that takes scale writes.

mod endings;
mod handshake;
mod outages;
mod scaling;
mod shield;
mod tending;
mod world;

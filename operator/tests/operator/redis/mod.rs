//! The autoscaler with a real redis-server each, and an API server that takes scale writes.

mod endings;
mod handshake;
mod hostile;
mod obstacles;
mod outages;
mod safety;
mod scaling;
mod shield;
mod sources;
mod tenants;
mod tending;
mod world;

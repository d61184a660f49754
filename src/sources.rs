//! How the sources are: requests, errors and latency of each attached catalog, and whether it is worth asking.
//!
//! [`Measured`] stands around each source, so that no connector counts or breaks off by itself.

mod health;
mod measured;

pub(crate) use health::Health;
pub(crate) use measured::Measured;

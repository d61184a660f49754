//! The connector against a real server.

mod cancel;
mod conformance;
mod encoding;
mod errors;
mod faults;
mod keys;
mod names;
mod pool;
mod round_trip;
mod server;
mod speed;
mod tls;
mod types;
mod verbatim;

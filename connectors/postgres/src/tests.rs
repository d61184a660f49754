//! The connector against a real server.

mod cancel;
mod errors;
mod names;
mod pool;
mod server;
mod speed;
mod tls;
mod types;
mod verbatim;

//! Real neighbours for tests and benchmarks: each on a free port, in a temporary directory.
//!
//! ```text
//! Postgres::start()   a cluster of its own, with a superuser `polder` and no password
//! S3::start()         an S3 server that speaks HTTP
//! DuckDb::start()     the second opinion: what an answer should be
//! ```
//!
//! A server stops when its value is dropped, and also when the process that started it is killed
//! ([`watch`]). A server that is not installed fails the test with the command that installs it: a test
//! never skips silently.

// Real servers run in real time: there is no `Env` to take a clock from.
#![expect(clippy::disallowed_methods)]

mod duckdb;
mod place;
mod port;
mod postgres;
mod s3;
mod tools;
mod watch;

pub use duckdb::{DuckDb, Row};
pub use port::free_port;
pub use postgres::{Postgres, PostgresBuilder};
pub use s3::S3;

//! PostgreSQL as a source: discovery, exact pushdown, binary COPY into Arrow.
//!
//! # How a query is read
//!
//! 1. [`source`] lists schemas and relations; [`describe`] asks, in one round trip per statement and relation, for columns,
//!    types and statistics. Nothing about a relation is cached.
//! 2. [`types`] decides how each column is read. [`provider`] is the relation as DataFusion sees it; [`pushdown`] turns
//!    filters and whole fragments into the server's SQL; [`query`] hands over a user's own text.
//! 3. [`scan`] is what is planned. At its first poll it takes a connection of the [`pool`], under the one [`snapshot`]
//!    that all scans of the query share, and runs a [`copy`]. [`decode`] turns its bytes into Arrow columns, [`spool`]
//!    keeps them for the reader.
//! 4. [`connection`], [`tls`] and [`options`] say where and how; closing waits for each [`ending`]; [`error`] turns what the
//!    server reports into errors that say what to do; [`check`] looks for what is missing; [`script`] lets a program
//!    prepare a database.

mod source;

mod describe;
mod table;
mod types;

mod provider;
mod pushdown;
mod query;
mod statistics;

mod copy;
mod decode;
mod narrow;
mod scan;
mod snapshot;
mod spool;

mod connection;
mod ending;
mod options;
mod pool;
mod tls;

mod check;
mod script;
mod error;
#[cfg(test)]
mod tests;

pub use script::run_script;
pub use source::PostgresConnector;

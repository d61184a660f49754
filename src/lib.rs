//! Polder: one SQL engine over the systems a company already runs, and the log that keeps what is derived from them true.
//!
//! The modules in the order a statement travels: a client speaks to a [`Session`], which reads the text (`sql`), resolves
//! the names (`execute::resolve`), plans (`plan`) and executes (`execute`). See ARCHITECTURE.md for the map.
//!
//! ```no_run
//! # async fn run() -> polder::Result<()> {
//! let engine = polder::Engine::builder().open().await?;
//! let session = engine.session();
//! session.run("CREATE CATALOG lake USING object_store WITH (location = '/data/lake')").await?;
//! if let polder::Outcome::Rows(mut rows) = session.run("SELECT count(*) FROM lake.orders").await? {
//!     while let Some(batch) = rows.next().await? {
//!         println!("{} rows", batch.num_rows());
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub mod cli;
mod demo;
mod repl;
mod client;
mod server;
mod render;
mod session;
pub mod sql;
mod execute;
mod activity;
mod histogram;
mod memory;
mod metrics;
mod plan;
mod engine;
mod catalogs;
mod sources;
mod follow;
mod checkpoint;
mod effects;
mod home;
mod epoch;
mod run;
mod past;
mod requests;
mod retain;
mod commit;
mod definitions;
pub mod config;
mod connectors;
mod access;
mod locations;
mod env;
pub mod reference;

pub use engine::{Engine, EngineBuilder};
pub use polder_catalog::{Connector, Error, Kind, Position, Result, SqlState};
pub use session::{
    CopyIn, Description, Notices, Outcome, Prepared, Progress, Rows, Session, SourceProgress, TransactionStatus,
};

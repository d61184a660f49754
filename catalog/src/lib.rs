//! What exists and what it can do: the contract between Polder and the systems it connects.
//!
//! This crate is all that a connector author reads. It knows no other crate of Polder; the engine and
//! every connector know it. A connector may live outside Polder's repository: it implements [`Connector`]
//! and [`Source`], and registers itself on the engine's builder.
//!
//! # The three verbs
//!
//! | verb | object | what it does |
//! |---|---|---|
//! | scan | [`Dataset::provider`], a DataFusion `TableProvider` | reads rows, with declared pushdown |
//! | changes | [`Changes`] | follows the source's own transactions, resumable from its own position |
//! | apply | [`Writer`] | takes whole entries of the log, idempotently |
//!
//! A verb is an object that a source has or has not (`Option<Arc<dyn Writer>>`), so *supported* and
//! *callable* are one fact.
//!
//! # A connector in eight steps
//!
//! 1. Copy `connectors/memory`, the smallest complete connector.
//! 2. Describe the options in `options.rs` as [`OptionSpec`]s: errors, completion and the reference
//!    documentation come from them.
//! 3. Map types both ways in `types.rs`. A type that Arrow has not arrives as text with a [`mark`].
//! 4. List schemas and datasets in `source.rs` ([`Source`]). Listing is cheap; columns load one dataset at a time.
//! 5. Stream rows in `scan.rs`: implement [`Scan`] and wrap it in a [`ScanExec`].
//! 6. Declare in `pushdown.rs` what is exact. What is not exact is left out or re-checked: *never wrong, only slower*.
//! 7. Add `changes.rs` and `write.rs` if the system can.
//! 8. Make `tests.rs`, the conformance suite (feature `conformance`), green, and register the connector:
//!
//! ```
//! use polder_catalog::{Connector, Registry};
//! use std::sync::Arc;
//!
//! fn register(connector: Arc<dyn Connector>) -> polder_catalog::Result<Registry> {
//!     let mut registry = Registry::default();
//!     registry.register(connector)?;
//!     Ok(registry)
//! }
//! ```

#![warn(missing_docs)]

mod capability;
mod change;
#[cfg(feature = "conformance")]
pub mod conformance;
mod connector;
mod context;
mod dataset;
mod definition;
mod error;
pub mod key;
pub mod mark;
mod name;
mod observe;
mod options;
mod position;
mod provider;
mod reach;
mod registry;
mod runtime_filter;
mod scan;
mod secret;
mod writer;

pub use capability::{Capabilities, KeptLocal, Reason, ReasonCode, Support};
pub use change::{
    ChangeEvent, ChangePart, ChangeStream, Changes, ChangesRequest, DatasetRequest, PART_ROWS_MAX, TransactionHeader,
    WEIGHT_COLUMN,
};
pub use connector::{Check, CheckState, Connector, Federation, PassThrough, Pushed, Source};
pub use context::{Principal, QueryId, ReadContext, ReadContextBuilder};
pub use dataset::{Column, ColumnId, Dataset, DatasetEntry, DatasetId, DatasetKind};
pub use definition::{ColumnDefinition, DatasetDefinition, Definition, ForeignKey, IndexDefinition, Sharding};
pub use error::{Error, Kind, Result, SqlState};
pub use name::{CatalogName, TableName};
pub use observe::{Observer, Request};
pub use options::{OptionKind, OptionSpec, Options};
pub use position::{Offset, Position, ShardName, SourcePosition};
pub use provider::SourceTable;
pub use reach::Reach;
pub use registry::Registry;
pub use runtime_filter::{Keys, RuntimeFilters, Wanted};
pub use scan::{Scan, ScanExec, ScanMeter, ScanReport, TellPanic};
pub use secret::{Revealed, Secret};
pub use writer::{Applied, Entry, PartStream, Writer};

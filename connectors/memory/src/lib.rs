//! Tables in memory: the smallest complete connector. Copy it to start a new one.
//!
//! ```sql
//! CREATE CATALOG scratch USING memory WITH (tables = 'countries (code text PRIMARY KEY, name text NOT NULL)');
//! ```
//!
//! It has all three verbs: its tables are scanned with exact pushdown, every commit is told as changes, and entries of
//! the log are applied to it. Rows live as long as the attached catalog. A program that embeds Polder fills it directly:
//!
//! ```ignore
//! let connector = MemoryConnector::default();
//! // ... CREATE CATALOG scratch USING memory ...
//! let scratch = connector.source(&CatalogName::new("scratch")).expect("the catalog is attached");
//! scratch.commit(Transaction::new().insert("countries", batch))?;
//! ```
//!
//! # How it works
//!
//! Every commit makes a new immutable state and leaves the old one to those who read it, so all scans of one query see
//! one version however long they run. What led from one version to the next is kept as history for `history_max`
//! transactions; followers read it there. A table with a key is searched from end to end at each write: this is a
//! connector to learn from and to test with, not a database.

mod changes;
mod definition;
mod fault;
mod options;
mod pushdown;
mod scan;
mod source;
mod store;
mod table;
mod transaction;
mod types;
mod write;

#[cfg(test)]
mod tests;

pub use definition::TableDefinition;
pub use fault::Fault;
pub use source::{MemoryConnector, MemorySource};
pub use transaction::{Alteration, TablePath, Transaction};

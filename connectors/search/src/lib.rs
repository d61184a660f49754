//! Full-text search inside Polder: tables that are Tantivy indexes.
//!
//! ```sql
//! CREATE CATALOG docs USING search WITH (path = '/var/lib/polder/docs');
//! SELECT id, subject FROM docs.public.mails WHERE match(subject, body, 'rust AND "zero copy"') AND year > 2020
//! ORDER BY _score DESC LIMIT 10;
//! ```
//!
//! A table is defined and filled by entries of the log, so an index that is lost comes back by itself. Every column
//! comes back exactly as it was written; text is searched by its words and compared as a whole at once.
//!
//! # How it works
//!
//! [`SearchSource`] holds one folder (`store`): an index for each table, laid out by its columns (`layout`).
//! Entries go in through `write`, rows come out through `scan`. What a query asks is translated by `pushdown`
//! into conditions that are exact for every row; `match()` has a language of its own (`language`), which the index
//! and the `functions` share, so that a row answers a query the same wherever it is evaluated.

mod analyzer;
mod definition;
mod document;
mod encoding;
mod error;
mod functions;
mod language;
mod layout;
mod narrow;
mod options;
mod provider;
mod pushdown;
mod read;
mod row;
mod scan;
mod source;
mod store;
mod suggest;
mod write;

#[cfg(test)]
mod tests;

pub use analyzer::SETTINGS as ANALYZER_METADATA;
pub use functions::functions;
pub use source::{SearchConnector, SearchSource};

/// The hidden column of every table: how well the row answers `match()`, NULL without one.
pub const SCORE: &str = "_score";

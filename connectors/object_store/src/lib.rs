//! Folders and S3 buckets as a source: Parquet, CSV, NDJSON and Arrow IPC files are tables.
//!
//! The files are read by DataFusion's own machinery: its file formats, pruning, statistics, bloom filters, page
//! index and caches. This crate adds what lies around them: which files are a table ([`listing`]), what their common
//! schema is ([`infer`], [`merge`]), who may read them ([`store`]), and errors that name the file and what to do.
//!
//! # Which files are which table
//! Below the `location` of a catalog,
//! - a file is a table of schema `public`, named by its file name without its extensions: `orders.csv.gz` is `orders`;
//! - a folder is a table of `public` with all the files beneath it; folders named `key=value` become columns;
//! - a folder that holds only folders, none of them `key=value`, is a schema, and its subfolders are its tables;
//! - a quoted table name may be a pattern: `lake.public."2024-*.parquet"`;
//! - names that begin with `.` or `_` are hidden, and so are files of no known format.
//!
//! Two things of one name belong to neither: each is then called by its full name, `"orders.csv"` or `"orders/"`.

mod cache;
mod check;
mod connector;
mod credentials;
mod decompress;
mod diagnose;
mod error;
mod format;
mod glob;
mod head;
mod hive;
mod infer;
mod listing;
mod local;
mod location;
mod merge;
mod nan;
mod opener;
mod options;
mod pinned;
mod report;
mod source;
mod store;
mod table;
mod transport;
#[cfg(test)]
mod tests;

pub use connector::ObjectStoreConnector;
pub use local::local_file;

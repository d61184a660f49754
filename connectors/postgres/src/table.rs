//! A relation as one query sees it: described freshly, never cached across statements.

use crate::types::{PgType, ReadingRules, Selection, Wire};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use polder_catalog::DatasetKind;
use std::sync::Arc;

/// One column of a relation, with all that the translator and the decoder ask.
#[derive(Clone, Debug)]
pub(crate) struct PgColumn {
    pub(crate) name: String,
    /// The number in `pg_attribute`: never reused, unchanged by a rename.
    pub(crate) attnum: i16,
    pub(crate) pg_type: Arc<PgType>,
    pub(crate) typmod: i32,
    /// The type as the server prints it: `numeric(12,2)`.
    pub(crate) native_type: String,
    /// The server holds the bytes of a text that we read.
    pub(crate) is_utf8: bool,
    /// Equal texts are the same bytes. True also for types without a collation.
    pub(crate) collation_deterministic: bool,
    /// The order of texts is that of their bytes. False for types without a collation.
    pub(crate) collation_is_c: bool,
    /// The Arrow field that queries see.
    pub(crate) field: FieldRef,
    /// What the SELECT list says for the column.
    pub(crate) selection: Selection,
    /// What the bytes in the COPY mean.
    pub(crate) wire: Wire,
    /// Whether the type has values that the field has not (which `unrepresentable` then handles).
    pub(crate) lossy: bool,
    pub(crate) note: Option<String>,
    pub(crate) statistics: PgColumnStatistics,
}

/// What `pg_stats` tells about a column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PgColumnStatistics {
    /// The share of NULLs.
    pub(crate) null_fraction: Option<f32>,
    /// Average width in bytes.
    pub(crate) width: Option<i32>,
    /// Distinct values if positive, minus their share of the rows if negative.
    pub(crate) distinct: Option<f32>,
}

/// One table, view or other relation.
#[derive(Clone, Debug)]
pub(crate) struct PgRelation {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) kind: DatasetKind,
    pub(crate) columns: Vec<PgColumn>,
    /// How the columns are read: a value that became NULL here must not count as itself there.
    pub(crate) rules: ReadingRules,
    /// Rows as of the last ANALYZE or VACUUM, if ever.
    pub(crate) rows_estimate: Option<u64>,
    /// Pages of 8 KiB as of now; zero for what has no storage.
    pub(crate) pages: u64,
    /// The server's version, as `server_version_num` gives it.
    pub(crate) server_version: i32,
    /// Whether the database's encoding is UTF-8. In another one texts have other bytes, in another order, and most
    /// characters have none.
    pub(crate) is_utf8: bool,
}

impl PgRelation {
    /// The columns as Arrow sees them.
    pub(crate) fn arrow_schema(&self) -> SchemaRef {
        let fields: Vec<FieldRef> = self.columns.iter().map(|column| Arc::clone(&column.field)).collect();
        Arc::new(Schema::new(fields))
    }
}

/// One column of a query's result: what the bytes mean and the field they become.
#[derive(Clone, Debug)]
pub(crate) struct PgOutput {
    pub(crate) field: FieldRef,
    pub(crate) wire: Wire,
}

impl From<&PgColumn> for PgOutput {
    fn from(column: &PgColumn) -> Self {
        Self { field: Arc::clone(&column.field), wire: column.wire.clone() }
    }
}

//! Datasets: tables, views, files and topics, with ids that survive a rename.

use arrow::datatypes::FieldRef;
use datafusion_session::TableProvider;
use std::fmt;
use std::sync::Arc;

/// An id of a dataset within its source: never reused, unchanged by a rename (PostgreSQL's oid, a file's path).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetId(pub Arc<str>);

/// An id of a column within its dataset: never reused, unchanged by a rename where the system can tell (PostgreSQL's
/// attribute number; the name itself, for a file).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnId(pub Arc<str>);

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ColumnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a dataset is at its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatasetKind {
    /// A table that holds its own rows.
    Table,
    /// A query that the source expands.
    View,
    /// A query whose rows the source keeps.
    MaterializedView,
    /// A table made of partitions.
    PartitionedTable,
    /// A table that the source reads from elsewhere.
    ForeignTable,
    /// Files that are read as a table.
    Files,
    /// Records in the order in which they were appended.
    Topic,
}

impl DatasetKind {
    /// The word that `SHOW TABLES` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::PartitionedTable => "partitioned table",
            Self::ForeignTable => "foreign table",
            Self::Files => "files",
            Self::Topic => "topic",
        }
    }
}

/// A line of a listing: no columns yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetEntry {
    /// The stable id.
    pub id: DatasetId,
    /// The name within its schema.
    pub name: String,
    /// What it is.
    pub kind: DatasetKind,
}

/// One column: the Arrow field that queries see, and what `DESCRIBE` says beside it.
#[derive(Clone, Debug)]
pub struct Column {
    /// The stable id.
    pub id: ColumnId,
    /// Name, Arrow type, nullability, and the [mark](crate::mark) of a type that Arrow has not.
    pub field: FieldRef,
    /// The type as the source names it: `numeric(12,2)`, `inet`.
    pub native_type: String,
    /// What a reader of this column should know, if anything: where a scale came from, what is refused.
    pub note: Option<String>,
}

/// A dataset, described and ready to scan for one query.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Id, name and kind.
    pub entry: DatasetEntry,
    /// The columns, in the order of the provider's schema.
    pub columns: Vec<Column>,
    /// Scans it, under the context that it was made with.
    pub provider: Arc<dyn TableProvider>,
}

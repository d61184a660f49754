//! What the battery needs to know of a connector: how to make a source, and how to work on the system behind its back.

use crate::conformance::sample;
use crate::{CatalogName, Connector, Result, Source};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use std::sync::Arc;

/// A connector under test, with a system of its own to read and write.
///
/// Everything here goes around the source: a table is created by the system's own means (SQL through another client, a
/// file written by another library), so that a mistake of the source cannot hide itself.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The connector.
    fn connector(&self) -> Arc<dyn Connector>;

    /// Options that attach the system, secrets as references.
    fn options(&self) -> Vec<(String, String)>;

    /// Options that attach a system that is down; `None` if there is no such thing.
    fn dead_options(&self) -> Option<Vec<(String, String)>> {
        None
    }

    /// The catalog name that [`source`](Self::source) is attached under.
    fn catalog(&self) -> CatalogName;

    /// The source, the same one at each call.
    fn source(&self) -> Arc<dyn Source>;

    /// The Arrow types that a table of the system can hold. `Int64` and `Utf8` are taken for granted.
    fn types(&self) -> Vec<DataType>;

    /// Values to try for a type, extremes and NULL among them; narrower than the default where the system's domain is.
    fn values(&self, data_type: &DataType) -> ArrayRef {
        sample(data_type)
    }

    /// The type that a column stored as `data_type` is read as.
    fn read_as(&self, data_type: &DataType) -> DataType {
        data_type.clone()
    }

    /// Whether `NOT NULL` is kept; if not, every column is read as nullable.
    fn keeps_not_null(&self) -> bool {
        true
    }

    /// Names of tables and columns that the system can hold, beyond plain words.
    fn awkward_names(&self) -> Vec<String> {
        ["Mixed Case", "a\"b", "a\"\"b", "semi;colon", "back\\slash", "it's", "dot.dot", "sélect", "select", "$1"]
            .map(str::to_string)
            .to_vec()
    }

    /// Creates a table in the source's default schema, and fills it.
    async fn create(&self, table: &Table) -> Result<()>;

    /// Drops a table.
    async fn drop(&self, table: &str) -> Result<()>;

    /// Commits these edits as one transaction, at the system; `false` if this cannot be done to it.
    ///
    /// A source that tells changes must be able to insert and, where rows [can be deleted](Self::deletes), to delete.
    async fn commit(&self, edits: &[Edit]) -> Result<bool> {
        let _ = edits;
        Ok(false)
    }

    /// Whether rows can be deleted at the system. What is only ever appended to cannot lose any.
    fn deletes(&self) -> bool {
        true
    }

    /// Makes trouble at the next fitting moment; `false` if it cannot be made.
    async fn make(&self, trouble: Trouble) -> bool {
        let _ = trouble;
        false
    }

    /// How many requests of this source the system is working on right now; `None` if it cannot tell.
    async fn active_requests(&self) -> Option<usize> {
        None
    }

    /// How many requests the source has sent so far; `None` if nobody counts.
    async fn sent_requests(&self) -> Option<u64> {
        None
    }
}

/// A table to create.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name, in the source's default schema.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub rows: Vec<RecordBatch>,
    /// The column that tells rows apart, if any: a system that needs a key makes it the primary key.
    pub key: Option<String>,
}

/// One thing done to a table, behind the source's back.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Adds rows.
    Insert {
        /// The table.
        table: String,
        /// The rows.
        rows: RecordBatch,
    },
    /// Takes rows away: one for each row given, equal in every column.
    Delete {
        /// The table.
        table: String,
        /// The rows.
        rows: RecordBatch,
    },
    /// Takes all rows away.
    Truncate {
        /// The table.
        table: String,
    },
    /// Adds a nullable column at the end.
    AddColumn {
        /// The table.
        table: String,
        /// The column.
        field: FieldRef,
    },
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The next scan breaks off in the middle.
    Scan,
    /// The next stream of changes breaks off in the middle.
    Changes,
    /// The next entry cannot be applied for now.
    Apply,
    /// The system forgets all history up to now.
    ForgetHistory,
}

//! What a program does to the tables: any number of operations that take effect together.

use crate::TableDefinition;
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use polder_catalog::{DatasetId, WEIGHT_COLUMN};
use std::fmt;
use std::sync::Arc;

/// The name of a table inside the catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TablePath {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl From<&str> for TablePath {
    /// A table in the schema `public`, whatever characters its name has.
    fn from(table: &str) -> Self {
        Self { schema: "public".to_string(), table: table.to_string() }
    }
}

impl From<(&str, &str)> for TablePath {
    fn from((schema, table): (&str, &str)) -> Self {
        Self { schema: schema.to_string(), table: table.to_string() }
    }
}

impl fmt::Display for TablePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// How a table changes. Ids of tables and columns survive a rename.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// A new last column, NULL in every row.
    AddColumn(FieldRef),
    /// A column goes.
    DropColumn(String),
    /// A column gets another name.
    RenameColumn {
        /// As it was.
        from: String,
        /// As it will be.
        to: String,
    },
    /// The table gets another name.
    Rename(TablePath),
}

/// Operations that take effect together, in order, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    pub(crate) operations: Vec<Operation>,
    pub(crate) origin: Option<String>,
    pub(crate) request_id: Option<String>,
}

/// The table that an operation is about: programs know names, entries of the log know ids.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Path(TablePath),
    Id(DatasetId),
}

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Create(TableDefinition),
    Drop(TablePath),
    /// Rows, with the weight column last.
    Change(Target, RecordBatch),
    Truncate(TablePath),
    Alter(TablePath, Alteration),
}

impl Transaction {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names where the transaction came from, for those who follow.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Names the request that caused the transaction.
    #[must_use]
    pub fn request_id(mut self, request_id: impl Into<String>) -> Self {
        self.request_id = Some(request_id.into());
        self
    }

    /// Makes a table. `key` names the columns whose values are unique; none for a table that may repeat rows.
    #[must_use]
    pub fn create_table(self, path: impl Into<TablePath>, schema: SchemaRef, key: &[&str]) -> Self {
        let key = key.iter().map(|column| (*column).to_string()).collect();
        self.with(Operation::Create(TableDefinition { path: path.into(), schema, key }))
    }

    /// Drops a table.
    #[must_use]
    pub fn drop_table(self, path: impl Into<TablePath>) -> Self {
        self.with(Operation::Drop(path.into()))
    }

    /// Adds rows.
    #[must_use]
    pub fn insert(self, path: impl Into<TablePath>, rows: RecordBatch) -> Self {
        self.with(Operation::Change(Target::Path(path.into()), weighted(&rows, 1)))
    }

    /// Takes rows away, one for each row given, equal in every column.
    #[must_use]
    pub fn delete(self, path: impl Into<TablePath>, rows: RecordBatch) -> Self {
        self.with(Operation::Change(Target::Path(path.into()), weighted(&rows, -1)))
    }

    /// Takes all rows away.
    #[must_use]
    pub fn truncate(self, path: impl Into<TablePath>) -> Self {
        self.with(Operation::Truncate(path.into()))
    }

    /// Changes a table.
    #[must_use]
    pub fn alter(self, path: impl Into<TablePath>, alteration: Alteration) -> Self {
        self.with(Operation::Alter(path.into(), alteration))
    }

    /// Adds changes as an entry of the log carries them: rows of the dataset with this id, the weights last.
    pub(crate) fn change(self, dataset: DatasetId, rows: RecordBatch) -> Self {
        self.with(Operation::Change(Target::Id(dataset), rows))
    }

    fn with(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }
}

/// The rows, each with this weight.
pub(crate) fn weighted(rows: &RecordBatch, weight: i64) -> RecordBatch {
    let weights: ArrayRef = Arc::new(Int64Array::from_value(weight, rows.num_rows()));
    let mut columns = rows.columns().to_vec();
    columns.push(weights);
    RecordBatch::try_new(weighted_schema(rows.schema_ref()), columns).expect("a weight column fits any batch")
}

/// The schema with the weight column last.
pub(crate) fn weighted_schema(schema: &Schema) -> SchemaRef {
    let weight = Arc::new(Field::new(WEIGHT_COLUMN, DataType::Int64, false));
    let fields: Vec<FieldRef> = schema.fields().iter().cloned().chain([weight]).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

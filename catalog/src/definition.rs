//! Definitions: what a source that can be written is told to create, alter and drop, through the log.
//!
//! The engine parses SQL and gives out ids; the source makes of a definition what its system calls a table, an index or
//! a topic. Options are the source's own, described by [`Writer::column_options`](crate::Writer::column_options) and
//! [`Writer::dataset_options`](crate::Writer::dataset_options).

use crate::key::KeyHash;
use crate::{ColumnId, DatasetId, Error, SqlState};
use arrow::datatypes::FieldRef;
use std::collections::BTreeMap;

/// A change of what exists.
#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    /// A dataset that was not there, empty.
    Create(DatasetDefinition),
    /// The dataset of the same id is from now on as described: renamed, with columns added (NULL in every row), dropped
    /// and renamed. Columns are the same if their ids are.
    Alter(DatasetDefinition),
    /// The dataset and all its rows go. Nothing happens if there is none.
    Drop(DatasetId),
}

/// A dataset, as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetDefinition {
    /// The stable id that the engine gave it; changes name it.
    pub id: DatasetId,
    /// The schema inside the catalog.
    pub schema: String,
    /// The name within its schema.
    pub name: String,
    /// The columns, in order; every batch of changes has them in this order.
    pub columns: Vec<ColumnDefinition>,
    /// The columns of the primary key; none if rows may repeat.
    pub key: Vec<ColumnId>,
    /// Columns of which no two rows have the same values, unless one of them is NULL.
    pub unique: Vec<Vec<ColumnId>>,
    /// The column that gets a number of its own in each row, if there is one.
    pub identity: Option<ColumnId>,
    /// What its rows refer to.
    pub references: Vec<ForeignKey>,
    /// Ordered indexes.
    pub indexes: Vec<IndexDefinition>,
    /// Over how many shards its rows are spread, and by what; none if they lie in one.
    pub sharding: Option<Sharding>,
    /// Options of the dataset as a whole.
    pub options: BTreeMap<String, String>,
}

/// Columns whose values, unless one is NULL, are those of a key of another dataset, or of the same.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignKey {
    /// The columns that refer.
    pub columns: Vec<ColumnId>,
    /// What they refer to.
    pub dataset: DatasetId,
    /// The columns of one of its keys, in the order of `columns`.
    pub key: Vec<ColumnId>,
}

/// How the rows of a dataset are spread: those with the same values of the key lie in one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharding {
    /// How many shards there are. Datasets with the same number and the same key values have the rows in the same shard.
    pub count: u32,
    /// The columns that decide, each part of the primary key.
    pub key: Vec<ColumnId>,
    /// How they are hashed; the shard is the hash modulo the count.
    pub hash: KeyHash,
}

/// An ordered index of a dataset, as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexDefinition {
    /// Its name.
    pub name: String,
    /// The columns, the most significant first.
    pub columns: Vec<ColumnId>,
}

/// A column, as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDefinition {
    /// The stable id that the engine gave it.
    pub id: ColumnId,
    /// Name, Arrow type, nullability and [mark](crate::mark).
    pub field: FieldRef,
    /// Options of the column.
    pub options: BTreeMap<String, String>,
}

impl Definition {
    /// The dataset that it is about.
    pub fn dataset(&self) -> &DatasetId {
        match self {
            Self::Create(definition) | Self::Alter(definition) => &definition.id,
            Self::Drop(id) => id,
        }
    }
}

impl DatasetDefinition {
    /// What a store says that takes no definitions.
    pub fn refused(&self) -> Error {
        let message = format!("table {}.{} cannot be created here", self.schema, self.name);
        Error::fix(SqlState::NOT_SUPPORTED, message)
            .with_hint("create it in the default catalog, or in one whose connector takes definitions")
    }
}

//! A table that the log writes into another catalog, as definitions keep it.

use crate::definitions::POLDER;
use crate::sql::Identity;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use polder_catalog::key::KeyHash;
use polder_catalog::{ColumnDefinition, ColumnId, DatasetDefinition, DatasetId, ForeignKey, IndexDefinition, Sharding};
use polder_log::store::SchemaId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A table with its ids, which are never reused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TableDefinition {
    pub(crate) id: u64,
    pub(crate) catalog: String,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) columns: Vec<StoredColumn>,
    /// Ids of the columns of the primary key.
    pub(crate) key: Vec<u32>,
    /// Ids of the columns of each unique constraint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unique: Vec<Vec<u32>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) checks: Vec<StoredCheck>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) indexes: Vec<StoredIndex>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) references: Vec<StoredReference>,
    /// How its rows are spread; none if they lie in one shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sharding: Option<StoredSharding>,
    pub(crate) options: BTreeMap<String, String>,
    /// Names the columns as they are now, for the parts of entries; greater with each change of them.
    pub(crate) version: u32,
    /// The greatest id that a column ever had.
    pub(crate) last_column: u32,
}

/// A column with its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredColumn {
    pub(crate) id: u32,
    #[serde(with = "polder_log::field_as_text")]
    pub(crate) field: FieldRef,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
    /// The expression of its default, in the words of its author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<Identity>,
}

/// `FOREIGN KEY`: ids of columns, of the table that they refer to, and of the columns of one of its keys, in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredReference {
    pub(crate) columns: Vec<u32>,
    pub(crate) table: u64,
    pub(crate) key: Vec<u32>,
}

/// `CREATE INDEX`: its name, and the ids of its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredIndex {
    pub(crate) name: String,
    pub(crate) columns: Vec<u32>,
}

/// `CHECK (condition)`, with the name that errors give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredCheck {
    pub(crate) name: String,
    /// In the words of its author.
    pub(crate) condition: String,
}

impl TableDefinition {
    /// The columns as Arrow has them.
    pub(crate) fn arrow_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|column| Arc::clone(&column.field)).collect::<Vec<_>>()))
    }

    /// Whether it is one of Polder's own: the log is its system of record.
    pub(crate) fn is_own(&self) -> bool {
        self.catalog == POLDER
    }

    /// What names the columns in the log.
    pub(crate) fn schema_id(&self) -> SchemaId {
        SchemaId { dataset: self.id, schema: self.version }
    }

    /// The names of the columns of the primary key.
    pub(crate) fn key_names(&self) -> Vec<String> {
        let column = |id: &u32| self.columns.iter().find(|column| column.id == *id);
        self.key.iter().filter_map(column).map(|column| column.field.name().clone()).collect()
    }

    /// The definition as a connector is told it.
    pub(crate) fn for_source(&self) -> DatasetDefinition {
        DatasetDefinition {
            id: dataset_id(self.id),
            schema: self.schema.clone(),
            name: self.name.clone(),
            columns: self.columns.iter().map(StoredColumn::for_source).collect(),
            key: self.key.iter().map(|id| column_id(*id)).collect(),
            unique: self.unique.iter().map(|ids| ids.iter().map(|id| column_id(*id)).collect()).collect(),
            identity: self.identity().map(|column| column_id(column.id)),
            indexes: self.indexes.iter().map(StoredIndex::for_source).collect(),
            references: self.references.iter().map(StoredReference::for_source).collect(),
            sharding: self.sharding.as_ref().map(StoredSharding::for_source),
            options: self.options.clone(),
        }
    }

    /// The column that gets a number of its own.
    pub(crate) fn identity(&self) -> Option<&StoredColumn> {
        self.columns.iter().find(|column| column.identity.is_some())
    }
}

/// Over how many shards rows are spread, and by which columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSharding {
    pub(crate) count: u32,
    pub(crate) key: Vec<u32>,
    pub(crate) hash: KeyHash,
}

impl StoredSharding {
    fn for_source(&self) -> Sharding {
        Sharding { count: self.count, key: self.key.iter().map(|id| column_id(*id)).collect(), hash: self.hash }
    }
}

impl StoredReference {
    fn for_source(&self) -> ForeignKey {
        let ids = |ids: &[u32]| ids.iter().map(|id| column_id(*id)).collect();
        ForeignKey { columns: ids(&self.columns), dataset: dataset_id(self.table), key: ids(&self.key) }
    }
}

impl StoredIndex {
    fn for_source(&self) -> IndexDefinition {
        IndexDefinition { name: self.name.clone(), columns: self.columns.iter().map(|id| column_id(*id)).collect() }
    }
}

impl StoredColumn {
    fn for_source(&self) -> ColumnDefinition {
        ColumnDefinition { id: column_id(self.id), field: Arc::clone(&self.field), options: self.options.clone() }
    }
}

/// The id of a dataset as the contract has it.
pub(crate) fn dataset_id(id: u64) -> DatasetId {
    DatasetId(id.to_string().into())
}

fn column_id(id: u32) -> ColumnId {
    ColumnId(id.to_string().into())
}

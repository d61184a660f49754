//! The columns of a topic as a table: the declared ones, then the hidden ones that `SELECT *` leaves out.

use crate::topic::{LATEST, TopicColumn, TopicDefinition};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use polder_catalog::{Column, ColumnId, DatasetEntry, DatasetId, DatasetKind, mark};
use std::sync::Arc;

/// The hidden columns of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hidden {
    /// `_shard`: the name of the shard, as position tokens and `polder.system.log_shards` have it.
    Shard,
    /// `_offset`: the number of the record in its shard.
    Offset,
    /// `_timestamp`: when it was committed. Never goes back within a shard.
    Timestamp,
    /// `_key`: the value of the key column; NULL in a topic without a key.
    Key,
    /// `_request_id`: the client's name for the statement that appended it.
    RequestId,
    /// `_deleted`: whether it is a tombstone, which says that the key is gone.
    Deleted,
    /// `_error`: why the record cannot be decoded; its declared columns are NULL then.
    Error,
}

impl Hidden {
    /// All of them, in the order in which they stand.
    pub const ALL: [Self; 7] =
        [Self::Shard, Self::Offset, Self::Timestamp, Self::Key, Self::RequestId, Self::Deleted, Self::Error];

    /// The name of the column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shard => "_shard",
            Self::Offset => "_offset",
            Self::Timestamp => "_timestamp",
            Self::Key => "_key",
            Self::RequestId => "_request_id",
            Self::Deleted => "_deleted",
            Self::Error => "_error",
        }
    }

    fn data_type(self, key: Option<&Field>) -> DataType {
        match self {
            Self::Shard | Self::RequestId | Self::Error => DataType::Utf8,
            Self::Offset => DataType::Int64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Key => key.map_or(DataType::Utf8, |key| key.data_type().clone()),
            Self::Deleted => DataType::Boolean,
        }
    }

    fn is_nullable(self) -> bool {
        matches!(self, Self::Key | Self::RequestId | Self::Error)
    }

    fn field(self, key: Option<&Field>) -> Field {
        let field = Field::new(self.name(), self.data_type(key), self.is_nullable());
        let metadata = key.filter(|_| self == Self::Key).map(|key| key.metadata().clone());
        mark::hidden(field.with_metadata(metadata.unwrap_or_default()))
    }
}

// A hidden column is found by its number.
const _: () = {
    let mut place = 0;
    while place < Hidden::ALL.len() {
        assert!(Hidden::ALL[place] as usize == place);
        place += 1;
    }
};

/// Where a column of the table comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The declared column at this place.
    Declared(usize),
    Hidden(Hidden),
}

/// A topic as a table.
#[derive(Debug)]
pub(crate) struct TopicTable {
    pub(crate) definition: TopicDefinition,
    /// The declared columns, all nullable, then the hidden ones.
    pub(crate) schema: SchemaRef,
    /// The declared columns as they are stored.
    pub(crate) stored: SchemaRef,
    /// The place of the key among the declared columns.
    pub(crate) key: Option<usize>,
}

impl TopicTable {
    pub(crate) fn new(definition: TopicDefinition) -> Self {
        let key = definition.key_index();
        let key_field = key.map(|key| definition.columns[key].field.as_ref());
        let nullable = |column: &TopicColumn| Arc::new(column.field.as_ref().clone().with_nullable(true));
        let declared = definition.columns.iter().map(nullable);
        let hidden = Hidden::ALL.into_iter().map(|hidden| Arc::new(hidden.field(key_field)));
        let schema = Arc::new(Schema::new(declared.chain(hidden).collect::<Vec<FieldRef>>()));
        let stored = definition.stored_schema();
        Self { definition, schema, stored, key }
    }

    /// The name of a column.
    pub(crate) fn name(&self, origin: Origin) -> &str {
        match origin {
            Origin::Declared(column) => self.definition.columns[column].field.name(),
            Origin::Hidden(hidden) => hidden.name(),
        }
    }

    /// How many columns are declared.
    pub(crate) fn declared(&self) -> usize {
        self.definition.columns.len()
    }

    /// Where the column at this place of the table comes from.
    pub(crate) fn origin(&self, column: usize) -> Origin {
        match column.checked_sub(self.declared()) {
            None => Origin::Declared(column),
            Some(hidden) => Origin::Hidden(Hidden::ALL[hidden]),
        }
    }

    /// The place of a hidden column in the table.
    pub(crate) fn place(&self, hidden: Hidden) -> usize {
        self.declared() + hidden as usize
    }

    /// Where a column of this name comes from.
    pub(crate) fn named(&self, name: &str) -> Option<Origin> {
        self.schema.index_of(name).ok().map(|column| self.origin(column))
    }

    pub(crate) fn entry(&self) -> DatasetEntry {
        let Self { definition, .. } = self;
        let id = DatasetId(definition.id.to_string().into());
        DatasetEntry { id, name: definition.name.clone(), kind: DatasetKind::Topic }
    }

    /// The entry of the newest rows.
    pub(crate) fn latest_entry(&self) -> DatasetEntry {
        let Self { definition, .. } = self;
        let id = DatasetId(format!("{}{LATEST}", definition.id).into());
        DatasetEntry { id, name: format!("{}{LATEST}", definition.name), kind: DatasetKind::Topic }
    }

    pub(crate) fn columns(&self) -> Vec<Column> {
        let column = |(place, field): (usize, &FieldRef)| {
            let (id, note) = match self.origin(place) {
                Origin::Declared(column) => (self.definition.columns[column].id.to_string(), self.note(column)),
                Origin::Hidden(hidden) => (hidden.name().to_string(), None),
            };
            let native_type = native_type(field.data_type());
            Column { id: ColumnId(id.into()), field: Arc::clone(field), native_type, note }
        };
        self.schema.fields().iter().enumerate().map(column).collect()
    }

    fn note(&self, column: usize) -> Option<String> {
        let is_key = self.key == Some(column);
        let is_required = !self.definition.columns[column].field.is_nullable();
        match (is_key, is_required) {
            (true, _) => Some("the key".to_string()),
            (false, true) => Some("NULL is refused; a tombstone has none".to_string()),
            (false, false) => None,
        }
    }
}

/// A type as SQL names it.
fn native_type(of: &DataType) -> String {
    match of {
        DataType::Boolean => "boolean".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".into(),
        DataType::Date32 => "date".into(),
        DataType::Time64(TimeUnit::Microsecond) => "time".into(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamptz".into(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("numeric({precision},{scale})")
        }
        other => other.to_string(),
    }
}

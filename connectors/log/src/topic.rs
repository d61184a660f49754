//! What a topic is: its columns, the shards it is spread over, its key. The engine keeps definitions as entries of the log.

use crate::columns::Hidden;
use crate::store::SchemaId;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use polder_catalog::key::{self, KeyHash};
use polder_catalog::{Error, Result, SqlState};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The ending of the name under which the newest rows of a topic are read.
pub(crate) const LATEST: &str = "$latest";

/// The definition of a topic.
///
/// # Promises of who defines it
/// 1. `id` and the ids of columns are never used again, whatever is dropped. `schema` is new at each change of columns.
/// 2. `shards` never change: a key stays in the shard that its first record went to.
/// 3. The key never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicDefinition {
    /// The id of the dataset.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<TopicColumn>,
    /// The id of its present columns: parts are written under it.
    pub schema: u32,
    /// The shards of the log that it is spread over. Other datasets may use them as well.
    pub shards: Vec<String>,
    /// The column that tells which records are about the same thing, and which shard they go to.
    pub key: Option<u32>,
    /// How a key is hashed.
    pub hash: KeyHash,
    /// How long records are kept.
    pub retention: Retention,
}

/// A column of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicColumn {
    /// Never used again, and the same under another name.
    pub id: u32,
    /// Name, type, and whether NULL is refused. As text, the bytes of an Arrow IPC schema in hexadecimal.
    #[serde(with = "field_as_text")]
    pub field: FieldRef,
}

/// How long records are kept: as long as neither bound is passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Records older than this may go.
    pub age: Option<Duration>,
    /// The oldest records may go when a shard is larger.
    pub bytes: Option<u64>,
}

/// Metadata key of a stored field: the id of its column.
const COLUMN: &str = "polder.column";

impl TopicDefinition {
    /// Whether such a topic can be.
    ///
    /// # Errors
    /// [`Kind::Fix`](polder_catalog::Kind::Fix), naming what does not fit.
    pub fn check(&self) -> Result<()> {
        self.check_names()?;
        if self.columns.is_empty() {
            return Err(Error::fix(SqlState::SYNTAX, format!("topic \"{}\" has no columns", self.name)));
        }
        let shards: HashSet<_> = self.shards.iter().collect();
        if shards.is_empty() || shards.len() < self.shards.len() {
            let message = format!("topic \"{}\" needs at least one shard, and each once", self.name);
            return Err(Error::fix(SqlState::PARAMETER, message));
        }
        let Some(id) = self.key else { return Ok(()) };
        let column = self.columns.iter().find(|column| column.id == id);
        let column = column.ok_or_else(|| {
            Error::fix(SqlState::NO_COLUMN, format!("the key of topic \"{}\" is not one of its columns", self.name))
        })?;
        key::check(&column.field)
    }

    fn check_names(&self) -> Result<()> {
        if self.name.is_empty() || self.name.ends_with(LATEST) {
            let message = format!("a topic cannot be called \"{}\"", self.name);
            return Err(Error::fix(SqlState::PARAMETER, message)
                .with_hint(format!("names that end in {LATEST} mean the newest rows of a topic")));
        }
        let (mut names, mut ids) = (HashSet::new(), HashSet::new());
        for column in &self.columns {
            let name = column.field.name();
            if Hidden::ALL.iter().any(|hidden| hidden.name() == name) {
                let message = format!("a column of a topic cannot be called \"{name}\"");
                return Err(Error::fix(SqlState::DUPLICATE_OBJECT, message)
                    .with_hint("every topic has a hidden column of this name"));
            }
            if !names.insert(name) || !ids.insert(column.id) {
                let message = format!("topic \"{}\" has column \"{name}\" twice", self.name);
                return Err(Error::fix(SqlState::DUPLICATE_OBJECT, message));
            }
        }
        Ok(())
    }

    /// The place of the key among the columns.
    pub(crate) fn key_index(&self) -> Option<usize> {
        self.columns.iter().position(|column| Some(column.id) == self.key)
    }

    /// What parts that are written now are stored under.
    pub(crate) fn schema_id(&self) -> SchemaId {
        SchemaId { dataset: self.id, schema: self.schema }
    }

    /// The columns as parts are stored: all nullable, since a tombstone has no more than its key, and each with its id.
    pub(crate) fn stored_schema(&self) -> SchemaRef {
        let field = |column: &TopicColumn| {
            let mut metadata = column.field.metadata().clone();
            metadata.insert(COLUMN.to_string(), column.id.to_string());
            column.field.as_ref().clone().with_nullable(true).with_metadata(metadata)
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// The shard that a key with this hash belongs to, as a place in `shards`.
    pub(crate) fn shard_of(&self, hash: u64) -> usize {
        (hash % self.shards.len() as u64) as usize
    }
}

/// The id of a stored column.
pub(crate) fn column_id(stored: &Field) -> Option<u32> {
    stored.metadata().get(COLUMN)?.parse().ok()
}

/// A field as text, for serde: the bytes of an Arrow IPC schema in hexadecimal, which Arrow promises to read for ever.
pub mod field_as_text {
    use crate::store::{decode_schema, encode_schema};
    use arrow::datatypes::{FieldRef, Schema};
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;
    use std::sync::Arc;

    /// Writes a field.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(field: &FieldRef, to: S) -> Result<S::Ok, S::Error> {
        let bytes = encode_schema(&Schema::new(vec![Arc::clone(field)]));
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        to.serialize_str(&digits.collect::<String>())
    }

    /// Reads a field.
    ///
    /// # Errors
    /// If the text is not that of a field.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<FieldRef, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = read_hex(&text).ok_or_else(|| D::Error::custom("a field is not in hexadecimal"))?;
        let schema = decode_schema(&bytes).map_err(D::Error::custom)?;
        schema.fields().first().cloned().ok_or_else(|| D::Error::custom("a field is missing"))
    }

    fn read_hex(text: &str) -> Option<Vec<u8>> {
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        text.len().is_multiple_of(2).then(|| text.as_bytes().chunks(2).map(pair).collect()).flatten()
    }
}

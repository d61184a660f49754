//! Homes: which entries of the log a row comes from.
//!
//! The tables of `main` are decided in one order. A table that is spread has its rows in shards, each with an order of its own; rows
//! with the same values of the sharding key are at home in one of them.

use crate::table::Table;
use arrow::array::{ArrayRef, RecordBatch};
use polder_catalog::key::KeyHash;
use polder_catalog::{ColumnId, DatasetDefinition, Error, Result, Sharding, SqlState};
use std::sync::Arc;

/// Where the entries of rows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Home {
    /// The shard that has the definitions, too.
    #[default]
    Main,
    /// One of those over which tables are spread.
    Shard(u32),
}

impl Home {
    /// That of a row, by the values of its sharding key, each an array of one.
    ///
    /// # Errors
    /// 23502 for NULL, 0A000 for a type that is not one of a key.
    pub fn of_key(key: &[ArrayRef], count: u32) -> Result<Self> {
        let hashes = KeyHash::default().of_rows(key)?;
        let hash = hashes.first().ok_or_else(|| Error::report("a key without a value"))?;
        Ok(of_hash(*hash, count))
    }
}

fn of_hash(hash: u64, count: u32) -> Home {
    Home::Shard(u32::try_from(hash % u64::from(count.max(1))).unwrap_or_default())
}

/// How the rows of one version of a table are spread.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    pub(crate) count: u32,
    /// Places of the columns of the sharding key.
    pub(crate) columns: Arc<[usize]>,
    hash: KeyHash,
}

impl Spread {
    /// # Errors
    /// 0A000 if a key could be in two shards, or the table has what knows no shards.
    pub(crate) fn of(definition: &DatasetDefinition) -> Result<Option<Self>> {
        let Some(Sharding { count, key, hash }) = &definition.sharding else { return Ok(None) };
        let refused = |what: &str| Err(Error::fix(SqlState::NOT_SUPPORTED, what.to_string()));
        if key.is_empty() || !key.iter().all(|column| definition.key.contains(column)) {
            return refused("a table is spread by columns of its primary key");
        }
        if !definition.unique.iter().all(|unique| key.iter().all(|column| unique.contains(column))) {
            return refused("UNIQUE of a table that is spread must contain the columns by which it is");
        }
        if definition.identity.is_some() {
            return refused("a table that is spread has no identity column");
        }
        let place = |id: &ColumnId| definition.columns.iter().position(|column| column.id == *id);
        let columns: Vec<usize> = key.iter().filter_map(place).collect();
        columns.iter().try_for_each(|at| polder_catalog::key::check(&definition.columns[*at].field))?;
        Ok(Some(Self { count: *count, columns: columns.into(), hash: *hash }))
    }

    /// The home of each row.
    pub(crate) fn homes(&self, rows: &RecordBatch) -> Result<Vec<Home>> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|at| Arc::clone(rows.column(*at))).collect();
        Ok(self.hash.of_rows(&columns)?.into_iter().map(|hash| of_hash(hash, self.count)).collect())
    }

    /// The home of a row with these values in the columns of the sharding key.
    pub(crate) fn home_of(&self, key: &[ArrayRef]) -> Result<Home> {
        let hashes = self.hash.of_rows(key)?;
        hashes.first().map(|hash| of_hash(*hash, self.count)).ok_or_else(|| Error::report("a key without a value"))
    }
}

/// The home of all these rows of a table; none if there are none.
///
/// # Errors
/// 0A000 if they are at home in several.
pub(crate) fn home_of_rows(table: &Table, rows: &RecordBatch) -> Result<Option<Home>> {
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    let Some(spread) = &table.spread else { return Ok(Some(Home::Main)) };
    one(spread.homes(rows)?)
}

/// The one of these homes; none if there is none.
///
/// # Errors
/// 0A000 if there are several.
pub(crate) fn one(homes: impl IntoIterator<Item = Home>) -> Result<Option<Home>> {
    let mut homes = homes.into_iter();
    let first = homes.next();
    match homes.find(|home| Some(*home) != first) {
        None => Ok(first),
        Some(_) => Err(spans()),
    }
}

/// What reaches two shards is decided by neither.
pub fn spans() -> Error {
    Error::fix(SqlState::NOT_SUPPORTED, "the statement or transaction reaches more than one shard")
        .with_detail("each shard decides about its own rows; a table without WITH (shards = ...) lies in main")
        .with_hint(
            "name the sharding key (WHERE key = ...), write the rows of each key by a statement of its own, or CREATE PROCEDURE: \
             its effects travel to other shards",
        )
}

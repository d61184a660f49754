//! Which filters become shards and ranges of offsets and times, and which of those are exact.
//!
//! | filter | becomes | exact |
//! |---|---|---|
//! | anything over `_shard` alone | the shards for which it is true | yes |
//! | comparisons of `_offset` or `_timestamp` with constants, IN, BETWEEN, AND, OR, NOT | ranges | yes |
//! | the key or `_key` equal to a constant, IN | the shards of these keys, by hash | no: checked again |
//!
//! Commit times never go back within a shard, so a range of times is a range of offsets there.

mod keys;
mod ranges;

pub(crate) use keys::narrowed;
pub(crate) use ranges::Ranges;

use crate::columns::{Hidden, Origin, TopicTable};
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_physical_expr::create_physical_expr;
use polder_catalog::{Reason, ReasonCode};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the pushed filters leave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selection {
    /// Places of shards in the definition.
    pub(crate) shards: BTreeSet<usize>,
    pub(crate) offsets: Ranges,
    /// In microseconds.
    pub(crate) times: Ranges,
    /// The keys that are wanted, if they are few enough to be known one by one.
    pub(crate) keys: Option<Vec<ScalarValue>>,
}

/// Whether the filter has to be checked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exactness {
    Exact,
    Inexact,
}

impl Selection {
    /// Everything.
    pub(crate) fn all(table: &TopicTable) -> Self {
        let shards = (0..table.definition.shards.len()).collect();
        Self { shards, offsets: Ranges::all(), times: Ranges::all(), keys: None }
    }

    /// Narrows the selection by a filter, or says why the filter stays local.
    pub(crate) fn narrow(&mut self, table: &TopicTable, filter: &Expr) -> Result<Exactness, Reason> {
        match only_column(table, filter)? {
            Origin::Hidden(Hidden::Shard) => {
                let shards = shards(table, filter)?;
                self.shards.retain(|shard| shards.contains(shard));
                Ok(Exactness::Exact)
            }
            Origin::Hidden(Hidden::Offset) => {
                let ranges = ranges::of(filter, &|value| match value {
                    ScalarValue::Int64(Some(offset)) => Some(i128::from(*offset)),
                    _ => None,
                });
                self.offsets = self.offsets.and(&ranges.ok_or_else(no_ranges)?);
                Ok(Exactness::Exact)
            }
            Origin::Hidden(Hidden::Timestamp) => {
                let ranges = ranges::of(filter, &|value| match value {
                    ScalarValue::TimestampMicrosecond(Some(time), Some(_)) => Some(i128::from(*time)),
                    _ => None,
                });
                self.times = self.times.and(&ranges.ok_or_else(no_ranges)?);
                Ok(Exactness::Exact)
            }
            origin if is_key(table, origin) => {
                let keys = keys::of(filter).ok_or_else(|| {
                    Reason::new(ReasonCode::SourceLacks, "of the key, only equality with constants tells the shards")
                })?;
                self.narrow_keys(table, keys);
                Ok(Exactness::Inexact)
            }
            Origin::Hidden(hidden) => {
                let text = format!("{} is not known before the record is read", hidden.name());
                Err(Reason::new(ReasonCode::SourceLacks, text))
            }
            Origin::Declared(_) => Err(Reason::new(ReasonCode::SourceLacks, "a topic is searched by its key alone")),
        }
    }

    /// Only these keys are wanted.
    pub(crate) fn narrow_keys(&mut self, table: &TopicTable, keys: Vec<ScalarValue>) {
        let Some(key) = table.key else { return };
        let of = table.schema.field(key).data_type();
        let keys: Vec<_> = keys.iter().filter_map(|value| narrowed(value, of)).collect();
        let hashes =
            keys.iter().map(|value| polder_catalog::key::bytes_of(value).map(|bytes| table.definition.hash.of(&bytes)));
        if let Some(hashes) = hashes.collect::<Option<Vec<_>>>() {
            let shards: BTreeSet<_> = hashes.into_iter().map(|hash| table.definition.shard_of(hash)).collect();
            self.shards.retain(|shard| shards.contains(shard));
        }
        self.keys = Some(match self.keys.take() {
            Some(before) => before.into_iter().filter(|value| keys.contains(value)).collect(),
            None => keys,
        });
    }
}

/// Whether a column holds the key.
pub(crate) fn is_key(table: &TopicTable, origin: Origin) -> bool {
    match origin {
        Origin::Declared(column) => table.key == Some(column),
        Origin::Hidden(hidden) => hidden == Hidden::Key && table.key.is_some(),
    }
}

/// The one column that a filter is about.
fn only_column(table: &TopicTable, filter: &Expr) -> Result<Origin, Reason> {
    if filter.is_volatile() {
        return Err(Reason::new(ReasonCode::Volatile, "it gives another result at each call"));
    }
    let origins = filter.column_refs().into_iter().map(|column| table.named(&column.name));
    let origins = origins.collect::<Option<Vec<_>>>();
    match origins.as_deref() {
        Some([origin, others @ ..]) if others.iter().all(|other| other == origin) => Ok(*origin),
        _ => Err(Reason::new(ReasonCode::SourceLacks, "it is not about one column of the topic alone")),
    }
}

fn no_ranges() -> Reason {
    Reason::new(ReasonCode::SourceLacks, "it does not compare the column with constants")
}

/// The shards for whose names the filter is true: DataFusion itself evaluates it, so it is exact whatever it is.
fn shards(table: &TopicTable, filter: &Expr) -> Result<BTreeSet<usize>, Reason> {
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(&table.definition.shards));
    let field = Field::new(Hidden::Shard.name(), DataType::Utf8, false);
    let evaluated = (|| {
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![names])?;
        let unqualified = unqualified(filter)?;
        let schema = DFSchema::try_from(batch.schema())?;
        let planning = Default::default();
        let expr = create_physical_expr(&unqualified, &schema, &ExecutionProps::new(), &planning)?;
        expr.evaluate(&batch)?.into_array(batch.num_rows())
    })();
    let evaluated = evaluated.map_err(|error: datafusion_common::DataFusionError| {
        Reason::new(ReasonCode::SourceLacks, format!("it cannot be evaluated beforehand: {error}"))
    })?;
    if *evaluated.data_type() != DataType::Boolean {
        return Err(Reason::new(ReasonCode::Type, "it is not a condition"));
    }
    let wanted = evaluated.as_boolean();
    Ok((0..wanted.len()).filter(|shard| wanted.is_valid(*shard) && wanted.value(*shard)).collect())
}

/// The same expression, its columns by name alone.
pub(crate) fn unqualified(expr: &Expr) -> datafusion_common::Result<Expr> {
    use datafusion_common::tree_node::{Transformed, TreeNode};
    let renamed = expr.clone().transform(|expr| match expr {
        Expr::Column(column) if column.relation.is_some() => {
            Ok(Transformed::yes(Expr::Column(datafusion_common::Column::from_name(column.name))))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(renamed.data)
}

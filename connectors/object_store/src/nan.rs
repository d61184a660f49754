//! NaN and the statistics of Parquet: two rules that do not fit together.
//!
//! Comparing, DataFusion puts NaN above every number, so a row of NaN satisfies `x > 5` and `x <> 3`. The statistics in a
//! Parquet footer leave NaN out: a row group of 1, 2 and NaN has the maximum 2. What skips row groups by them would lose
//! the row. So filters on floating-point columns skip nothing, and the bounds of such columns are not known.

use arrow::datatypes::Schema;
use datafusion_common::Statistics;
use datafusion_common::stats::Precision;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::utils::collect_columns;
use std::sync::Arc;

/// Whether a filter, also one that is filled in while the query runs, may skip what the statistics say cannot match.
pub(crate) fn may_skip(filter: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    collect_columns(filter).iter().all(|column| is_bounded(schema, column.name()))
}

/// The statistics without what NaN makes untrue.
pub(crate) fn without_float_bounds(mut statistics: Statistics, schema: &Schema) -> Statistics {
    for (field, column) in schema.fields().iter().zip(&mut statistics.column_statistics) {
        if field.data_type().is_floating() {
            column.min_value = Precision::Absent;
            column.max_value = Precision::Absent;
        }
    }
    statistics
}

fn is_bounded(schema: &Schema, column: &str) -> bool {
    schema.field_with_name(column).is_ok_and(|field| !field.data_type().is_floating())
}

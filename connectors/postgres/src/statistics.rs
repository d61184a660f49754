//! What the server's statistics say of a scan. They are as old as the last ANALYZE, so all of it is inexact.

use crate::table::{PgColumn, PgRelation};
use datafusion_common::stats::Precision;
use datafusion_common::{ColumnStatistics, Statistics};

/// The share of rows that a filter of unknown effect is taken to keep: DataFusion's own default.
const SELECTIVITY: f64 = 0.2;

/// Of all rows and columns.
pub(crate) fn of_relation(relation: &PgRelation) -> Statistics {
    let all: Vec<usize> = (0..relation.columns.len()).collect();
    of_scan(relation, &all, 0, None)
}

/// Of the columns in `projection`, after `filters` filters and a limit.
pub(crate) fn of_scan(relation: &PgRelation, projection: &[usize], filters: usize, limit: Option<usize>) -> Statistics {
    let columns: Vec<&PgColumn> = projection.iter().map(|index| &relation.columns[*index]).collect();
    let Some(rows) = relation.rows_estimate else {
        let column_statistics = columns.iter().map(|_| ColumnStatistics::new_unknown()).collect();
        return Statistics { num_rows: Precision::Absent, total_byte_size: Precision::Absent, column_statistics };
    };
    let kept = rows as f64 * SELECTIVITY.powi(i32::try_from(filters.min(3)).unwrap_or(3));
    let kept = (kept.ceil() as usize).min(limit.unwrap_or(usize::MAX));
    let width: Option<usize> =
        columns.iter().map(|column| column.statistics.width.and_then(|w| usize::try_from(w).ok())).sum();
    Statistics {
        num_rows: Precision::Inexact(kept),
        total_byte_size: width.map_or(Precision::Absent, |width| Precision::Inexact(width.saturating_mul(kept))),
        column_statistics: columns.iter().map(|column| of_column(column, rows, kept)).collect(),
    }
}

fn of_column(column: &PgColumn, rows: u64, kept: usize) -> ColumnStatistics {
    let statistics = &column.statistics;
    let nulls = statistics.null_fraction.map(|fraction| (f64::from(fraction) * kept as f64) as usize);
    let distinct = statistics.distinct.filter(|distinct| *distinct != 0.0).map(|distinct| {
        let distinct = f64::from(distinct);
        let count = if distinct < 0.0 { -distinct * rows as f64 } else { distinct };
        (count.ceil() as usize).min(kept)
    });
    ColumnStatistics {
        null_count: nulls.map_or(Precision::Absent, Precision::Inexact),
        distinct_count: distinct.map_or(Precision::Absent, Precision::Inexact),
        ..ColumnStatistics::new_unknown()
    }
}

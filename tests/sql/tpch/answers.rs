//! DuckDB's answers, and what counts as the same.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use polder_testing::DuckDb;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far two floats may be apart, relative to their size: sums are added up in any order.
const FLOAT_TOLERANCE: f64 = 1e-9;

/// A DuckDB with all the data.
pub(super) struct Answers(Mutex<DuckDb>);

impl Answers {
    pub(super) fn of(duckdb: DuckDb) -> Self {
        Self(Mutex::new(duckdb))
    }

    /// Writes a table as Parquet, in several row groups so that there is something to prune.
    pub(super) fn export(&self, table: &str, file: &Path) {
        self.duckdb().query(&format!("COPY {table} TO '{}' (FORMAT parquet, ROW_GROUP_SIZE 10240)", file.display()));
    }

    /// Runs a query in DuckDB and says where it differs from our rows. The queries order their rows, so these are
    /// compared one by one; DuckDB's answer must have rows, or nothing would have been compared.
    pub(super) fn check(&self, sql: &str, ours: &[RecordBatch]) -> Result<(), String> {
        let theirs = self.duckdb().query(sql);
        let types: Vec<DataType> = match ours.first() {
            Some(batch) => batch.schema().fields().iter().map(|field| field.data_type().clone()).collect(),
            None => return Err(format!("no rows; DuckDB has {}", theirs.len())),
        };
        let rows = crate::render::rows(ours);
        if theirs.is_empty() || rows.len() != theirs.len() {
            return Err(format!("{} rows; DuckDB has {}", rows.len(), theirs.len()));
        }
        for (at, (ours, theirs)) in rows.iter().zip(&theirs).enumerate() {
            let same = |at: usize| same_value(&types[at], &ours[at], theirs[at].as_deref());
            if ours.len() != theirs.len() || !(0..ours.len()).all(same) {
                return Err(format!("row {at} is {ours:?}; DuckDB has {theirs:?}"));
            }
        }
        Ok(())
    }

    fn duckdb(&self) -> MutexGuard<'_, DuckDb> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Exactly the same, but for floats, and for decimals where DuckDB gives a float (`avg`): those agree in every digit
/// that the decimal has.
fn same_value(kind: &DataType, ours: &str, theirs: Option<&str>) -> bool {
    let Some(theirs) = theirs else { return ours == "NULL" };
    if ours == theirs {
        return true;
    }
    let tolerance = match kind {
        DataType::Float32 | DataType::Float64 => Tolerance::Relative(FLOAT_TOLERANCE),
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
            let unit = if is_longer(ours, theirs) { 10f64.powi(-i32::from(*scale)) } else { 0.0 };
            Tolerance::Absolute(unit)
        }
        _ => return false,
    };
    match (ours.parse(), theirs.parse()) {
        (Ok(ours), Ok(theirs)) => tolerance.admits(ours, theirs),
        _ => false,
    }
}

enum Tolerance {
    Relative(f64),
    Absolute(f64),
}

impl Tolerance {
    fn admits(self, ours: f64, theirs: f64) -> bool {
        let bound = match self {
            Self::Relative(part) => part * theirs.abs(),
            Self::Absolute(bound) => bound,
        };
        (ours - theirs).abs() <= bound
    }
}

/// Whether the second number has more digits behind the point than the first.
fn is_longer(ours: &str, theirs: &str) -> bool {
    let digits = |text: &str| text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    digits(theirs) > digits(ours)
}

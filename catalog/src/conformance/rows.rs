//! Comparing results as SQL defines them: multisets of rows, floats to 1e-9 relative, all else exactly.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::BTreeMap;

/// A row as text, one cell after the other; NULL is not the text of any value.
pub(super) type Row = Vec<Option<String>>;

/// Rows in an order of their own, so that two multisets can be compared.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    sorted: Vec<Row>,
    is_float: Vec<bool>,
}

impl Rows {
    pub(super) fn of(batches: &[RecordBatch]) -> Self {
        let mut sorted: Vec<Row> = batches.iter().flat_map(rows_of).collect();
        sorted.sort_unstable();
        let fields = batches.first().map(|batch| batch.schema().fields().clone()).unwrap_or_default();
        let is_float = fields.iter().map(|field| matches!(field.data_type(), DataType::Float32 | DataType::Float64));
        Self { sorted, is_float: is_float.collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// How the two differ; `None` if they are the same multiset.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        if self.len() != other.len() {
            let (few, many, which) = if self.len() < other.len() {
                (self, other, "only the second has")
            } else {
                (other, self, "only the first has")
            };
            let extra = many.sorted.iter().find(|row| few.count(row) < many.count(row));
            return Some(format!("{} rows against {}; {which} {:?}", self.len(), other.len(), extra));
        }
        let pairs = self.sorted.iter().zip(&other.sorted);
        let unequal = pairs.into_iter().find(|(mine, theirs)| !self.equal(mine, theirs));
        unequal.map(|(mine, theirs)| format!("{mine:?} against {theirs:?}"))
    }

    /// Whether each row is in `all`, as often as it is here.
    pub(super) fn is_part_of(&self, all: &Self) -> bool {
        self.sorted.iter().all(|row| self.count(row) <= all.count(row))
    }

    fn count(&self, row: &Row) -> usize {
        let from = self.sorted.partition_point(|other| other < row);
        self.sorted[from..].iter().take_while(|other| *other == row).count()
    }

    fn equal(&self, mine: &Row, theirs: &Row) -> bool {
        mine.len() == theirs.len()
            && mine
                .iter()
                .zip(theirs)
                .zip(&self.is_float)
                .all(|((a, b), is_float)| a == b || (*is_float && close(a, b)))
    }
}

fn close(a: &Option<String>, b: &Option<String>) -> bool {
    let number = |text: &Option<String>| text.as_ref()?.parse::<f64>().ok();
    match (number(a), number(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        _ => false,
    }
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let options = FormatOptions::default().with_display_error(false);
    let columns: Vec<(&ArrayRef, ArrayFormatter<'_>)> = batch
        .columns()
        .iter()
        .map(|column| (column, ArrayFormatter::try_new(column, &options).expect("Arrow prints every type")))
        .collect();
    let cell = |(column, text): &(&ArrayRef, ArrayFormatter<'_>), at: usize| {
        column.is_valid(at).then(|| text.value(at).try_to_string().unwrap_or_else(|error| error.to_string()))
    };
    (0..batch.num_rows()).map(|at| columns.iter().map(|column| cell(column, at)).collect()).collect()
}

/// Changes added up: each row that is not cancelled out, with its weight. The last column is the weight.
pub(super) fn net(changes: &[RecordBatch]) -> BTreeMap<Row, i64> {
    let mut net = BTreeMap::new();
    for mut row in changes.iter().flat_map(rows_of) {
        let weight = row.pop().flatten().and_then(|weight| weight.parse::<i64>().ok()).unwrap_or_default();
        *net.entry(row).or_default() += weight;
    }
    net.retain(|_, weight| *weight != 0);
    net
}

//! The newest changes of a table: whether anything that a statement has read changed since.

use arrow::array::RecordBatch;
use std::collections::VecDeque;

/// How many rows are remembered. A statement that has read a version older than that is tried again.
const ROWS_MAX: usize = 1 << 16;

/// And how much memory they take.
const BYTES_MAX: usize = 64 << 20;

/// Changed rows, old and new, by the version that they made.
#[derive(Debug, Default)]
pub(crate) struct History {
    changes: VecDeque<Change>,
    rows: usize,
    bytes: usize,
    /// What made this version or an earlier one is not remembered.
    forgotten: u64,
}

#[derive(Debug)]
struct Change {
    version: u64,
    rows: Vec<RecordBatch>,
}

impl Change {
    fn size(&self) -> (usize, usize) {
        let rows = self.rows.iter().map(RecordBatch::num_rows).sum();
        (rows, self.rows.iter().map(RecordBatch::get_array_memory_size).sum())
    }
}

impl History {
    /// Of what happens after a version.
    pub(crate) fn since(version: u64) -> Self {
        Self { forgotten: version, ..Self::default() }
    }

    pub(crate) fn add(&mut self, version: u64, rows: Vec<RecordBatch>) {
        let change = Change { version, rows };
        let (rows, bytes) = change.size();
        self.rows += rows;
        self.bytes += bytes;
        self.changes.push_back(change);
        while (self.rows > ROWS_MAX || self.bytes > BYTES_MAX)
            && let Some(oldest) = self.changes.pop_front()
        {
            let (rows, bytes) = oldest.size();
            self.rows -= rows;
            self.bytes -= bytes;
            self.forgotten = oldest.version;
        }
    }

    /// The rows that changed after a version; none if that is not known any more.
    pub(crate) fn after(&self, version: u64) -> Option<impl Iterator<Item = &RecordBatch>> {
        let first = self.changes.partition_point(|change| change.version <= version);
        (version >= self.forgotten).then(|| self.changes.range(first..).flat_map(|change| &change.rows))
    }
}

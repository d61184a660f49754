//! Arrow to the text of `.slt` files.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Every row, every field as text: `NULL` for NULL, `(empty)` for the empty string, line feeds as `\n`.
pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    batches.iter().flat_map(batch_rows).collect()
}

fn batch_rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL").with_display_error(false);
    let formatters: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).expect("every type can be printed"))
        .collect();
    let row = |at: usize| formatters.iter().map(|formatter| field(&formatter.value(at).to_string())).collect();
    (0..batch.num_rows()).map(row).collect()
}

fn field(text: &str) -> String {
    if text.is_empty() { "(empty)".to_string() } else { text.replace('\n', "\\n").replace('\t', "\\t") }
}

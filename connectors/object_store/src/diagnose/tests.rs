//! The line of a bad row does not depend on how the file comes in.

use super::*;
use arrow::datatypes::{DataType, Field, Schema};

/// The line that is found when the text comes in pieces of so many bytes; `None` if all of it is good.
fn bad_line_of(text: &str, piece: usize) -> Option<usize> {
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]);
    let builder = arrow::csv::ReaderBuilder::new(Arc::new(schema)).with_header(true).with_batch_size(CSV_ROWS);
    let mut decoder = builder.build_decoder();
    let mut pieces = text.as_bytes().chunks(piece).chain([&b""[..]]);
    let error = pieces.find_map(|piece| decode_csv(&mut decoder, piece).err())?;
    Some(csv_line(&error, true).unwrap_or_else(|| panic!("no line in {error}")).line)
}

#[test]
fn the_line_of_a_bad_row_is_the_same_in_pieces_of_any_size() {
    let good = |rows: usize| (0..rows).map(|n| format!("{n},\"x, y\"\n")).collect::<String>();
    for piece in [1, 2, 3, 7, 4096, usize::MAX] {
        assert_eq!(bad_line_of(&format!("n,s\n{}", good(2100)), piece), None, "in pieces of {piece}");
        assert_eq!(bad_line_of(&format!("n,s\n{}oops,y", good(2100)), piece), Some(2102), "in pieces of {piece}");
        assert_eq!(bad_line_of(&format!("n,s\n{}1,2,3\n", good(1024)), piece), Some(1026), "in pieces of {piece}");
        assert_eq!(bad_line_of(&format!("n,s\noops,y\n{}", good(5)), piece), Some(2), "in pieces of {piece}");
    }
}

//! Rows come back as they went in, whatever their types, and damaged payloads are errors.

use super::*;
use crate::store::encoding::BatchDecoder;
use arrow_array::builder::*;
use arrow_array::types::*;
use arrow_array::*;
use arrow_schema::Fields;
use proptest::prelude::*;

/// Every layout of the compact encoding, with nulls, and a dictionary if asked for.
fn all_types(rows: usize, salt: i64, dictionary: bool) -> RecordBatch {
    let some = |row: usize, modulus: usize| !(row + salt as usize).is_multiple_of(modulus);
    let text = |row: usize| some(row, 3).then(|| format!("ü{}", "x".repeat((row * 7 + salt as usize) % 20)));
    let mut lists = ListBuilder::new(Int32Builder::new());
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    let mut triples = FixedSizeListBuilder::new(Float64Builder::new(), 3);
    for row in 0..rows {
        (0..row % 4).for_each(|value| lists.values().append_option(some(value, 3).then_some(value as i32)));
        lists.append(some(row, 4) || row % 4 > 0);
        (0..row % 3).for_each(|key| {
            maps.keys().append_value(key.to_string());
            maps.values().append_value(salt);
        });
        maps.append(true).unwrap();
        (0..3).for_each(|value| triples.values().append_value(value as f64));
        triples.append(some(row, 5));
    }
    let int: ArrayRef =
        Arc::new((0..rows).map(|row| some(row, 2).then_some(row as i64 * salt)).collect::<Int64Array>());
    let nested = StructArray::from(vec![(Arc::new(Field::new("inner", DataType::Int64, true)), Arc::clone(&int))]);
    let decimals = (0..rows).map(|row| Some(i128::from(salt) << (row % 60))).collect::<Decimal128Array>();
    let fixed = (0..rows).map(|row| some(row, 4).then_some([row as u8; 5]));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::clone(&int),
        Arc::new((0..rows).map(|row| some(row, 3).then_some(row % 2 == 0)).collect::<BooleanArray>()),
        Arc::new((0..rows).map(text).collect::<StringArray>()),
        Arc::new((0..rows).map(text).collect::<LargeStringArray>()),
        Arc::new((0..rows).map(text).collect::<StringViewArray>()),
        Arc::new((0..rows).map(|row| text(row).map(String::into_bytes)).collect::<BinaryArray>()),
        Arc::new((0..rows).map(|row| text(row).map(String::into_bytes)).collect::<BinaryViewArray>()),
        Arc::new(decimals.with_precision_and_scale(38, 2).unwrap()),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 5).unwrap()),
        Arc::new(TimestampMicrosecondArray::from_iter_values((0..rows).map(|row| row as i64)).with_timezone("UTC")),
        Arc::new(Float32Array::from_iter_values((0..rows).map(|row| row as f32))),
        Arc::new(NullArray::new(rows)),
        Arc::new(lists.finish()),
        Arc::new(maps.finish()),
        Arc::new(triples.finish()),
        Arc::new(nested),
        Arc::new(Int16Array::new_null(rows)),
        Arc::new(Date32Array::from_iter_values((0..rows).map(|row| row as i32))),
    ];
    if dictionary {
        columns.push(Arc::new(
            (0..rows).map(text).collect::<Vec<_>>().iter().map(Option::as_deref).collect::<DictionaryArray<Int8Type>>(),
        ));
    }
    let fields: Fields =
        columns.iter().enumerate().map(|(n, c)| Field::new(n.to_string(), c.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn parts(batch: &RecordBatch) -> Vec<Part> {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut entry = NewEntry::new(EntryKind::DATA);
    entry.add_batch(PEOPLE, batch).unwrap();
    log.main().append(entry).wait().unwrap();
    log.main().read_from(Offset(0)).unwrap().last().unwrap().unwrap().parts().map(Result::unwrap).collect()
}

#[test]
fn every_type_comes_back_in_either_encoding() {
    for (rows, encoding) in [(1, Encoding::COMPACT), (100, Encoding::COMPACT), (500, Encoding::ARROW_IPC)] {
        let batch = all_types(rows, 3, false);
        let parts = parts(&batch);
        assert_eq!(parts[0].encoding, encoding);
        assert_eq!(parts[0].to_batch(&batch.schema(), None).unwrap(), batch);
        let projection = [15, 2, 12, 4];
        let projected = parts[0].to_batch(&batch.schema(), Some(&projection)).unwrap();
        assert_eq!(projected.columns(), batch.project(&projection).unwrap().columns());
    }
}

#[test]
fn a_type_that_is_not_compact_falls_back_to_arrow_ipc() {
    let batch = all_types(5, 2, true);
    let parts = parts(&batch);
    assert_eq!(parts[0].encoding, Encoding::ARROW_IPC);
    assert_eq!(parts[0].to_batch(&batch.schema(), None).unwrap(), batch);
}

#[test]
fn a_slice_of_a_batch_is_encoded_alone() {
    for (start, rows) in [(3, 1), (7, 64), (1, 300)] {
        let batch = all_types(400, 5, false).slice(start, rows);
        assert_eq!(parts(&batch)[0].to_batch(&batch.schema(), None).unwrap(), batch);
    }
}

#[test]
fn a_decoder_joins_small_parts_and_passes_large_ones() {
    let pieces: Vec<_> =
        [1, 1, 2, 300, 1].iter().enumerate().map(|(salt, rows)| all_types(*rows, salt as i64, false)).collect();
    let schema = pieces[0].schema();
    let mut decoder = BatchDecoder::new(Arc::clone(&schema), None, 3).unwrap();
    let mut rows = Vec::new();
    for part in pieces.iter().flat_map(parts) {
        decoder.push(&part).unwrap();
        rows.extend(std::iter::from_fn(|| decoder.next_batch()));
    }
    rows.extend(decoder.flush().unwrap());
    assert!(rows.iter().all(|batch| batch.num_rows() <= 3));
    let expected = arrow_select::concat::concat_batches(&schema, &pieces).unwrap();
    assert_eq!(arrow_select::concat::concat_batches(&schema, &rows).unwrap(), expected);
}

#[test]
fn a_bad_part_is_an_error_of_its_own_and_leaves_the_decoder_whole() {
    let batch = all_types(2, 1, false);
    let good = parts(&batch).remove(0);
    let mut decoder = BatchDecoder::new(batch.schema(), None, 100).unwrap();
    decoder.push(&good).unwrap();
    for length in 0..good.payload.len() {
        let cut = Part { payload: good.payload.slice(..length), ..good.clone() };
        assert!(decoder.push(&cut).is_err(), "a payload of {length} bytes");
    }
    decoder.push(&good).unwrap();
    let joined = arrow_select::concat::concat_batches(&batch.schema(), [&batch, &batch]).unwrap();
    assert_eq!(decoder.flush().unwrap().unwrap(), joined);
}

#[test]
fn a_small_row_costs_well_under_a_hundred_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    for _ in 0..2 {
        log.main().append(people_entry(&["ada"])).wait().unwrap();
    }
    let entry = log.main().read_from(Offset(1)).unwrap().next().unwrap().unwrap();
    // Eight bytes of id and three of name are the row itself.
    assert!(entry.stored_bytes() - 11 < 50, "{} bytes", entry.stored_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the bytes are, decoding them is a batch or an error.
    #[test]
    fn flipped_bytes_never_panic(
        rows in prop::sample::select(vec![1_usize, 9, 130]),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let batch = all_types(rows, 1, rows == 130);
        let (encoding, mut payload) = encoding::encode(&batch).unwrap();
        for (place, byte) in flips {
            *place.get_mut(&mut payload) ^= byte;
        }
        let part = Part { id: PEOPLE, row_count: rows as u64, encoding, weights: None, payload: payload.into() };
        let _ = part.to_batch(&batch.schema(), None);
    }
}

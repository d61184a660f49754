//! The decoder alone: cut anywhere, garbled anyhow.

use super::CopyDecoder;
use crate::table::PgOutput;
use crate::types::{Unrepresentable, Wire};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Field, Fields, Int32Type};
use bytes::Bytes;
use std::sync::Arc;

fn output(wire: Wire, data_type: DataType) -> PgOutput {
    PgOutput { field: Arc::new(Field::new("v", data_type, true)), wire }
}

fn stream(tuples: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
    let mut bytes = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for tuple in tuples {
        bytes.extend((tuple.len() as i16).to_be_bytes());
        for value in tuple {
            match value {
                Some(value) => {
                    bytes.extend((value.len() as i32).to_be_bytes());
                    bytes.extend(value);
                }
                None => bytes.extend((-1_i32).to_be_bytes()),
            }
        }
    }
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}

fn numeric(digits: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
    let mut bytes = (digits.len() as u16).to_be_bytes().to_vec();
    bytes.extend(weight.to_be_bytes());
    bytes.extend(sign.to_be_bytes());
    bytes.extend(scale.to_be_bytes());
    digits.iter().for_each(|digit| bytes.extend(digit.to_be_bytes()));
    bytes
}

fn outputs() -> Vec<PgOutput> {
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let fields: Fields = vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)].into();
    vec![
        output(Wire::Int4, DataType::Int32),
        output(Wire::Text, DataType::Utf8),
        output(Wire::Numeric { precision: 12, scale: 2 }, DataType::Decimal128(12, 2)),
        output(Wire::Array(Box::new(Wire::Int4)), DataType::List(item)),
        output(Wire::Composite(vec![Wire::Int4, Wire::Text]), DataType::Struct(fields)),
    ]
}

fn sample() -> Vec<u8> {
    let array = [1_i32, 0, 23, 1, 1, 4, 9].iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    let row = [2_i32, 23, 4, 5, 25, 1].iter().flat_map(|n| n.to_be_bytes()).chain(*b"z").collect::<Vec<u8>>();
    let tuple = vec![
        Some(7_i32.to_be_bytes().to_vec()),
        Some("ü".as_bytes().to_vec()),
        Some(numeric(&[12, 5000], 0, 0x4000, 2)),
        Some(array),
        Some(row),
    ];
    stream(&[tuple.clone(), vec![None; 5], tuple])
}

fn decode(chunks: impl IntoIterator<Item = Bytes>) -> polder_catalog::Result<Option<arrow::record_batch::RecordBatch>> {
    let mut decoder = CopyDecoder::new(&outputs(), Unrepresentable::Error, 100)?;
    for chunk in chunks {
        decoder.push(&chunk)?;
    }
    decoder.end()?;
    decoder.take()
}

#[test]
fn a_stream_cut_at_any_byte_decodes_the_same() {
    let bytes = Bytes::from(sample());
    let whole = decode([bytes.clone()]).expect("good bytes").expect("three rows");
    assert_eq!(whole.num_rows(), 3);
    assert_eq!(whole.column(0).as_primitive::<Int32Type>().value(2), 7);
    assert_eq!(whole.column(2).as_primitive::<Decimal128Type>().value_as_string(0), "-12.50");
    assert!(whole.column(3).is_null(1));
    for cut in 0..bytes.len() {
        let parts = decode([bytes.slice(..cut), bytes.slice(cut..)]).expect("good bytes").expect("three rows");
        assert_eq!(parts, whole, "cut at {cut}");
        assert!(decode([bytes.slice(..cut)]).is_err(), "an end at {cut} is no end");
    }
    let crumbs = decode(bytes.iter().map(|byte| Bytes::copy_from_slice(&[*byte]))).expect("good bytes");
    assert_eq!(crumbs.expect("three rows"), whole);
}

// Protects the process from a server that sends nonsense: an error or a batch, never a panic.
#[test]
fn garbled_bytes_never_panic() {
    let good = sample();
    for at in 0..good.len() {
        for value in [0, 1, 2, 0x7f, 0x80, 0xc0, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            let _ = decode([Bytes::from(bytes)]);
        }
    }
}

fn decimal(bytes: Vec<u8>, data_type: DataType, precision: u8, scale: i8) -> polder_catalog::Result<String> {
    let outputs = [output(Wire::Numeric { precision, scale }, data_type.clone())];
    let mut decoder = CopyDecoder::new(&outputs, Unrepresentable::Error, 10)?;
    decoder.push(&Bytes::from(stream(&[vec![Some(bytes)]])))?;
    let batch = decoder.take()?.expect("a row");
    Ok(match data_type {
        DataType::Decimal128(..) => batch.column(0).as_primitive::<Decimal128Type>().value_as_string(0),
        _ => batch.column(0).as_primitive::<Decimal256Type>().value_as_string(0),
    })
}

#[test]
fn numerics_are_exact_or_refused() {
    let narrow = |bytes| decimal(bytes, DataType::Decimal128(10, 3), 10, 3);
    assert_eq!(narrow(numeric(&[], 0, 0, 0)).expect("zero"), "0.000");
    assert_eq!(narrow(numeric(&[1], 1, 0, 0)).expect("ten thousand"), "10000.000");
    assert_eq!(narrow(numeric(&[10], -1, 0, 3)).expect("a thousandth"), "0.001");
    assert!(narrow(numeric(&[1], -1, 0, 4)).is_err(), "a digit too many is not rounded");
    assert!(narrow(numeric(&[1000], 1, 0, 0)).is_err(), "eight digits before the point are too many");
    assert_eq!(narrow(numeric(&[999, 9999, 9990], 1, 0x4000, 3)).expect("the least"), "-9999999.999");
    let error = narrow(numeric(&[1, 5], -1, 0x4000, 8)).expect_err("more digits");
    assert!(error.message().contains("holds -0.00010005"), "{error}");
    // Ten digits of base 10000 hold 40 decimal ones, two more than the value has.
    let full = |bytes| decimal(bytes, DataType::Decimal128(38, 10), 38, 10);
    let nines = [[9999; 9].as_slice(), &[9900]].concat();
    assert_eq!(full(numeric(&nines, 6, 0, 10)).expect("the most"), format!("{}.{}", "9".repeat(28), "9".repeat(10)));
    assert!(full(numeric(&[[9999; 9].as_slice(), &[9990]].concat(), 6, 0, 11)).is_err(), "a digit too many");
    assert!(full(numeric(&[[9999; 9].as_slice(), &[0, 1]].concat(), 6, 0, 16)).is_err(), "digits far behind");
    let odd = |bytes| decimal(bytes, DataType::Decimal256(76, 21), 76, 21);
    let nines = [&[999], [9999; 18].as_slice(), &[9000]].concat();
    assert_eq!(odd(numeric(&nines, 13, 0, 21)).expect("the most"), format!("{}.{}", "9".repeat(55), "9".repeat(21)));
    let wide = |bytes| decimal(bytes, DataType::Decimal256(76, 20), 76, 20);
    assert_eq!(wide(numeric(&[1], 13, 0, 0)).expect("10^52"), format!("1{}.{}", "0".repeat(52), "0".repeat(20)));
    assert_eq!(wide(numeric(&[1], -5, 0x4000, 20)).expect("10^-20"), "-0.00000000000000000001");
    assert!(wide(numeric(&[1], 14, 0, 0)).is_err(), "57 digits before the point are too many");
    assert!(wide(numeric(&[1], 30_000, 0, 0)).is_err());
    assert!(wide(numeric(&[1], -30_000, 0, 0)).is_err());
}

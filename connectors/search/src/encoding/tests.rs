//! Values as words and terms: there and back, and in order.

use super::*;
use arrow::array::Decimal128Array;
use arrow::datatypes::TimeUnit;

fn word_types() -> Vec<DataType> {
    let mut types = vec![DataType::Boolean, DataType::Float32, DataType::Float64, DataType::Date32];
    types.extend([DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64]);
    types.extend([DataType::UInt8, DataType::UInt16, DataType::UInt32, DataType::UInt64]);
    types.extend([DataType::Time64(TimeUnit::Microsecond), DataType::Timestamp(TimeUnit::Nanosecond, None)]);
    types.push(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    types.push(DataType::Decimal128(12, 2));
    types
}

#[test]
fn every_word_comes_back() {
    for data_type in word_types() {
        let values = polder_catalog::conformance::sample(&data_type);
        let back = round_trip(&values).expect("the type is held");
        assert_eq!(back.to_data(), values.to_data(), "{data_type}");
    }
}

#[test]
fn words_are_in_the_order_of_their_values() {
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![
        f64::NEG_INFINITY,
        f64::MIN,
        -1.5,
        -f64::MIN_POSITIVE,
        -0.0,
        0.0,
        f64::MIN_POSITIVE,
        1.5,
        f64::MAX,
        f64::INFINITY,
        f64::NAN,
    ]));
    let integers: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, -2, -1, 0, 1, i64::MAX]));
    for values in [floats, integers] {
        let words = words(&values).expect("the type is held");
        assert!(words.is_sorted(), "{words:?}");
    }
}

#[test]
fn large_decimals_are_bytes_in_order() {
    let largest = 10i128.pow(38) - 1;
    let values: ArrayRef = Arc::new(
        Decimal128Array::from(vec![-largest, -1, 0, 1, largest])
            .with_precision_and_scale(38, 10)
            .expect("a valid type"),
    );
    let terms: Vec<_> = (0..values.len()).map(|row| bytes(&values, row).expect("no NULL").into_owned()).collect();
    assert!(terms.is_sorted(), "{terms:?}");
}

#[test]
fn the_term_of_a_long_value_is_no_value_of_its_own() {
    let long = vec![b'a'; TERM_BYTES_MAX + 1];
    let longer = vec![b'a'; 70_000];
    assert_ne!(term(&long), term(&longer));
    assert_eq!(term(&long).len(), TERM_BYTES_MAX + 32);
    // A value that reads like the term of another is too long to be its own term.
    let forged = term(&longer).into_owned();
    assert_ne!(term(&forged).as_ref(), forged.as_slice());
}

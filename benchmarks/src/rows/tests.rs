use super::*;
use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, StringArray, StringViewArray};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn people(ids: &[i64], names: &[Option<&str>]) -> RecordBatch {
    let names = names.iter().copied().collect::<StringArray>();
    batch(vec![("id", Arc::new(Int64Array::from(ids.to_vec()))), ("name", Arc::new(names))])
}

/// Contenders return rows in any order and any batches.
#[test]
fn order_and_batches_do_not_change_the_fingerprint() {
    let one = [people(&[1, 2, 3], &[Some("a"), None, Some("c")])];
    let other = [people(&[3], &[Some("c")]), people(&[2, 1], &[None, Some("a")])];
    assert_eq!(fingerprint(&one).unwrap(), fingerprint(&other).unwrap());
    assert_equal(&one, "other", &other).unwrap();
}

/// A hash that misses these would call wrong rows equal.
#[test]
fn every_kind_of_difference_changes_the_fingerprint() {
    let reference = [people(&[1, 2], &[Some("a"), Some("b")])];
    let swapped = [people(&[1, 2], &[Some("b"), Some("a")])];
    let repeated = [people(&[1, 1], &[Some("a"), Some("a")])];
    let missing = [people(&[1], &[Some("a")])];
    let null = [people(&[1, 2], &[Some("a"), None])];
    let empty = [people(&[1, 2], &[Some("a"), Some("")])];
    for other in [&swapped, &repeated, &missing, &null, &empty] {
        assert!(assert_equal(&reference, "other", other).is_err(), "{other:?}");
    }
    assert!(assert_equal(&null, "other", &empty).is_err());
}

#[test]
fn another_type_of_the_same_text_is_equal() {
    let reference = [batch(vec![("name", Arc::new(StringArray::from(vec!["a"])))])];
    let view = [batch(vec![("c0", Arc::new(StringViewArray::from(vec!["a"])))])];
    assert_equal(&reference, "other", &view).unwrap();
}

/// DataFusion averages decimals as decimals, DuckDB as doubles.
#[test]
fn an_average_may_differ_in_the_last_digit_of_the_decimal() {
    let decimals = Decimal128Array::from(vec![1_333_333, 5_000_000]).with_precision_and_scale(19, 6).unwrap();
    let reference = [batch(vec![("average", Arc::new(decimals))])];
    let near = [batch(vec![("average", Arc::new(Float64Array::from(vec![5.0, 4.0 / 3.0 + 4e-7])))])];
    let far = [batch(vec![("average", Arc::new(Float64Array::from(vec![5.0, 1.333_336])))])];
    assert_equal(&reference, "other", &near).unwrap();
    assert!(assert_equal(&reference, "other", &far).is_err());
}

/// Two decimals have no excuse.
#[test]
fn decimals_of_one_type_must_be_equal() {
    let decimal = |value| Decimal128Array::from(vec![value]).with_precision_and_scale(15, 2).unwrap();
    let reference = [batch(vec![("price", Arc::new(decimal(100)))])];
    let other = [batch(vec![("price", Arc::new(decimal(101)))])];
    assert!(assert_equal(&reference, "other", &other).is_err());
}

#[test]
fn no_rows_equal_no_rows_only() {
    assert_equal(&[], "other", &[]).unwrap();
    assert_equal(&[people(&[], &[])], "other", &[]).unwrap();
    assert!(assert_equal(&[], "other", &[people(&[1], &[None])]).is_err());
}

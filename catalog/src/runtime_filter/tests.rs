//! What is wanted is never narrower than the filters: said of random filters, and of those that joins make.

use super::*;
use arrow::array::{BooleanArray, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{Field, Schema};
use datafusion_physical_expr::expressions::{case, cast, col, in_list, lit};
use proptest::prelude::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Int64, true)]))
}

/// Every pair of small values and NULL.
fn rows() -> RecordBatch {
    let values: Vec<Option<i32>> = (-1..=6).map(Some).chain([None]).collect();
    let a: Int32Array = values.iter().flat_map(|a| values.iter().map(move |_| *a)).collect();
    let b: Int64Array = values.iter().flat_map(|_| values.iter().map(|b| b.map(i64::from))).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(a), Arc::new(b)]).unwrap()
}

fn passing(filter: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Vec<bool> {
    let answer = filter.evaluate(rows).unwrap().into_array(rows.num_rows()).unwrap();
    let answer = answer.as_any().downcast_ref::<BooleanArray>().unwrap();
    answer.iter().map(|passes| passes == Some(true)).collect()
}

fn is_wanted(wanted: &Wanted, rows: &RecordBatch, row: usize) -> bool {
    let Wanted::Rows(keys) = wanted else { return false };
    keys.iter().all(|keys| {
        let value = ScalarValue::try_from_array(rows.column(keys.column), row).unwrap();
        !value.is_null()
            && keys.values.as_ref().is_none_or(|values| values.contains(&value))
            && keys.low.as_ref().is_none_or(|low| value.partial_cmp(low).unwrap().is_ge())
            && keys.high.as_ref().is_none_or(|high| value.partial_cmp(high).unwrap().is_le())
    })
}

fn wanted(filter: Arc<dyn PhysicalExpr>) -> Wanted {
    RuntimeFilters::new(vec![filter], schema()).wanted().unwrap()
}

fn a() -> Arc<dyn PhysicalExpr> {
    cast(col("a", &schema()).unwrap(), &schema(), DataType::Int64).unwrap()
}

fn b() -> Arc<dyn PhysicalExpr> {
    col("b", &schema()).unwrap()
}

fn binary(left: Arc<dyn PhysicalExpr>, operator: Operator, right: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, operator, right))
}

fn list(of: Arc<dyn PhysicalExpr>, values: &[Option<i64>]) -> Arc<dyn PhysicalExpr> {
    let values = values.iter().map(|value| lit(ScalarValue::Int64(*value))).collect();
    in_list(of, values, &false, &schema()).unwrap()
}

fn filters() -> impl Strategy<Value = Arc<dyn PhysicalExpr>> {
    let column = prop_oneof![Just(a()), Just(b())];
    let operator = prop::sample::select(vec![
        Operator::Eq,
        Operator::NotEq,
        Operator::Lt,
        Operator::LtEq,
        Operator::Gt,
        Operator::GtEq,
    ]);
    let value = prop_oneof![4 => (-1i64..=6).prop_map(Some), 1 => Just(None), 1 => Just(Some(i64::MAX))];
    let leaf = prop_oneof![
        (column.clone(), operator, value.clone()).prop_map(|(column, operator, value)| binary(
            column,
            operator,
            lit(ScalarValue::Int64(value))
        )),
        (column, prop::collection::vec(value, 1..5)).prop_map(|(column, values)| list(column, &values)),
        any::<bool>().prop_map(lit),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| binary(one, Operator::And, other)),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| binary(one, Operator::Or, other)),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(one, two, rest)| {
                // The shape of a join in several parts; which part a row is in does not matter here.
                let part = binary(b(), Operator::Modulo, lit(3i64));
                case(Some(part), vec![(lit(0i64), one), (lit(1i64), two)], Some(rest)).unwrap()
            }),
            inner.prop_map(|of| Arc::new(DynamicFilterPhysicalExpr::new(vec![a(), b()], of)) as _),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_row_that_passes_is_wanted(filter in filters()) {
        let rows = rows();
        let wanted = wanted(Arc::clone(&filter));
        for (row, passes) in passing(&filter, &rows).into_iter().enumerate() {
            prop_assert!(!passes || is_wanted(&wanted, &rows, row), "row {row} of {filter}, wanted: {wanted:?}");
        }
    }
}

#[test]
fn a_filter_that_is_not_filled_in_yet_wants_every_row() {
    let filter = Arc::new(DynamicFilterPhysicalExpr::new(vec![b()], lit(true)));
    let filters = RuntimeFilters::new(vec![Arc::clone(&filter) as _], schema());
    assert_eq!(filters.wanted().unwrap(), Wanted::Rows(vec![]));
    filter.update(list(b(), &[Some(3), None, Some(3)])).unwrap();
    let keys = Keys { column: 1, values: Some(vec![ScalarValue::Int64(Some(3))]), low: None, high: None };
    assert_eq!(filters.wanted().unwrap(), Wanted::Rows(vec![keys]));
}

#[test]
fn keys_are_told_in_the_columns_own_type() {
    let wanted = wanted(list(a(), &[Some(3), Some(i64::MAX)]));
    let keys = Keys { column: 0, values: Some(vec![ScalarValue::Int32(Some(3))]), low: None, high: None };
    assert_eq!(wanted, Wanted::Rows(vec![keys]), "no 32-bit column holds the greatest 64-bit integer");
}

#[test]
fn a_join_without_keys_wants_nothing() {
    assert_eq!(wanted(lit(false)), Wanted::Nothing);
    assert_eq!(wanted(list(b(), &[None])), Wanted::Nothing);
    assert_eq!(wanted(binary(list(b(), &[Some(1)]), Operator::And, list(b(), &[Some(2)]))), Wanted::Nothing);
}

#[test]
fn the_bounds_of_a_join_and_its_values_are_both_known() {
    let bounds = binary(binary(b(), Operator::GtEq, lit(2i64)), Operator::And, binary(b(), Operator::LtEq, lit(9i64)));
    let Wanted::Rows(keys) = wanted(binary(bounds, Operator::And, list(b(), &[Some(2), Some(9)]))) else {
        panic!("something is wanted")
    };
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].values.as_ref().map(Vec::len), Some(2));
    assert_eq!((&keys[0].low, &keys[0].high), (&Some(ScalarValue::Int64(Some(2))), &Some(ScalarValue::Int64(Some(9)))));
    assert_eq!(keys[0].to_string(), "one of 2 (2, 9)");
}

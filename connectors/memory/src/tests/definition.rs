//! The option `tables`: what it takes, and what it says of the rest.

use crate::TablePath;
use crate::definition::{TableDefinition, parse};
use arrow::datatypes::{DataType, TimeUnit};
use polder_catalog::{Kind, SqlState};

fn one(text: &str) -> TableDefinition {
    let tables = parse(text).unwrap_or_else(|error| panic!("{text}: {error} {:?}", error.detail()));
    let [table] = &tables[..] else { panic!("{text}: {} tables", tables.len()) };
    table.clone()
}

/// Each column as `name type`, with `!` where NULL may not be.
fn columns(table: &TableDefinition) -> Vec<String> {
    let fields = table.schema.fields().iter();
    let null = |nullable| if nullable { "" } else { "!" };
    fields.map(|field| format!("{} {}{}", field.name(), field.data_type(), null(field.is_nullable()))).collect()
}

#[test]
fn columns_have_types_and_constraints() {
    let table = one("orders (id bigint PRIMARY KEY, note text NOT NULL, at timestamptz, total numeric(12, 2))");
    assert_eq!(table.path, TablePath::from("orders"));
    assert_eq!(table.key, ["id"]);
    let expected = ["id Int64!", "note Utf8!", "at Timestamp(µs, \"UTC\")", "total Decimal128(12, 2)"];
    assert_eq!(columns(&table), expected);
}

#[test]
fn every_type_has_its_name() {
    for (name, data_type) in [
        ("boolean", DataType::Boolean),
        ("int", DataType::Int32),
        ("DOUBLE   precision", DataType::Float64),
        ("double", DataType::Float64),
        ("varchar", DataType::Utf8),
        ("numeric", DataType::Decimal128(38, 10)),
        ("decimal(5)", DataType::Decimal128(5, 0)),
        ("numeric(60,3)", DataType::Decimal256(60, 3)),
        ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("uuid", DataType::FixedSizeBinary(16)),
    ] {
        assert_eq!(one(&format!("t (c {name} not null)")).schema.field(0).data_type(), &data_type, "{name}");
    }
}

#[test]
fn a_key_may_have_several_columns_and_is_never_null() {
    let table = one("lines (order_id int, line int, note text, PRIMARY KEY (order_id, line))");
    assert_eq!(table.key, ["order_id", "line"]);
    assert_eq!(columns(&table), ["order_id Int32!", "line Int32!", "note Utf8"]);
}

#[test]
fn names_are_folded_unless_quoted() {
    let table = one(r#"Sales.Orders (ID int, "Mixed ""Case""; (x)" text, "not" text, "Key" int PRIMARY KEY)"#);
    assert_eq!(table.path, TablePath::from(("sales", "orders")));
    assert_eq!(columns(&table), ["id Int32", "Mixed \"Case\"; (x) Utf8", "not Utf8", "Key Int32!"]);
    assert_eq!(one(r#""a.b" (c int)"#).path, TablePath::from("a.b"));
}

#[test]
fn tables_are_separated_by_semicolons() {
    let names = |text: &str| parse(text).expect("tables").into_iter().map(|table| table.path.table).collect::<Vec<_>>();
    assert_eq!(names("a (x int); b (y int)"), ["a", "b"]);
    assert_eq!(names("\n a (x int);\n b (y int);\n"), ["a", "b"]);
    assert_eq!(names(""), [""; 0]);
}

#[test]
fn what_is_wrong_is_said() {
    for (text, detail) in [
        ("orders", "'(' is missing"),
        ("orders (", "it ends where the name of a column belongs"),
        ("orders ()", "')' stands where the name of a column belongs"),
        ("orders (id)", "column \"id\" has no type"),
        ("orders (id bigint", "')' is missing"),
        ("orders (id bigint,)", "')' stands where the name of a column belongs"),
        ("orders (id money)", "column \"id\" has no type 'money'; the types are: "),
        ("orders (id numeric(0))", "column \"id\" has no type 'numeric(0)'"),
        ("orders (id numeric(3,4))", "column \"id\" has no type 'numeric(3,4)'"),
        ("orders (id numeric(3", "the type of column \"id\" does not end"),
        ("a (x int) b (y int)", "a semicolon separates two tables"),
        ("\"orders (id int)", "a quoted name does not end"),
        ("orders [id int]", "'[' does not belong here"),
        ("orders (PRIMARY KEY id)", "'(' is missing"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!((error.kind(), error.state()), (Kind::Fix, SqlState::PARAMETER), "{text}");
        let found = error.detail().unwrap_or_default();
        assert!(found.starts_with(detail), "{text}: {found}");
        assert!(error.hint().is_some(), "{text}");
    }
}

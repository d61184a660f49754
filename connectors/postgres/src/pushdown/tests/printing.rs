use crate::pushdown::ast::{Expr, From, Item, Literal, Name, Operator, Query, Text};
use crate::pushdown::print::{print, print_expr};
use arrow::datatypes::i256;

fn text(text: &str) -> Expr {
    Expr::Literal(Literal::Text(Text::new(text).expect("no NUL")))
}

fn integer(value: i64) -> Expr {
    Expr::Literal(Literal::Integer(value))
}

// A quote is doubled wherever it stands: sqlparser's printer leaves it alone after a backslash or another quote.
#[test]
fn quotes_are_doubled_wherever_they_stand() {
    assert_eq!(print_expr(&text(r"\' OR true --")), r"'\'' OR true --'");
    assert_eq!(print_expr(&text("a''b")), "'a''''b'");
    assert_eq!(print_expr(&text("$$;\n")), "'$$;\n'");
    let column = Expr::column(Name::new(r#"a""b\""#).expect("no NUL"));
    assert_eq!(print_expr(&column), r#""a""""b\""""#);
}

// PostgreSQL can neither store nor receive a NUL byte, so no tree holds one.
#[test]
fn nothing_with_a_nul_byte_can_be_built() {
    assert_eq!(Text::new("a\0b"), None);
    assert_eq!(Name::new("a\0b"), None);
}

// `- -1` without its parentheses is a comment that swallows the rest of the line.
#[test]
fn a_minus_never_begins_a_comment() {
    assert_eq!(print_expr(&Expr::Negative(Box::new(integer(-1)))), "- (-1)");
    assert_eq!(print_expr(&integer(5).binary(Operator::Minus, integer(-1))), "5 - (-1)");
    assert_eq!(print_expr(&Expr::Negative(Box::new(Expr::Negative(Box::new(integer(1)))))), "- (- 1)");
}

#[test]
fn decimals_keep_every_digit() {
    let decimal = |unscaled: i128, scale| {
        print_expr(&Expr::Literal(Literal::Decimal { unscaled: i256::from_i128(unscaled), scale }))
    };
    assert_eq!(decimal(12345, 2), "123.45");
    assert_eq!(decimal(5, 3), "0.005");
    assert_eq!(decimal(-5, 3), "(-0.005)");
    assert_eq!(decimal(0, 0), "0.");
    assert_eq!(decimal(7, -2), "700.");
}

#[test]
fn operands_are_bracketed_so_that_precedence_never_matters() {
    let either = Expr::any([text("a").binary(Operator::Eq, text("b")), Expr::Literal(Literal::Boolean(true))]);
    let both = Expr::all([either.expect("two"), Expr::Literal(Literal::Boolean(false))]).expect("two");
    assert_eq!(print_expr(&both), "(('a' = 'b') OR TRUE) AND FALSE");
}

#[test]
fn a_query_without_columns_still_counts_its_rows() {
    let name = |name| Name::new(name).expect("no NUL");
    let from = From::Table { schema: name("public"), table: name("t"), alias: None };
    let mut query = Query::new(Vec::<Item>::new(), from);
    query.restrict(Expr::column(name("ok")));
    query.limit = Some(3);
    assert_eq!(print(&query), r#"SELECT FROM "public"."t" WHERE "ok" LIMIT 3"#);
}

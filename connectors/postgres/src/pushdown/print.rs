//! Prints the tree as PostgreSQL's SQL. The only place where a value or a name becomes text.
//!
//! - Identifiers are always quoted, `"` doubled.
//! - Texts are `'...'` with `'` doubled and nothing else changed: every session of ours pins
//!   `standard_conforming_strings = on`, so a backslash is a character like any other.
//! - Every operand that is not a single token stands in parentheses, so precedence never matters, and a negative
//!   number too: `- (-1)` never turns into the comment `--1`.
//! - Functions, operators and types are `pg_catalog`'s, which sessions search first and alone.

use super::ast::{Expr, From, Item, Literal, Name, Operator, OrderBy, Query, Test, Type};
use std::fmt::Write;

/// The query as text.
pub(crate) fn print(query: &Query) -> String {
    let mut sql = String::new();
    write_query(&mut sql, query);
    sql
}

/// An expression as text.
#[cfg(test)]
pub(crate) fn print_expr(expr: &Expr) -> String {
    let mut sql = String::new();
    write_expr(&mut sql, expr);
    sql
}

fn write_query(sql: &mut String, query: &Query) {
    sql.push_str("SELECT");
    for (index, item) in query.items.iter().enumerate() {
        sql.push_str(if index == 0 { " " } else { ", " });
        write_item(sql, item);
    }
    sql.push_str(" FROM ");
    write_from(sql, &query.from);
    if let Some(filter) = &query.filter {
        sql.push_str(" WHERE ");
        write_conjunction(sql, filter);
    }
    match query.group_by.as_deref() {
        None => {}
        // Without a key and without an aggregate to say so, one group is asked for in words.
        Some([]) => sql.push_str(" GROUP BY ()"),
        Some(keys) => {
            sql.push_str(" GROUP BY ");
            write_list(sql, keys);
        }
    }
    write_order_by(sql, &query.order_by);
    if let Some(limit) = query.limit {
        push(sql, format_args!(" LIMIT {limit}"));
    }
}

fn write_item(sql: &mut String, item: &Item) {
    write_expr(sql, &item.expr);
    if let Some(alias) = &item.alias {
        sql.push_str(" AS ");
        write_name(sql, alias);
    }
}

fn write_from(sql: &mut String, from: &From) {
    match from {
        From::Table { schema, table, alias } => {
            write_name(sql, schema);
            sql.push('.');
            write_name(sql, table);
            if let Some(alias) = alias {
                sql.push_str(" AS ");
                write_name(sql, alias);
            }
        }
        From::Query { query, alias } => {
            sql.push('(');
            write_query(sql, query);
            sql.push_str(") AS ");
            write_name(sql, alias);
        }
        From::Join { left, right, on } => {
            write_from(sql, left);
            sql.push_str(" JOIN ");
            let nested = matches!(**right, From::Join { .. });
            sql.push_str(if nested { "(" } else { "" });
            write_from(sql, right);
            sql.push_str(if nested { ")" } else { "" });
            sql.push_str(" ON ");
            write_conjunction(sql, on);
        }
    }
}

fn write_order_by(sql: &mut String, keys: &[OrderBy]) {
    for (index, key) in keys.iter().enumerate() {
        sql.push_str(if index == 0 { " ORDER BY " } else { ", " });
        write_operand(sql, &key.expr);
        sql.push_str(if key.descending { " DESC" } else { " ASC" });
        sql.push_str(if key.nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
    }
}

/// A condition at the top of WHERE or ON, whose ANDs need no parentheses around them all.
fn write_conjunction(sql: &mut String, condition: &Expr) {
    match condition {
        Expr::And(operands) => write_chain(sql, operands, " AND "),
        other => write_expr(sql, other),
    }
}

fn write_expr(sql: &mut String, expr: &Expr) {
    match expr {
        Expr::Column { table, column } => {
            if let Some(table) = table {
                write_name(sql, table);
                sql.push('.');
            }
            write_name(sql, column);
        }
        Expr::Ctid => sql.push_str("ctid"),
        Expr::Literal(literal) => write_literal(sql, literal),
        Expr::Cast(operand, to) => {
            write_operand(sql, operand);
            sql.push_str("::");
            sql.push_str(type_name(to));
        }
        Expr::CollateC(operand) => {
            write_operand(sql, operand);
            sql.push_str(" COLLATE \"C\"");
        }
        Expr::Not(operand) => {
            sql.push_str("NOT ");
            write_operand(sql, operand);
        }
        Expr::Negative(operand) => {
            sql.push_str("- ");
            write_operand(sql, operand);
        }
        Expr::Is(operand, test) => {
            write_operand(sql, operand);
            sql.push_str(test_words(*test));
        }
        Expr::Binary { left, operator, right } => {
            write_operand(sql, left);
            sql.push_str(operator_symbol(*operator));
            write_operand(sql, right);
        }
        Expr::And(operands) => write_chain(sql, operands, " AND "),
        Expr::Or(operands) => write_chain(sql, operands, " OR "),
        Expr::InList { operand, items, negated } => {
            write_operand(sql, operand);
            sql.push_str(if *negated { " NOT IN (" } else { " IN (" });
            write_list(sql, items);
            sql.push(')');
        }
        Expr::Case { operand, branches, otherwise } => {
            write_case(sql, operand.as_deref(), branches, otherwise.as_deref());
        }
        Expr::Call { function, arguments } => {
            sql.push_str(function);
            sql.push('(');
            write_list(sql, arguments);
            sql.push(')');
        }
        Expr::Extract { field, operand } => {
            push(sql, format_args!("EXTRACT({field} FROM "));
            write_expr(sql, operand);
            sql.push(')');
        }
        Expr::Aggregate { function, distinct, argument, filter } => {
            sql.push_str(function);
            sql.push_str(if *distinct { "(DISTINCT " } else { "(" });
            match argument {
                Some(argument) => write_expr(sql, argument),
                None => sql.push('*'),
            }
            sql.push(')');
            if let Some(filter) = filter {
                sql.push_str(" FILTER (WHERE ");
                write_expr(sql, filter);
                sql.push(')');
            }
        }
    }
}

fn write_case(sql: &mut String, operand: Option<&Expr>, branches: &[(Expr, Expr)], otherwise: Option<&Expr>) {
    sql.push_str("CASE");
    if let Some(operand) = operand {
        sql.push(' ');
        write_operand(sql, operand);
    }
    for (when, then) in branches {
        sql.push_str(" WHEN ");
        write_operand(sql, when);
        sql.push_str(" THEN ");
        write_operand(sql, then);
    }
    if let Some(otherwise) = otherwise {
        sql.push_str(" ELSE ");
        write_operand(sql, otherwise);
    }
    sql.push_str(" END");
}

/// An expression where precedence could matter: in parentheses, unless it is one token or brings its own brackets.
fn write_operand(sql: &mut String, expr: &Expr) {
    if stands_alone(expr) {
        write_expr(sql, expr);
    } else {
        sql.push('(');
        write_expr(sql, expr);
        sql.push(')');
    }
}

fn stands_alone(expr: &Expr) -> bool {
    match expr {
        Expr::Column { .. }
        | Expr::Ctid
        // Negative numbers bring their parentheses; `::` binds tighter than every operator.
        | Expr::Literal(_)
        | Expr::Cast(..)
        | Expr::Case { .. }
        | Expr::Call { .. }
        | Expr::Extract { .. }
        | Expr::Aggregate { .. } => true,
        Expr::CollateC(_)
        | Expr::Not(_)
        | Expr::Negative(_)
        | Expr::Is(..)
        | Expr::Binary { .. }
        | Expr::And(_)
        | Expr::Or(_)
        | Expr::InList { .. } => false,
    }
}

fn write_list(sql: &mut String, items: &[Expr]) {
    for (index, item) in items.iter().enumerate() {
        sql.push_str(if index == 0 { "" } else { ", " });
        write_expr(sql, item);
    }
}

fn write_chain(sql: &mut String, operands: &[Expr], between: &str) {
    for (index, operand) in operands.iter().enumerate() {
        sql.push_str(if index == 0 { "" } else { between });
        write_operand(sql, operand);
    }
}

fn write_name(sql: &mut String, name: &Name) {
    write_quoted(sql, name.as_str(), '"');
}

fn write_literal(sql: &mut String, literal: &Literal) {
    match literal {
        Literal::Null => sql.push_str("NULL"),
        Literal::Boolean(true) => sql.push_str("TRUE"),
        Literal::Boolean(false) => sql.push_str("FALSE"),
        Literal::Integer(value) => write_number(sql, &value.to_string()),
        Literal::Decimal { unscaled, scale } => write_number(sql, &decimal_digits(&unscaled.to_string(), *scale)),
        Literal::Text(text) => write_quoted(sql, text.as_str(), '\''),
    }
}

fn write_number(sql: &mut String, digits: &str) {
    if digits.starts_with('-') {
        push(sql, format_args!("({digits})"));
    } else {
        sql.push_str(digits);
    }
}

/// `-1234`, 3 → `-1.234`: every digit, and always a point, so that PostgreSQL reads a `numeric`.
fn decimal_digits(unscaled: &str, scale: i8) -> String {
    let (sign, digits) = unscaled.strip_prefix('-').map_or(("", unscaled), |digits| ("-", digits));
    let Ok(scale) = usize::try_from(scale) else {
        return format!("{sign}{digits}{}.", "0".repeat(usize::from(scale.unsigned_abs())));
    };
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

fn write_quoted(sql: &mut String, text: &str, quote: char) {
    sql.push(quote);
    for character in text.chars() {
        if character == quote {
            sql.push(quote);
        }
        sql.push(character);
    }
    sql.push(quote);
}

fn type_name(to: &Type) -> &'static str {
    match to {
        Type::Bool => "bool",
        Type::Int2 => "int2",
        Type::Int4 => "int4",
        Type::Int8 => "int8",
        Type::Float4 => "float4",
        Type::Float8 => "float8",
        Type::Numeric => "numeric",
        Type::Text => "text",
        Type::TextArray => "text[]",
        Type::Bytea => "bytea",
        Type::Uuid => "uuid",
        Type::Date => "date",
        Type::Time => "time",
        Type::Timestamp => "timestamp",
        Type::Timestamptz => "timestamptz",
        Type::Tid => "tid",
    }
}

fn test_words(test: Test) -> &'static str {
    match test {
        Test::Null => " IS NULL",
        Test::NotNull => " IS NOT NULL",
        Test::True => " IS TRUE",
        Test::NotTrue => " IS NOT TRUE",
        Test::False => " IS FALSE",
        Test::NotFalse => " IS NOT FALSE",
        Test::Unknown => " IS UNKNOWN",
        Test::NotUnknown => " IS NOT UNKNOWN",
    }
}

fn operator_symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => " = ",
        Operator::NotEq => " <> ",
        Operator::Lt => " < ",
        Operator::LtEq => " <= ",
        Operator::Gt => " > ",
        Operator::GtEq => " >= ",
        Operator::IsDistinctFrom => " IS DISTINCT FROM ",
        Operator::IsNotDistinctFrom => " IS NOT DISTINCT FROM ",
        Operator::Plus => " + ",
        Operator::Minus => " - ",
        Operator::Multiply => " * ",
        Operator::Divide => " / ",
        Operator::Modulo => " % ",
        Operator::Concat => " || ",
        Operator::Like => " LIKE ",
        Operator::NotLike => " NOT LIKE ",
    }
}

fn push(sql: &mut String, text: std::fmt::Arguments<'_>) {
    sql.write_fmt(text).expect("a String takes every write");
}

//! `DEFAULT` in place of a value.

use crate::definitions::TableDefinition;
use crate::sql::{self, Query};
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, Expr, SetExpr, Value};
use polder_catalog::{Error, Result, SqlState};

/// Puts defaults in place of `DEFAULT` in `VALUES`.
pub(super) fn replace(query: &mut Query, table: &TableDefinition, columns: &[String]) -> Result<()> {
    let DataFusionStatement::Statement(statement) = &mut query.0 else { return Ok(()) };
    let ast::Statement::Query(query) = statement.as_mut() else { return Ok(()) };
    let SetExpr::Values(values) = query.body.as_mut() else { return Ok(()) };
    for row in &mut values.rows {
        for (at, value) in row.content.iter_mut().enumerate().filter(|(_, value)| is_default(value)) {
            let name = match columns.is_empty() {
                true => table.columns.get(at).map(|column| column.field.name()),
                false => columns.get(at),
            };
            let name = name.ok_or_else(|| Error::fix(SqlState::SYNTAX, "DEFAULT stands where no column is"))?;
            *value = default_of(table, name)?;
        }
    }
    Ok(())
}

/// Puts the default of a column in place of `DEFAULT`.
pub(super) fn replace_one(value: &mut Expr, table: &TableDefinition, column: &str) -> Result<()> {
    if is_default(value) {
        *value = default_of(table, column)?;
    }
    Ok(())
}

fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

/// NULL if there is none; that of an identity column is filled in later.
fn default_of(table: &TableDefinition, column: &str) -> Result<Expr> {
    let default = table.columns.iter().find(|known| known.field.name() == column);
    match default.and_then(|column| column.default.as_ref()) {
        None => Ok(Expr::Value(Value::Null.into())),
        Some(text) => sql::expression(text),
    }
}

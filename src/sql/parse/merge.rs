//! `MERGE INTO table USING source ON condition WHEN ...`.

use super::table::{assignments, column, name, refuse, unsupported};
use crate::sql::statement::{MergeAction, MergeClause, MergeSpec, Statement};
use datafusion::sql::sqlparser::ast;
use polder_catalog::{Error, Result, SqlState};

pub(super) fn merge(merge: ast::Merge) -> Result<Statement> {
    refuse(&[(merge.output.is_some(), "OUTPUT")])?;
    let ast::TableFactor::Table { name: table, alias, args: None, .. } = &merge.table else {
        return Err(unsupported("MERGE into something that is not a table"));
    };
    let alias = alias.as_ref().map(|alias| super::normalize(alias.name.clone()));
    let clauses = merge.clauses.into_iter().map(clause).collect::<Result<Vec<_>>>()?;
    let spec = MergeSpec { alias, source: merge.source, on: *merge.on, clauses };
    Ok(Statement::Merge { table: name(table)?, merge: Box::new(spec) })
}

fn clause(clause: ast::MergeClause) -> Result<MergeClause> {
    let matched = match clause.clause_kind {
        ast::MergeClauseKind::Matched => true,
        ast::MergeClauseKind::NotMatched | ast::MergeClauseKind::NotMatchedByTarget => false,
        ast::MergeClauseKind::NotMatchedBySource => return Err(unsupported("WHEN NOT MATCHED BY SOURCE")),
    };
    let action = match clause.action {
        ast::MergeAction::Delete { .. } => MergeAction::Delete,
        ast::MergeAction::Update(update) => {
            refuse(&[(
                update.update_predicate.is_some() || update.delete_predicate.is_some(),
                "UPDATE ... WHERE in MERGE",
            )])?;
            MergeAction::Update(assignments(update.assignments)?)
        }
        ast::MergeAction::Insert(insert) => {
            refuse(&[(insert.insert_predicate.is_some(), "INSERT ... WHERE in MERGE")])?;
            let columns = insert.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
            let ast::MergeInsertKind::Values(values) = insert.kind else { return Err(unsupported("INSERT ROW")) };
            let [values] = &values.rows[..] else {
                return Err(Error::fix(SqlState::SYNTAX, "MERGE inserts one row for each that does not match"));
            };
            MergeAction::Insert { columns, values: values.content.clone() }
        }
    };
    match (matched, &action) {
        (true, MergeAction::Insert { .. }) => Err(Error::fix(SqlState::SYNTAX, "WHEN MATCHED does not INSERT")),
        (false, MergeAction::Update(_) | MergeAction::Delete) => {
            Err(Error::fix(SqlState::SYNTAX, "WHEN NOT MATCHED can only INSERT"))
        }
        _ => Ok(MergeClause { matched, condition: clause.predicate, action }),
    }
}

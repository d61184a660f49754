//! Text to a statement: PostgreSQL-flavoured DataFusion SQL, plus the statements that only Polder has.
//!
//! Pure: nothing here knows what exists. A head word that is ours is read here, with the expressions and queries inside
//! it left to sqlparser; everything else goes to DataFusion's parser as it stands.

mod as_of;
mod explain;
mod expression;
mod keywords;
mod parameters;
mod parse;
mod print;
mod shown;
mod question;
pub mod split;
mod statement;
#[cfg(test)]
mod tests;

pub(crate) use as_of::as_of;
pub(crate) use explain::Explaining;
pub(crate) use expression::{expression, has_query, names_in, select, select_where, select_with, with_current_user};
pub(crate) use keywords::KEYWORDS;
pub(crate) use parameters::{
    Argument, Types, assigned_rows, bind, bind_names, bind_names_in, cast_parameters, casts, limits, parameter,
    parameter_count, rows_of_parameters,
};
pub(crate) use parse::{parse, steps};
pub(crate) use print::{identifier, literal};
pub(crate) use question::numbered;
pub(crate) use shown::Shown;
pub(crate) use statement::{
    AccessStatement, CheckSpec, ColumnSpec, CopySource, GrantObject, Identity, IfExists, InTransaction, MergeAction,
    MergeClause, MergeSpec, Name, OnConflict, ProcedureDefinition, Query, ReferenceSpec, RoleOptions, RuleSpec,
    Statement, Step, TableChange, TableSpec, ViewDefinition, Which,
};

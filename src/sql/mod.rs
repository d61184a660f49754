//! Text to a statement: PostgreSQL-flavoured DataFusion SQL, plus the statements that only Polder has.
//!
//! Pure: nothing here knows what exists. A head word that is ours is read here, with the expressions and queries inside
//! it left to sqlparser; everything else goes to DataFusion's parser as it stands.

mod parameters;
mod parse;
mod print;
pub mod split;
mod statement;
#[cfg(test)]
mod tests;

pub(crate) use parameters::{bind, rows_of_parameters};
pub(crate) use parse::parse;
pub(crate) use print::{identifier, literal};
pub(crate) use statement::{
    ColumnSpec, CopySource, IfExists, InTransaction, Name, Query, Statement, TableChange, TableSpec, ViewDefinition,
};

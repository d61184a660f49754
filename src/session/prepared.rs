//! Prepared statements: read once, run many times with other values.

use crate::activity::{Running, TEXT_BYTES};
use crate::execute;
use crate::requests::Request;
use crate::session::{Outcome, Session, Words, watched};
use crate::sql::{self, Shown, Statement};
use datafusion::scalar::ScalarValue;
use polder_catalog::Error;
use polder_catalog::{Result, SqlState};
use std::sync::Arc;

/// A statement whose parameters, `$1`, `$2`, ..., get their values when it is run.
///
/// It names tables, and is no promise about them: what they are is looked up each time.
#[derive(Debug)]
pub struct Prepared {
    sql: String,
    shown: Arc<Shown>,
    statement: Statement,
    /// Of an INSERT that has nothing but parameters.
    rows: Option<Vec<Vec<usize>>>,
}

impl Prepared {
    pub(crate) fn statement(&self) -> &Statement {
        &self.statement
    }

    /// What is answered after so many rows, in PostgreSQL's words: `SELECT 3`.
    pub fn tag(&self, rows: u64) -> String {
        match &self.statement {
            Statement::Query(_) => format!("SELECT {rows}"),
            Statement::Insert { .. } => format!("INSERT 0 {rows}"),
            Statement::Update { .. } => format!("UPDATE {rows}"),
            Statement::Delete { .. } => format!("DELETE {rows}"),
            Statement::Explain { .. } => "EXPLAIN".to_string(),
            _ => "SHOW".to_string(),
        }
    }

    /// Whether it is about the session alone: where each statement has a session of its own, it would be lost.
    pub(crate) fn is_about_the_session(&self) -> bool {
        self.statement.is_about_the_session()
    }
}

impl Session {
    /// Reads a statement.
    ///
    /// # Errors
    /// 42601 if it cannot be read. Whether its names exist is told when it is run.
    pub fn prepare(&self, sql: &str) -> Result<Prepared> {
        let shown = Arc::new(Shown::of(sql, TEXT_BYTES));
        let statement = sql::parse(sql).inspect_err(|error| self.enter(Arc::clone(&shown)).failed(error))?;
        let rows = match &statement {
            Statement::Insert { query, conflict: None, returning, .. } if returning.is_empty() => {
                sql::rows_of_parameters(query)
            }
            _ => None,
        };
        Ok(Prepared { sql: sql.to_string(), shown, statement, rows })
    }

    /// Runs a prepared statement with values for its parameters. A request id names the statement with these values.
    ///
    /// # Errors
    /// 42P02 if a value is missing; all that [`run`](Self::run) tells.
    pub async fn run_prepared(&self, prepared: &Prepared, values: &[ScalarValue]) -> Result<Outcome> {
        self.run_begun(self.begin(prepared), prepared, values).await
    }

    /// A prepared statement begins, to be run by [`run_begun`](Self::run_begun).
    pub(crate) fn begin(&self, prepared: &Prepared) -> Running {
        self.enter(Arc::clone(&prepared.shown))
    }

    pub(crate) async fn run_begun(
        &self,
        running: Running,
        prepared: &Prepared,
        values: &[ScalarValue],
    ) -> Result<Outcome> {
        watched(running, self.run_bare(prepared, values)).await
    }

    async fn run_bare(&self, prepared: &Prepared, values: &[ScalarValue]) -> Result<Outcome> {
        let words = Words { sql: &prepared.sql, values };
        let request = self.take_request(&prepared.statement, words)?;
        let (kind, writes) = (prepared.statement.in_transaction(), prepared.statement.writes());
        let run = Box::pin(self.run_bound(prepared, values, request));
        self.guarded(kind, writes, words, run).await
    }

    async fn run_bound(
        &self,
        prepared: &Prepared,
        values: &[ScalarValue],
        request: Option<Request>,
    ) -> Result<Outcome> {
        if let (Statement::Insert { table, columns, .. }, Some(rows)) = (&prepared.statement, &prepared.rows)
            && !self.settings().is_not_waited_for()
        {
            let missing = rows.iter().flatten().find(|at| **at >= values.len());
            if let Some(at) = missing {
                return Err(Error::fix(SqlState::NO_PARAMETER, format!("parameter ${} has no value", at + 1)));
            }
            let rows = GivenRows { places: rows, values };
            if let Some(outcome) = execute::insert_rows(self, table, columns, rows, request.clone()).await? {
                return Ok(outcome);
            }
        }
        self.run_statement(sql::bind(&prepared.statement, values)?, request).await
    }
}

/// Rows of values: for each row, which value stands in which column. All places are those of values.
#[derive(Clone, Copy)]
pub(crate) struct GivenRows<'a> {
    pub(crate) places: &'a [Vec<usize>],
    pub(crate) values: &'a [ScalarValue],
}

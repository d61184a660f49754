//! A session: one client's settings, and the door through which every statement comes.

mod copy;
mod prepared;
mod rows;
mod settings;

pub use copy::CopyIn;
pub(crate) use copy::Piece;

pub use prepared::Prepared;
pub(crate) use rows::rows_and_bytes;
pub use rows::{Notices, Progress, Rows, SourceProgress};
pub(crate) use settings::{SPECS as SETTINGS, Settings};

use crate::engine::Engine;
use crate::requests::Request;
use crate::sql::Statement;
use crate::{execute, sql};
use arrow::record_batch::RecordBatch;
use datafusion::scalar::ScalarValue;
use polder_catalog::Result;
use std::sync::{Mutex, PoisonError};

/// Servers will tell who asks; until then it is the user of the process.
pub(crate) const USER: &str = "local";

/// One client of an [`Engine`]. Statements may run concurrently; settings are read when a statement starts.
#[derive(Debug)]
pub struct Session {
    pub(crate) engine: Engine,
    settings: Mutex<Settings>,
}

/// What a statement gives.
#[derive(Debug)]
pub enum Outcome {
    /// Rows, as a stream.
    Rows(Rows),
    /// Nothing but the tag of what was done: `CREATE CATALOG`.
    Done(String),
    /// `COPY ... FROM STDIN`: waits for the rows that the client sends.
    CopyIn(CopyIn),
}

impl Session {
    pub(crate) fn new(engine: Engine) -> Self {
        let settings = Mutex::new(Settings::new(&engine.0.config));
        Self { engine, settings }
    }

    /// A session with the settings of another.
    pub(crate) fn with_settings(engine: Engine, settings: Settings) -> Self {
        Self { engine, settings: Mutex::new(settings) }
    }

    /// Runs exactly one statement. Rows are read as they are asked for; dropping the future or the rows cancels the work
    /// here and at the sources.
    ///
    /// # Errors
    /// Whatever is wrong with the statement, a name in it, or a source. Errors of single rows come from [`Rows::next`].
    pub async fn run(&self, sql: &str) -> Result<Outcome> {
        let statement = sql::parse(sql)?;
        let request = if statement.writes() { self.take_request(sql, &[])? } else { None };
        self.run_statement(statement, request).await
    }

    async fn run_statement(&self, statement: Statement, request: Option<Request>) -> Result<Outcome> {
        if statement.writes() && self.settings().is_not_waited_for() {
            return Box::pin(execute::without_waiting(self, statement, request)).await;
        }
        execute::statement(self, statement, request).await
    }

    /// The request that a statement is of: its id serves once.
    fn take_request(&self, sql: &str, values: &[ScalarValue]) -> Result<Option<Request>> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(id) = settings.request_id() else { return Ok(None) };
        settings.reset("request_id")?;
        // The types belong to the values: '1' is another statement than 1.
        let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
        let words = std::iter::once(sql.trim().trim_end_matches(';')).chain(values.iter().map(String::as_str));
        Ok(Some(Request::new(USER, &id, words)))
    }

    /// Appends rows to a topic, in its columns and in order, and tells how many: what an embedder sends as Arrow needs no
    /// SQL around it. They are durable when this returns; many calls at once share the sync of the disk.
    ///
    /// # Errors
    /// 42P01 for an unknown topic, 42804 for other columns, 23502 for NULL where none may be: then nothing was appended.
    pub async fn append(&self, topic: &str, rows: RecordBatch) -> Result<u64> {
        execute::append(self, topic, rows).await
    }

    /// The engine of this session.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The names of all functions, for completion.
    pub fn function_names(&self) -> Vec<String> {
        let state = &self.engine.0.template;
        let scalar = state.scalar_functions().keys();
        let names = scalar.chain(state.aggregate_functions().keys()).chain(state.window_functions().keys());
        let mut names: Vec<String> = names.cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Settings) -> Result<()>) -> Result<()> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = settings.clone();
        change(&mut changed)?;
        *settings = changed;
        Ok(())
    }
}

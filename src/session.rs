//! A session: one client's settings, and the door through which every statement comes.

mod compatible;
mod copy;
mod describe;
mod ingest;
mod prepared;
mod rows;
mod settings;
mod transaction;

pub(crate) use compatible::{REPORTED, reported_name};
pub use copy::CopyIn;
pub(crate) use copy::Piece;
pub use describe::Description;

pub(crate) use prepared::GivenRows;
pub use prepared::Prepared;
pub(crate) use rows::rows_and_bytes;
pub use rows::{Notices, Progress, Rows, SourceProgress};
pub(crate) use settings::{SPECS as SETTINGS, Settings};
pub(crate) use transaction::{COMMIT, Change, Transaction};

use crate::activity::{Origin, Protocol, Running, TEXT_BYTES};
use crate::engine::Engine;
use crate::memory::QueryMemory;
use crate::requests::Request;
use crate::sql::{InTransaction, Shown, Statement};
use crate::{execute, sql};
use arrow::record_batch::RecordBatch;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::scalar::ScalarValue;
use polder_catalog::{Error, Position, Result, SqlState};
use polder_rows::View;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One client of an [`Engine`]. Statements may run concurrently; settings are read when a statement starts.
#[derive(Debug)]
pub struct Session {
    pub(crate) engine: Engine,
    user: Arc<str>,
    protocol: Protocol,
    settings: Mutex<Arc<Settings>>,
    transaction: Mutex<Option<Transaction>>,
    /// What was read and written so far.
    position: Mutex<Position>,
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

/// Where a session stands in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// In none: each statement is one of its own.
    Idle,
    /// In one.
    Open,
    /// In one that can only be rolled back.
    Failed,
}

impl Session {
    /// Where this session stands in a transaction.
    pub fn transaction_status(&self) -> TransactionStatus {
        match self.transaction().as_ref() {
            None => TransactionStatus::Idle,
            Some(transaction) if transaction.has_failed() => TransactionStatus::Failed,
            Some(_) => TransactionStatus::Open,
        }
    }

    pub(crate) fn new(engine: Engine, user: Arc<str>) -> Self {
        let settings = Arc::new(Settings::new(&engine.0.config, false));
        Self::with_settings(engine, user, settings)
    }

    fn with_settings(engine: Engine, user: Arc<str>, settings: Arc<Settings>) -> Self {
        let (settings, protocol) = (Mutex::new(settings), Protocol::Local);
        Self { engine, user, protocol, settings, transaction: Mutex::default(), position: Mutex::default() }
    }

    /// A new one for a user who is served over a protocol: its statements have limits.
    pub(crate) fn served(engine: Engine, user: Arc<str>, protocol: Protocol) -> Self {
        let settings = Arc::new(Settings::new(&engine.0.config, true));
        Self { protocol, ..Self::with_settings(engine, user, settings) }
    }

    /// A new one for the client of another, with its settings as they are now.
    pub(crate) fn again(&self) -> Self {
        let again = Self::with_settings(self.engine.clone(), Arc::clone(&self.user), self.settings());
        Self { protocol: self.protocol, ..again }
    }

    /// The memory of one statement.
    pub(crate) fn memory(&self) -> Arc<dyn MemoryPool> {
        let engine = &self.engine.0;
        match self.protocol {
            Protocol::Local => Arc::clone(&engine.runtime.memory_pool),
            _ => QueryMemory::of(&engine.runtime.memory_pool, engine.config.server.query_memory_percent()),
        }
    }

    /// Whose rights its statements have.
    pub(crate) fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// Runs exactly one statement. Rows are read as they are asked for; dropping the future or the rows cancels the work
    /// here and at the sources.
    ///
    /// # Errors
    /// Whatever is wrong with the statement, a name in it, or a source. Errors of single rows come from [`Rows::next`].
    pub async fn run(&self, sql: &str) -> Result<Outcome> {
        let running = self.enter(Arc::new(Shown::of(sql, TEXT_BYTES)));
        let run = async {
            let statement = sql::parse(sql).map_err(|error| self.failed(error))?;
            let words = Words { sql, values: &[] };
            let request = self.take_request(&statement, words)?;
            let (kind, writes) = (statement.in_transaction(), statement.writes());
            let run = Box::pin(self.run_statement(statement, request));
            self.guarded(kind, writes, words, run).await
        };
        watched(running, run).await
    }

    /// A statement begins.
    fn enter(&self, shown: Arc<Shown>) -> Running {
        let engine = &self.engine.0;
        let settings = self.settings();
        let (application, timeout) = (settings.value("application_name"), settings.statement_timeout());
        let origin = Origin { user: Arc::clone(&self.user), protocol: self.protocol, application, timeout };
        let bytes_max = match self.protocol {
            Protocol::Local => None,
            // It was checked when the configuration was read.
            _ => engine.config.server.result_bytes().unwrap_or_default(),
        };
        engine.activity.begin(&engine.env, origin, shown).limited(bytes_max)
    }

    async fn run_statement(&self, statement: Statement, request: Option<Request>) -> Result<Outcome> {
        if statement.writes() && self.settings().is_not_waited_for() && !self.in_transaction() {
            return Box::pin(execute::without_waiting(self, statement, request)).await;
        }
        execute::statement(self, statement, request).await
    }

    /// Runs what a statement does, as the transaction allows if there is one.
    async fn guarded(
        &self,
        kind: InTransaction,
        writes: bool,
        words: Words<'_>,
        run: impl Future<Output = Result<Outcome>>,
    ) -> Result<Outcome> {
        if let Some(transaction) = self.transaction().as_mut() {
            let checked = match kind {
                InTransaction::Ends => Ok(()),
                InTransaction::Reads => transaction.check(false),
                InTransaction::Writes => transaction.check(true),
                InTransaction::Never => {
                    Err(Error::fix(SqlState::IN_TRANSACTION, "this statement cannot stand in a transaction")
                        .with_hint("COMMIT or ROLLBACK it first"))
                }
            };
            if let Err(error) = checked {
                transaction.fail();
                return Err(error);
            }
            if writes && let Some(tag) = transaction.note(words) {
                return Ok(Outcome::Done(tag));
            }
        }
        run.await.map_err(|error| self.failed(error))
    }

    /// An error leaves a transaction nothing but to be rolled back.
    pub(crate) fn failed(&self, error: Error) -> Error {
        self.transaction().as_mut().into_iter().for_each(Transaction::fail);
        error
    }

    fn transaction(&self) -> MutexGuard<'_, Option<Transaction>> {
        self.transaction.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction().is_some()
    }

    /// The tables as the transaction sees them, if there is one.
    pub(crate) fn view(&self) -> Option<Arc<View>> {
        self.transaction().as_ref().map(|transaction| Arc::clone(&transaction.view))
    }

    /// Begins or ends a transaction; gives back the one before.
    pub(crate) fn set_transaction(&self, transaction: Option<Transaction>) -> Option<Transaction> {
        std::mem::replace(&mut *self.transaction(), transaction)
    }

    /// Adds what a statement has changed to the transaction.
    pub(crate) fn add_changes(&self, changes: impl IntoIterator<Item = Change>, tag: &str) {
        if let Some(transaction) = self.transaction().as_mut() {
            transaction.add(changes, tag);
        }
    }

    /// The id of the next request: it serves once.
    pub(crate) fn take_request_id(&self) -> Result<Option<String>> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let id = settings.request_id();
        if id.is_some() {
            Arc::make_mut(&mut settings).reset("request_id")?;
        }
        Ok(id)
    }

    /// The request that a statement is of.
    fn take_request(&self, statement: &Statement, words: Words<'_>) -> Result<Option<Request>> {
        if !statement.writes() {
            return Ok(None);
        }
        let id = self.take_request_id()?;
        if id.is_some() && self.in_transaction() {
            let error = Error::fix(SqlState::IN_TRANSACTION, "a request id serves a transaction as a whole");
            return Err(self.failed(error.with_hint("SET request_id before BEGIN")));
        }
        Ok(id.map(|id| Request::new(&self.user, &id, words.listed().iter().map(String::as_str))))
    }

    /// Appends rows to a topic, in its columns and in order, and tells how many: what an embedder sends as Arrow needs no
    /// SQL around it. They are durable when this returns; many calls at once share the sync of the disk.
    ///
    /// # Errors
    /// 42P01 for an unknown topic, 42804 for other columns, 23502 for NULL where none may be: then nothing was appended.
    pub async fn append(&self, topic: &str, rows: RecordBatch) -> Result<u64> {
        execute::append(self, topic, rows).await
    }

    /// What this session has read and written so far, as a cut through the log: as text it is a token, which other sessions can
    /// be asked to read after (`SET read_after`), and which names one state for ever (`AS OF`).
    pub fn position(&self) -> Position {
        self.position.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what a statement has read or written.
    pub(crate) fn reached(&self, position: &Position) {
        let mut known = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        for (shard, offset) in &position.shards {
            let known = known.shards.entry(shard.clone()).or_insert(*offset);
            *known = (*known).max(*offset);
        }
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

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Settings) -> Result<()>) -> Result<()> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Settings::clone(&settings);
        change(&mut changed)?;
        *settings = Arc::new(changed);
        Ok(())
    }
}

/// Runs a statement and notes its end; of rows, that is their end.
async fn watched(running: Running, run: impl Future<Output = Result<Outcome>>) -> Result<Outcome> {
    match running.run(run).await {
        Ok(Outcome::Rows(rows)) => Ok(Outcome::Rows(rows.watched(running))),
        Ok(Outcome::CopyIn(copy)) => Ok(Outcome::CopyIn(copy.watched(running))),
        Ok(Outcome::Done(tag)) => {
            running.done();
            Ok(Outcome::Done(tag))
        }
        Err(error) => {
            running.failed(&error);
            Err(error)
        }
    }
}

/// What makes a statement another one: its text, and its values with their types, for '1' is not 1.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    sql: &'a str,
    values: &'a [ScalarValue],
}

impl Words<'_> {
    pub(crate) fn listed(self) -> Vec<String> {
        let text = self.sql.trim().trim_end_matches(';').to_string();
        std::iter::once(text).chain(self.values.iter().map(|value| format!("{value:?}"))).collect()
    }
}

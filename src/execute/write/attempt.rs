//! One try at a statement that changes rows: what it is about, what keeps what it reads true, and how it ends.

use crate::commit::{Committed, outcome_entry, position};
use crate::definitions::TableDefinition;
use crate::effects::cause;
use crate::engine::Inner;
use crate::execute::write::draft::Draft;
use crate::execute::write::{not_in_transaction, returning, shown};
use crate::requests::Request;
use crate::session::Session;
use arrow::array::RecordBatch;
use datafusion::sql::sqlparser::ast::SelectItem;
use polder_catalog::{Error, ReadContext, Result, SqlState};
use polder_log::store::{EntryKind, MAIN};
use polder_rows::{Reads, View};
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard};

/// What every statement that changes rows is about.
pub(super) struct Attempt<'a> {
    pub(super) session: &'a Session,
    pub(super) context: ReadContext,
    /// As it is now: it may have been altered since the statement was read.
    pub(super) table: TableDefinition,
    pub(super) request: Option<Request>,
    pub(super) returning: &'a [SelectItem],
    writing: Writing,
}

/// How a statement has ended.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) tag: String,
    /// What RETURNING asked for.
    pub(super) rows: Option<RecordBatch>,
}

/// What keeps what a statement has read true until its entry is decided.
enum Writing {
    /// Of another catalog: its writers take turns.
    InTurn { _turn: Option<OwnedMutexGuard<()>> },
    /// Of Polder's own tables: what was read is compared with what was decided since.
    Own { reads: Reads, _gate: Gate },
    /// In a transaction, which is decided when it commits.
    InTransaction { view: Arc<View> },
}

/// Others may write meanwhile, or nobody.
pub(in crate::execute) enum Gate {
    Together { _guard: OwnedRwLockReadGuard<()> },
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

impl Gate {
    /// # Errors
    /// The context's, if that ends first.
    pub(in crate::execute) async fn enter(engine: &Inner, alone: bool, context: &ReadContext) -> Result<Self> {
        let enter = async {
            let gate = Arc::clone(&engine.gate);
            match alone {
                true => Self::Alone { _guard: gate.write_owned().await },
                false => Self::Together { _guard: gate.read_owned().await },
            }
        };
        tokio::select! {
            gate = enter => Ok(gate),
            error = context.stopped() => Err(error),
        }
    }
}

impl<'a> Attempt<'a> {
    /// `alone`: nobody else writes Polder's own tables meanwhile.
    pub(super) async fn begin(
        session: &'a Session,
        context: ReadContext,
        table: &TableDefinition,
        request: Option<Request>,
        returning: &'a [SelectItem],
        alone: bool,
    ) -> Result<Self> {
        let engine = &session.engine.0;
        let writing = match session.view() {
            Some(view) if table.is_own() => {
                engine.commit.own().read(&context, &view);
                Writing::InTransaction { view }
            }
            Some(_) => return Err(not_in_transaction(&format!("table {}", table.full_name()))),
            None if table.is_own() => {
                let gate = Gate::enter(engine, alone, &context).await?;
                Writing::Own { reads: engine.commit.tables().await?.read_newest(&context), _gate: gate }
            }
            None => Writing::InTurn { _turn: engine.turn(&table.catalog, &context).await? },
        };
        let table = current(engine, table)?;
        Ok(Self { session, context, table, request, returning, writing })
    }

    pub(super) fn engine(&self) -> &'a Inner {
        &self.session.engine.0
    }

    pub(super) async fn draft(&self) -> Result<Draft> {
        match self.writing {
            Writing::InTransaction { .. } => Ok(Draft::in_transaction()),
            Writing::InTurn { .. } | Writing::Own { .. } => Draft::new(self.engine(), EntryKind::DATA).await,
        }
    }

    /// Makes the entry durable and waits until the table shows it. The statement's tag, or that of the same request before; and
    /// what it returns of the rows that it has `touched`, which RETURNING alone asks for.
    pub(super) async fn commit(self, draft: Draft, tag: String, touched: Vec<RecordBatch>) -> Result<Written> {
        let engine = self.engine();
        // Before anything happens: an expression that fails must fail the statement.
        let rows = returning::rows(self.session, &self.context, &self.table, self.returning, touched).await?;
        let reads = match &self.writing {
            Writing::InTransaction { view } => {
                let (own, changes) = draft.changes();
                engine.commit.own().change(view, &own)?;
                self.session.add_changes(changes, &tag);
                return Ok(Written { tag, rows });
            }
            Writing::Own { reads, .. } => Some(reads.clone()),
            Writing::InTurn { .. } => None,
        };
        // Nothing changes: but the rows that say so may be those of an entry that is not durable yet. Then this one comes after it.
        let is_settled = reads.as_ref().is_none_or(|reads| engine.commit.own().is_settled(reads));
        if draft.record_count() == 0 && self.request.is_none() && is_settled {
            return Ok(Written { tag, rows });
        }
        let (mut entry, changes) = draft.finish()?;
        if entry.record_count() == 0 {
            entry = outcome_entry()?;
        }
        let mut attributes = self.request.as_ref().map(|request| request.attributes(&tag)).unwrap_or_default();
        attributes.cause = cause(&self.session.position());
        entry = entry.with_attributes(attributes);
        let proposal = engine.commit.propose(Vec::new(), &changes, reads).await?;
        match engine.commit.commit(entry, proposal, self.request.clone()).await? {
            Committed::Now(end) => {
                self.session.reached(&position([(MAIN.to_string(), end)]));
                shown(engine, &self.table, end, &self.context).await?;
                Ok(Written { tag, rows })
            }
            Committed::Before(before) => {
                self.session.reached(&position([(MAIN.to_string(), before.shown)]));
                returning::before(self.session, &self.context, &self.table, self.returning, before).await
            }
        }
    }
}

/// The table as it is now: it may have been altered while this statement waited.
fn current(engine: &Inner, table: &TableDefinition) -> Result<TableDefinition> {
    let catalogs = engine.catalogs();
    let found = catalogs.tables.values().find(|known| known.id == table.id);
    found
        .cloned()
        .ok_or_else(|| Error::fix(SqlState::NO_TABLE, format!("table {} was dropped meanwhile", table.full_name())))
}

//! The store behind one catalog: the newest state, and the history of what led there.
//!
//! ```text
//! history   … trimmed │ 4 ─ 5 ─ 6 ─ 7        what each commit did, for those who follow
//! state                             7        immutable; a commit puts the next one in its place
//! ```
//!
//! Writers go one at a time. A reader takes the state as it is and is never in anyone's way.

use crate::table::{Columns, Table};
use crate::transaction::{Operation, Target, Transaction};
use crate::{Alteration, TablePath};
use arrow::record_batch::RecordBatch;
use polder_catalog::{DatasetId, Error, Position, Result, SourcePosition, SqlState};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::watch;

/// All tables at one version.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) version: u64,
    pub(crate) tables: BTreeMap<DatasetId, Arc<Table>>,
    /// The last entry of the log that was applied: part of the state, so it changes together with the rows.
    pub(crate) last_applied: Option<Position>,
    next_id: u64,
}

impl State {
    pub(crate) fn table(&self, path: &TablePath) -> Option<&Arc<Table>> {
        self.tables.values().find(|table| table.path == *path)
    }
}

/// What one transaction did.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) version: u64,
    pub(crate) time: SystemTime,
    pub(crate) origin: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) effects: Vec<Effect>,
}

/// One thing that a transaction did to one table.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) dataset: DatasetId,
    pub(crate) kind: EffectKind,
}

#[derive(Clone, Debug)]
pub(crate) enum EffectKind {
    /// Rows and weights, in these columns.
    Changed(RecordBatch, Arc<Columns>),
    Truncated,
    Altered(Arc<Columns>),
    Dropped,
}

/// What follows a version in the history.
pub(crate) enum Next {
    Transaction(Arc<Committed>),
    /// Nothing yet.
    None,
    /// It has been trimmed.
    Trimmed,
}

#[derive(Debug)]
pub(crate) struct Store {
    /// Tells one life of the store from the next: positions of an earlier life mean nothing here.
    life: u64,
    history_max: usize,
    history: Mutex<VecDeque<Arc<Committed>>>,
    state: watch::Sender<Arc<State>>,
}

impl Store {
    pub(crate) fn new(history_max: usize) -> Self {
        let since_1970 = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let life = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
        Self { life, history_max, history: Mutex::default(), state: watch::Sender::new(Arc::default()) }
    }

    /// The newest state.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// Tells of every new state.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.subscribe()
    }

    /// Takes a transaction whole, or not at all. `applied` is the position to remember with it.
    pub(crate) fn commit(&self, transaction: Transaction, applied: Option<Position>) -> Result<SourcePosition> {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let mut draft = Draft { state: State::clone(&self.state()), effects: Vec::new() };
        for operation in transaction.operations {
            draft.run(operation)?;
        }
        let Draft { mut state, effects } = draft;
        state.version += 1;
        state.last_applied = applied.or(state.last_applied);
        let (version, origin, request_id) = (state.version, transaction.origin, transaction.request_id);
        history.push_back(Arc::new(Committed { version, time: now(), origin, request_id, effects }));
        while history.len() > self.history_max {
            history.pop_front();
        }
        self.state.send_replace(Arc::new(state));
        Ok(self.position(version))
    }

    /// The transaction after this version.
    pub(crate) fn after(&self, version: u64) -> Next {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if version >= self.state().version {
            return Next::None;
        }
        // Versions follow each other without a gap, so the place in the history is a subtraction.
        let Some(ahead) = history.front().and_then(|oldest| (version + 1).checked_sub(oldest.version)) else {
            return Next::Trimmed;
        };
        let at = usize::try_from(ahead).expect("history fits memory");
        Next::Transaction(Arc::clone(&history[at]))
    }

    /// The version before the oldest transaction that is still held.
    pub(crate) fn oldest(&self) -> u64 {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.front().map_or_else(|| self.state().version, |oldest| oldest.version - 1)
    }

    /// Forgets the history up to and including this version.
    pub(crate) fn trim(&self, version: u64) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        while history.front().is_some_and(|oldest| oldest.version <= version) {
            history.pop_front();
        }
    }

    /// A version as others see it: the life of the store, then the version, both big-endian so that bytes sort as time.
    pub(crate) fn position(&self, version: u64) -> SourcePosition {
        SourcePosition::new([self.life.to_be_bytes(), version.to_be_bytes()].concat())
    }

    /// The version of a position; `None` if it is of another life, or of no store at all.
    pub(crate) fn version(&self, position: &SourcePosition) -> Option<u64> {
        let (life, version) = position.as_bytes().split_at_checked(8)?;
        let version = u64::from_be_bytes(version.try_into().ok()?);
        (life == self.life.to_be_bytes() && version <= self.state().version).then_some(version)
    }
}

/// The system that this connector connects is the connector itself, so its clock is the system's.
#[expect(clippy::disallowed_methods, reason = "commit times are by the source's own clock, and here is the source")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A state in the making, and what was done to it.
struct Draft {
    state: State,
    effects: Vec<Effect>,
}

impl Draft {
    fn run(&mut self, operation: Operation) -> Result<()> {
        match operation {
            Operation::Create(definition) => {
                self.check_free(&definition.path)?;
                let id = DatasetId(format!("t{}", self.state.next_id).into());
                self.state.next_id += 1;
                let table = Table::create(id, definition)?;
                self.put(EffectKind::Altered(Arc::clone(&table.columns)), table);
            }
            Operation::Drop(path) => {
                let table = self.find(&Target::Path(path))?;
                self.state.tables.remove(&table.id);
                self.effects.push(Effect { dataset: table.id.clone(), kind: EffectKind::Dropped });
            }
            Operation::Change(target, changes) => {
                let table = self.find(&target)?;
                let changes = table.fit(&changes)?;
                let next = table.changed(&changes)?;
                self.put(EffectKind::Changed(changes, Arc::clone(&next.columns)), next);
            }
            Operation::Truncate(path) => {
                let table = self.find(&Target::Path(path))?;
                self.put(EffectKind::Truncated, table.truncated());
            }
            Operation::Alter(path, alteration) => self.alter(path, alteration)?,
        }
        Ok(())
    }

    fn alter(&mut self, path: TablePath, alteration: Alteration) -> Result<()> {
        if let Alteration::Rename(to) = &alteration {
            self.check_free(to)?;
        }
        let next = self.find(&Target::Path(path))?.altered(alteration)?;
        self.put(EffectKind::Altered(Arc::clone(&next.columns)), next);
        Ok(())
    }

    fn put(&mut self, kind: EffectKind, table: Table) {
        self.effects.push(Effect { dataset: table.id.clone(), kind });
        self.state.tables.insert(table.id.clone(), Arc::new(table));
    }

    fn find(&self, target: &Target) -> Result<Arc<Table>> {
        let (found, name) = match target {
            Target::Path(path) => (self.state.table(path), path.to_string()),
            Target::Id(id) => (self.state.tables.get(id), id.to_string()),
        };
        let missing = || Error::fix(SqlState::NO_TABLE, format!("table {name} does not exist"));
        found.map(Arc::clone).ok_or_else(missing)
    }

    fn check_free(&self, path: &TablePath) -> Result<()> {
        match self.state.table(path) {
            None => Ok(()),
            Some(_) => Err(Error::fix(SqlState::DUPLICATE_TABLE, format!("table {path} exists already"))),
        }
    }
}

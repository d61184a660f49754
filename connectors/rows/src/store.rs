//! All tables at one time, the next of them, and those that are on their way to the disk.
//!
//! ```text
//!            shown                    decided
//! log   ... entry 40 │ entry 41   entry 42   entry 43 │
//!                    ^ durable                         ^ the newest: constraints are checked here
//! ```
//!
//! An entry is **decided** in memory when the log takes it, in the order of the log; whoever comes next is decided on top of
//! it. It is **shown** once it is durable. If the log could not write it, what was decided since is taken back when
//! the next entry is decided: the log tells then how many entries it has.

use crate::part::Part;
use crate::reads::{Reads, conflict};
use crate::references;
use crate::table::Table;
use arrow::record_batch::RecordBatch;
use polder_catalog::{CatalogName, DatasetId, Definition, Error, Position, Result, SqlState};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// All tables between two entries. Immutable.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) tables: BTreeMap<DatasetId, Arc<Table>>,
    pub(crate) last_applied: Option<Position>,
}

impl State {
    pub(crate) fn named(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        self.tables.values().find(|table| table.definition.schema == schema && table.definition.name == name)
    }
}

/// Tells how many entries of the log are durable.
type Durable = Box<dyn Fn() -> u64 + Send + Sync>;

pub(crate) struct Store {
    catalog: CatalogName,
    states: Mutex<States>,
    /// Held while an entry is decided.
    deciding: Mutex<()>,
    versions: AtomicU64,
    durable: OnceLock<Durable>,
}

#[derive(Debug, Default)]
struct States {
    shown: Arc<State>,
    decided: VecDeque<Decided>,
}

/// The tables after an entry that may not be durable yet.
#[derive(Debug)]
struct Decided {
    /// How many entries the log had before it.
    after: u64,
    state: Arc<State>,
}

/// The changes of an entry by what they change: rows, and their weights as the last column.
pub type Changes = BTreeMap<DatasetId, Vec<RecordBatch>>;

/// What an entry does to the tables, and what it stands on.
#[derive(Default)]
pub struct Proposal {
    pub(crate) definitions: Vec<Definition>,
    pub(crate) parts: BTreeMap<DatasetId, (Arc<Table>, Vec<Part>)>,
    pub(crate) reads: Option<Reads>,
}

impl Proposal {
    /// Whether it touches no table and stands on none.
    pub fn is_empty(&self) -> bool {
        self.definitions.is_empty() && self.parts.is_empty() && self.reads.is_none()
    }
}

impl Store {
    pub(crate) fn new(catalog: CatalogName) -> Self {
        Self {
            catalog,
            states: Mutex::default(),
            deciding: Mutex::default(),
            versions: AtomicU64::default(),
            durable: OnceLock::new(),
        }
    }

    /// Shows what is durable from now on; before, everything that is applied.
    pub(crate) fn show_durable(&self, durable: impl Fn() -> u64 + Send + Sync + 'static) {
        // The log of a store is opened once.
        let _ = self.durable.set(Box::new(durable));
    }

    /// The tables as everybody may see them.
    pub(crate) fn shown(&self) -> Arc<State> {
        let mut states = self.states();
        if let Some(durable) = self.durable.get().filter(|_| !states.decided.is_empty()).map(|durable| durable()) {
            states.show(durable);
        }
        Arc::clone(&states.shown)
    }

    /// The tables with all that was decided, also what is not durable yet: for those who will be decided after it.
    pub(crate) fn newest(&self) -> Arc<State> {
        let states = self.states();
        Arc::clone(states.decided.back().map_or(&states.shown, |decided| &decided.state))
    }

    /// Whether what was read still holds and is durable.
    pub(crate) fn is_settled(&self, reads: &Reads) -> bool {
        let shown = self.shown();
        let is_all = self.states().decided.is_empty();
        is_all && reads.check(&shown).is_ok()
    }

    fn states(&self) -> std::sync::MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Computes the keys of changes, for the tables as they are now.
    ///
    /// # Errors
    /// 42P01 for a table that is not there, those of [`Part::of`] for rows that do not fit.
    pub(crate) fn propose(
        &self,
        state: &State,
        definitions: Vec<Definition>,
        changes: &Changes,
        reads: Option<Reads>,
    ) -> Result<Proposal> {
        let state = self.define_all(state, &definitions)?;
        let parts = changes.iter().map(|(dataset, batches)| {
            let table = state.tables.get(dataset);
            let table =
                table.ok_or_else(|| Error::fix(SqlState::NO_TABLE, format!("there is no dataset {dataset}")))?;
            let parts = batches.iter().map(|batch| Part::of(table, batch)).collect::<Result<_>>()?;
            Ok((dataset.clone(), (Arc::clone(table), parts)))
        });
        Ok(Proposal { definitions, parts: parts.collect::<Result<_>>()?, reads })
    }

    /// Decides about an entry on top of all that was decided: all of it is checked before any of it takes effect.
    ///
    /// `after` tells how many entries the log has before this one.
    pub(crate) fn decide(&self, after: u64, position: Position, proposal: &Proposal) -> Result<()> {
        let _deciding = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_back(after)?;
        let state = self.newest();
        if let Some(reads) = &proposal.reads {
            reads.check(&state)?;
        }
        let next = Arc::new(self.step(&state, position, proposal)?);
        let mut states = self.states();
        if let Some(durable) = self.durable.get().map(|durable| durable()) {
            states.show(durable);
        }
        states.decided.push_back(Decided { after, state: next });
        Ok(())
    }

    /// Puts a state in place that was stored; nothing was applied before.
    pub(crate) fn restore(&self, state: State) {
        self.states().shown = Arc::new(state);
    }

    /// Applies an entry that is durable: as [`decide`](Self::decide), and shown at once.
    pub(crate) fn apply(&self, position: Position, definitions: Vec<Definition>, changes: &Changes) -> Result<()> {
        let _deciding = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        let defined = self.define_all(&self.newest(), &definitions)?;
        let proposal = self.propose(&defined, Vec::new(), changes, None)?;
        let next = self.step(&defined, position, &proposal)?;
        self.states().shown = Arc::new(next);
        Ok(())
    }

    pub(crate) fn step(&self, state: &State, position: Position, proposal: &Proposal) -> Result<State> {
        let mut next = self.define_all(state, &proposal.definitions)?;
        let mut changed = Vec::new();
        for (dataset, (planned_for, parts)) in &proposal.parts {
            let Some(table) = next.tables.get(dataset) else { return Err(conflict("a table was dropped")) };
            if table.definition != planned_for.definition {
                return Err(conflict(format!("table {} was altered", table.full_name())));
            }
            let planned = table.check(parts)?;
            changed.push((Arc::new(table.changed(&planned, self.next_version())?), planned, parts));
        }
        let plans = changed.iter().map(|(table, planned, parts)| (&table.definition.id, (planned, parts.as_slice())));
        references::check(&next, &plans.collect())?;
        // From here on nothing can fail.
        for (table, planned, parts) in changed {
            if let Some(before) = next.tables.insert(table.definition.id.clone(), Arc::clone(&table)) {
                table.publish(&before, &planned, parts);
            }
        }
        next.last_applied = Some(position);
        Ok(next)
    }

    fn define_all(&self, state: &State, definitions: &[Definition]) -> Result<State> {
        let mut next = state.clone();
        for definition in definitions {
            match definition {
                Definition::Create(definition) => {
                    let table = Table::create(&self.catalog, definition.clone(), self.next_version())?;
                    next.tables.insert(definition.id.clone(), Arc::new(table));
                }
                Definition::Alter(definition) => {
                    let table = next.tables.get_mut(&definition.id).ok_or_else(|| {
                        let message = format!("there is no dataset {} to alter", definition.id);
                        Error::fix(SqlState::NO_TABLE, message)
                    })?;
                    *table = Arc::new(table.altered(definition.clone(), self.next_version())?);
                }
                Definition::Drop(id) => drop(next.tables.remove(id)),
            }
        }
        Ok(next)
    }

    /// Takes back what the log did not take: all that was decided at this number of entries or later.
    fn take_back(&self, entries: u64) -> Result<()> {
        let mut states = self.states();
        let kept = states.decided.partition_point(|decided| decided.after < entries);
        if kept == states.decided.len() {
            return Ok(());
        }
        let lost = states.decided.back().map(|decided| Arc::clone(&decided.state)).unwrap_or_default();
        states.decided.truncate(kept);
        let States { shown, decided } = &mut *states;
        let state = decided.back_mut().map_or(shown, |decided| &mut decided.state);
        let mut restored = State::clone(state);
        for (dataset, table) in &mut restored.tables {
            if lost.tables.get(dataset).is_none_or(|lost| !Arc::ptr_eq(lost, table)) {
                *table = Arc::new(table.restored(self.next_version())?);
            }
        }
        *state = Arc::new(restored);
        Ok(())
    }
}

impl States {
    /// Shows everything that was decided before the log had so many entries.
    fn show(&mut self, durable: u64) {
        while let Some(decided) = self.decided.pop_front_if(|decided| decided.after < durable) {
            self.shown = decided.state;
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("catalog", &self.catalog).field("states", &self.states()).finish_non_exhaustive()
    }
}

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

use crate::home::Home;
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
    /// In `main`, those that are spread are here without their rows.
    pub(crate) tables: BTreeMap<DatasetId, Arc<Table>>,
    pub(crate) last_applied: Option<Position>,
    /// In `main`: the shards as of the newest epoch, under the definitions of now.
    pub(crate) shards: Arc<Vec<Arc<State>>>,
    /// Where each shard ended then.
    pub(crate) cut: Arc<Vec<u64>>,
    /// The newest effect of each home that has come here.
    pub(crate) applied: BTreeMap<Home, EffectNumber>,
}

/// Which effect of a home: the offset at which the entry ends that emits it, and its place among those of the entry, from 1. They
/// are applied in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectNumber {
    /// The end of the entry, in the shard of its home.
    pub end: u64,
    /// From 1.
    pub place: u32,
}

/// How far each shard counts, and what it is there: to become an entry of `main`.
#[derive(Clone, Debug, Default)]
pub struct Epoch {
    pub(crate) shards: Vec<Arc<State>>,
    /// The offset at which each shard ends.
    pub cut: Vec<u64>,
}

impl State {
    pub(crate) fn named(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        self.tables.values().find(|table| table.definition.schema == schema && table.definition.name == name)
    }

    /// What is there of one home.
    pub(crate) fn of(&self, home: Home) -> Option<&Self> {
        match home {
            Home::Main => Some(self),
            Home::Shard(at) => self.shards.get(at as usize).map(Arc::as_ref),
        }
    }

    /// A table with its rows, by where they are at home.
    pub(crate) fn parts_of(&self, table: &Arc<Table>) -> Vec<(Home, Arc<Table>)> {
        let Some(spread) = &table.spread else { return vec![(Home::Main, Arc::clone(table))] };
        let part = |home| self.of(home).and_then(|state| state.tables.get(&table.definition.id)).map(Arc::clone);
        (0..spread.count).map(Home::Shard).filter_map(|home| Some((home, part(home)?))).collect()
    }
}

/// Tells how many entries of the log are durable.
type Durable = Box<dyn Fn() -> u64 + Send + Sync>;

pub(crate) struct Store {
    catalog: CatalogName,
    states: Mutex<States>,
    /// Held while an entry is decided.
    deciding: Mutex<()>,
    /// Shared by all homes, so that a version names a table of one of them.
    versions: Arc<AtomicU64>,
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
    pub(crate) home: Home,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) effect: Option<(Home, EffectNumber)>,
    pub(crate) definitions: Vec<Definition>,
    pub(crate) parts: BTreeMap<DatasetId, (Arc<Table>, Vec<Part>)>,
    pub(crate) reads: Option<Reads>,
}

impl Proposal {
    /// Where it is decided.
    pub fn home(&self) -> Home {
        self.home
    }

    /// Nothing, decided there.
    pub fn of_home(home: Home) -> Self {
        Self { home, ..Self::default() }
    }

    /// It is the effect of an entry of another home, or of the same.
    #[must_use]
    pub fn with_effect(self, effect: Option<(Home, EffectNumber)>) -> Self {
        Self { effect, ..self }
    }

    /// Nothing but that an effect has come, and came to nothing.
    #[must_use]
    pub fn without_effect(&self) -> Self {
        Self { home: self.home, effect: self.effect, ..Self::default() }
    }

    /// Whether it is the effect of an entry.
    pub fn is_effect(&self) -> bool {
        self.effect.is_some()
    }

    /// The shards are shown as they are there.
    pub fn of_epoch(epoch: Epoch) -> Self {
        Self { epoch: Some(epoch), ..Self::default() }
    }

    /// Whether it touches no table and stands on none.
    pub fn is_empty(&self) -> bool {
        let is_empty = self.definitions.is_empty() && self.parts.is_empty();
        is_empty && self.reads.is_none() && self.epoch.is_none() && self.effect.is_none()
    }
}

impl Store {
    pub(crate) fn new(catalog: CatalogName, versions: Arc<AtomicU64>) -> Self {
        Self { catalog, states: Mutex::default(), deciding: Mutex::default(), versions, durable: OnceLock::new() }
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
    pub(crate) fn is_settled(&self, home: Home, reads: &Reads) -> bool {
        let shown = self.shown();
        let is_all = self.states().decided.is_empty();
        is_all && reads.check(home, &shown).is_ok()
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
        home: Home,
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
        Ok(Proposal { home, epoch: None, effect: None, definitions, parts: parts.collect::<Result<_>>()?, reads })
    }

    /// Decides about an entry on top of all that was decided: all of it is checked before any of it takes effect.
    ///
    /// `after` tells how many entries the log has before this one.
    pub(crate) fn decide(&self, after: u64, position: Position, proposal: &Proposal) -> Result<()> {
        let _deciding = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_back(after)?;
        let state = self.newest();
        if let Some(reads) = &proposal.reads {
            reads.check(proposal.home, &state)?;
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
        let proposal = self.propose(Home::Main, &defined, Vec::new(), changes, None)?;
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
        if let Some((from, number)) = proposal.effect {
            let newest = next.applied.entry(from).or_default();
            if *newest >= number {
                return Err(Error::report("an effect comes a second time"));
            }
            *newest = number;
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
        if let Some(Epoch { shards, cut }) = &proposal.epoch {
            next.shards = Arc::new(shards.clone());
            next.cut = Arc::new(cut.clone());
        }
        if proposal.epoch.is_some() || !proposal.definitions.is_empty() {
            self.align(&mut next)?;
        }
        Ok(next)
    }

    /// Shows the shards under the definitions that `main` has: theirs may be on their way yet.
    fn align(&self, main: &mut State) -> Result<()> {
        let spread: Vec<&Arc<Table>> = main.tables.values().filter(|table| table.spread.is_some()).collect();
        if spread.is_empty() && main.shards.is_empty() {
            return Ok(());
        }
        let count = spread.iter().filter_map(|table| table.spread.as_ref()).map(|spread| spread.count as usize).max();
        let mut shards = main.shards.as_ref().clone();
        shards.resize_with(shards.len().max(count.unwrap_or(0)), Arc::default);
        for (at, shard) in shards.iter_mut().enumerate() {
            let is_here = |table: &Table| table.spread.as_ref().is_some_and(|spread| at < spread.count as usize);
            let wanted: BTreeMap<_, _> = spread
                .iter()
                .filter(|table| is_here(table))
                .map(|table| (&table.definition.id, &table.definition))
                .collect();
            let is_there = |(id, table): (&DatasetId, &Arc<Table>)| {
                wanted.get(id).is_some_and(|wanted| **wanted == table.definition)
            };
            if shard.tables.len() == wanted.len() && shard.tables.iter().all(is_there) {
                continue;
            }
            let mut state = State::clone(shard);
            state.tables.retain(|id, _| wanted.contains_key(id));
            for (id, definition) in wanted {
                let table = match state.tables.get(id) {
                    Some(known) if known.definition == *definition => continue,
                    Some(known) => known.altered(definition.as_ref().clone(), self.next_version())?,
                    None => Table::create(&self.catalog, definition.as_ref().clone(), self.next_version())?,
                };
                state.tables.insert(id.clone(), Arc::new(table));
            }
            *shard = Arc::new(state);
        }
        main.shards = Arc::new(shards);
        Ok(())
    }

    /// Shows the shards as they are, before anybody reads.
    pub(crate) fn adopt(&self, epoch: Epoch) -> Result<()> {
        let mut state = State::clone(&self.newest());
        (state.shards, state.cut) = (Arc::new(epoch.shards), Arc::new(epoch.cut));
        self.align(&mut state)?;
        self.restore(state);
        Ok(())
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

    /// The same, when nothing is decided.
    pub(crate) fn take_back_alone(&self, entries: u64) -> Result<()> {
        let _deciding = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_back(entries)
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

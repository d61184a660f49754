//! The tables as one transaction sees them.

use crate::home::{self, Home};
use crate::reads::Reads;
use crate::store::{Changes, State, Store};
use polder_catalog::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Tables as they were shown when a transaction began, with what it has changed since; and what it has read of them.
#[derive(Debug)]
pub struct View {
    state: Mutex<Arc<State>>,
    reads: Reads,
    /// Where it has changed rows: in one place.
    home: Mutex<Option<Home>>,
}

impl View {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state: Mutex::new(state), reads: Reads::default(), home: Mutex::default() }
    }

    /// What the transaction has read.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the transaction has changed rows.
    pub fn home(&self) -> Option<Home> {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the tables for this transaction alone.
    ///
    /// # Errors
    /// 23505 if a key is there already as the transaction sees it, 0A000 if it has changed rows of another home: then nothing has
    /// happened.
    pub(crate) fn change(&self, store: &Store, home: Home, changes: &Changes) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some_and(|known| known != home) {
            return Err(home::spans());
        }
        let mut own = State::clone(state.of(home).ok_or_else(|| Error::report("a shard that is not there"))?);
        for dataset in changes.keys() {
            if let Some(table) = own.tables.get_mut(dataset).filter(|table| !table.is_private()) {
                *table = Arc::new(table.private(store.next_version()));
            }
        }
        let proposal = store.propose(home, &own, Vec::new(), changes, None)?;
        let position = own.last_applied.clone().unwrap_or_default();
        let changed = store.step(&own, position, &proposal)?;
        *state = match home {
            Home::Main => Arc::new(changed),
            Home::Shard(at) => {
                let mut shards = state.shards.as_ref().clone();
                shards[at as usize] = Arc::new(changed);
                Arc::new(State { shards: Arc::new(shards), ..State::clone(&state) })
            }
        };
        *known = Some(home);
        Ok(())
    }
}

//! The tables as one transaction sees them.

use crate::reads::Reads;
use crate::store::{Changes, State, Store};
use polder_catalog::Result;
use std::sync::{Arc, Mutex, PoisonError};

/// Tables as they were shown when a transaction began, with what it has changed since; and what it has read of them.
#[derive(Debug)]
pub struct View {
    state: Mutex<Arc<State>>,
    reads: Reads,
}

impl View {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state: Mutex::new(state), reads: Reads::default() }
    }

    /// What the transaction has read.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the tables for this transaction alone.
    ///
    /// # Errors
    /// 23505 if a key is there already as the transaction sees it: then nothing has happened.
    pub(crate) fn change(&self, store: &Store, changes: &Changes) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = State::clone(&state);
        for dataset in changes.keys() {
            if let Some(table) = own.tables.get_mut(dataset).filter(|table| !table.is_private()) {
                *table = Arc::new(table.private(store.next_version()));
            }
        }
        let proposal = store.propose(&own, Vec::new(), changes, None)?;
        let position = own.last_applied.clone().unwrap_or_default();
        *state = Arc::new(store.step(&own, position, &proposal)?);
        Ok(())
    }
}

//! States of the past that were asked for, kept for who asks next.

use polder_rows::RowsSource;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How many states of the past are kept in memory. They share nothing with the tables of now.
const KEPT: usize = 2;

/// States of the tables that were made again, by the end of `main` that they reflect.
#[derive(Debug, Default)]
pub(crate) struct Pasts(Mutex<VecDeque<(u64, Arc<RowsSource>)>>);

impl Pasts {
    pub(crate) fn find(&self, offset: u64) -> Option<Arc<RowsSource>> {
        let pasts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pasts.iter().find(|(known, _)| *known == offset).map(|(_, tables)| Arc::clone(tables))
    }

    pub(crate) fn add(&self, offset: u64, tables: &Arc<RowsSource>) {
        let mut pasts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pasts.push_front((offset, Arc::clone(tables)));
        pasts.truncate(KEPT);
    }
}

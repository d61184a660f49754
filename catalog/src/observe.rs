//! Requests to sources, as they are seen by whoever watches over them: how many, how long, and what failed.

use crate::{CatalogName, Error, ReadContext, SqlState};
use std::time::Duration;
use tokio::time::Instant;
use tracing::Span;

/// Told of each request to a source. It is called on the path of rows, and so does little.
pub trait Observer: Send + Sync {
    /// A request is sent.
    fn asked(&self, catalog: &CatalogName);
    /// Its answer, or the beginning of it, came after so long.
    fn answered(&self, catalog: &CatalogName, took: Duration);
    /// It failed, perhaps in the middle of its answer.
    fn failed(&self, catalog: &CatalogName, error: &Error);
}

/// One request to a source, in a span of its own. Dropped before its answer, nobody waited for that.
#[derive(Debug)]
pub struct Request {
    context: ReadContext,
    catalog: CatalogName,
    started: Instant,
    is_answered: bool,
    span: Span,
}

impl Request {
    /// A request is about to be sent: `what` says what for, in a word.
    pub fn begin(context: &ReadContext, catalog: &CatalogName, what: &'static str) -> Self {
        if let Some(observer) = context.observer() {
            observer.asked(catalog);
        }
        let span = tracing::debug_span!("request", source = %catalog, query = %context.query(), what);
        Self { context: context.clone(), catalog: catalog.clone(), started: Instant::now(), is_answered: false, span }
    }

    /// What is done for the request belongs in it.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The first of its answer is here. Said again, it counts once.
    pub fn answered(&mut self) {
        if !std::mem::replace(&mut self.is_answered, true)
            && let Some(observer) = self.context.observer()
        {
            observer.answered(&self.catalog, self.started.elapsed());
        }
    }

    /// It failed. That its user gave up, or had no more time, is no fault of the source.
    pub fn failed(self, error: &Error) {
        if let Some(observer) = self.context.observer().filter(|_| error.state() != SqlState::CANCELLED) {
            observer.failed(&self.catalog, error);
        }
    }
}

//! Queries that run, so that another call can cancel them.

use super::Server;
use arrow_flight::sql::{Any, Command, TicketStatementQuery};
use arrow_flight::{CancelStatus, FlightInfo};
use polder_catalog::{Error, Result, SqlState};
use prost::Message;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// What runs, by the handle of its ticket. No more than there are calls.
#[derive(Default)]
pub(super) struct Running(Mutex<HashMap<Vec<u8>, CancellationToken>>);

/// A query among those that run, until it is dropped.
pub(super) struct Entered {
    running: Arc<Running>,
    handle: Vec<u8>,
    token: CancellationToken,
}

impl Running {
    pub(super) fn enter(self: &Arc<Self>, handle: &[u8]) -> Entered {
        let token = CancellationToken::new();
        self.lock().insert(handle.to_vec(), token.clone());
        Entered { running: Arc::clone(self), handle: handle.to_vec(), token }
    }

    fn cancel(&self, handle: &[u8]) -> bool {
        self.lock().get(handle).map(CancellationToken::cancel).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entered {
    /// Completes when somebody has cancelled the query. Cancel-safe.
    pub(super) async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.running.lock().remove(&self.handle);
    }
}

impl Server {
    /// Cancels what the endpoints of a `FlightInfo` stand for, whether it runs or waits for its ticket.
    ///
    /// # Errors
    /// 22P04 for one without a ticket of ours.
    pub(super) fn cancel(&self, info: &FlightInfo) -> Result<CancelStatus> {
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let handles: Vec<_> = tickets.map(|ticket| handle(&ticket.ticket)).collect::<Result<_>>()?;
        let cancel = |handle: &TicketStatementQuery| {
            let handle = &handle.statement_handle;
            self.tickets.take(handle).is_ok() || self.running.cancel(handle)
        };
        // All of them, also behind one that is over.
        let cancelled = handles.iter().filter(|handle| cancel(handle)).count();
        Ok(if cancelled > 0 { CancelStatus::Cancelled } else { CancelStatus::NotCancellable })
    }
}

fn handle(ticket: &[u8]) -> Result<TicketStatementQuery> {
    let unknown = || Error::fix(SqlState::FORMAT, "this is no ticket of a query");
    let any = Any::decode(ticket).map_err(|error| unknown().with_detail(error.to_string()))?;
    match Command::try_from(any) {
        Ok(Command::TicketStatementQuery(ticket)) => Ok(ticket),
        _ => Err(unknown()),
    }
}

//! Transactions that a client begins and ends by calls of their own: each is a session of its own.

use super::Server;
use super::call::Call;
use crate::session::{Outcome, Session};
use arrow_flight::sql::EndTransaction;
use bytes::Bytes;
use polder_catalog::{Error, Result, SqlState};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// A transaction. It sees the tables as they are when its first statement comes: drivers begin the next one as soon as one has
/// ended, long before they need it.
pub(super) struct Transaction {
    session: Arc<Session>,
    begun: OnceCell<()>,
}

impl Server {
    /// Promises a transaction; its id. It has the settings of the session that it was begun in.
    pub(super) fn begin(&self, call: &Call) -> Result<Bytes> {
        let session = call.session.another();
        // It serves this transaction, and nothing after it.
        call.session.take_request_id()?;
        let transaction = Transaction { session: Arc::new(session), begun: OnceCell::new() };
        self.transactions.put(Arc::new(transaction), 0).map(Bytes::from)
    }

    /// The session that a statement runs in: of its transaction, if it names one, else of its call.
    pub(super) async fn session_of(&self, call: &Call, transaction: Option<&Bytes>) -> Result<Arc<Session>> {
        let Some(id) = transaction.filter(|id| !id.is_empty()) else { return Ok(Arc::clone(&call.session)) };
        let transaction = self.transactions.get(id)?;
        transaction.begun.get_or_try_init(|| self.command(&transaction.session, "BEGIN")).await?;
        Ok(Arc::clone(&transaction.session))
    }

    /// Ends a transaction, whatever becomes of it.
    ///
    /// # Errors
    /// 25P02 if there was nothing but to roll it back; those of COMMIT.
    pub(super) async fn end(&self, call: &Call, id: &[u8], how: EndTransaction) -> Result<()> {
        let transaction = self.transactions.take(id)?;
        if !transaction.begun.initialized() {
            return Ok(());
        }
        match how {
            EndTransaction::Commit => self.commit(call, &transaction.session).await,
            EndTransaction::Rollback => self.command(&transaction.session, "ROLLBACK").await,
            EndTransaction::Unspecified => {
                Err(Error::fix(SqlState::PARAMETER, "a transaction is either committed or rolled back"))
            }
        }
    }

    async fn commit(&self, call: &Call, session: &Arc<Session>) -> Result<()> {
        let prepared = Arc::new(session.prepare("COMMIT")?);
        let outcome = self.run(session, prepared, Vec::new()).await?;
        call.runs_in(session);
        // What its client did in it comes before what it reads next.
        call.session.reached(&session.position());
        match outcome {
            Outcome::Done(tag) if tag == "COMMIT" => Ok(()),
            _ => Err(Error::fix(SqlState::FAILED_TRANSACTION, "the transaction had failed, and was rolled back")
                .with_hint("do it again from its beginning")),
        }
    }

    async fn command(&self, session: &Arc<Session>, sql: &str) -> Result<()> {
        let prepared = Arc::new(session.prepare(sql)?);
        self.run(session, prepared, Vec::new()).await.map(drop)
    }
}

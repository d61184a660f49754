//! Statements whose client does not wait, and who asks for their outcome later.

use crate::activity;
use crate::execute::{self, query};
use crate::requests::Request;
use crate::session::{Outcome, Session};
use crate::sql::Statement;
use polder_catalog::{Error, Result, SqlState};
use std::sync::Arc;

/// `WAIT FOR 'request id'`.
pub(super) async fn wait_for(session: &Session, id: &str) -> Result<Outcome> {
    let engine = &session.engine.0;
    let context = query::context(session);
    engine.commit.wait_for(&context.principal().0, id, &context).await.map(Outcome::Done)
}

/// Runs a statement in the background: it goes on whatever becomes of the client, and its outcome is kept under its id.
///
/// # Errors
/// 22023 if it has none: nobody could ask for its outcome.
pub(crate) async fn without_waiting(
    session: &Session,
    statement: Statement,
    request: Option<Request>,
) -> Result<Outcome> {
    let Some(request) = request else {
        return Err(Error::fix(SqlState::PARAMETER, "a statement that is not waited for needs a request id")
            .with_hint("SET request_id = '...' before it, then WAIT FOR that id; or RESET wait"));
    };
    let engine = session.engine.clone();
    let requests = Arc::clone(engine.0.commit.requests().await?);
    requests.started(&request);
    let detached = session.again();
    let running = activity::current().map(|entry| engine.0.activity.begin_again(&engine.0.env, &entry));
    let running = async move {
        let work = execute::statement(&detached, statement, Some(request.clone()));
        let outcome = match running {
            Some(running) => Box::pin(running.run_to_its_end(work)).await,
            None => work.await,
        };
        requests.finished(&request, outcome.err());
    };
    engine.0.detached.spawn(running);
    Ok(Outcome::Done("ACCEPTED".to_string()))
}

//! `SET read_after = 'token'`: a read waits until all that it touches reflects the token.

use crate::catalogs::POLDER;
use crate::engine::Inner;
use crate::session::Session;
use polder_catalog::{CatalogName, Error, Position, ReadContext, Result, ShardName, SqlState};
use polder_log::store::{MAIN, Offset};
use std::time::Duration;

/// What the reads of one statement wait for.
#[derive(Debug)]
struct After {
    position: Position,
    timeout: Duration,
}

/// Waits until the log has what a token names, if the session asks for it. What follows the log is waited for where it is read.
///
/// # Errors
/// PD002 if it takes longer than `read_after_timeout`, 22023 for a token of another log; the context's, if that ends first.
pub(super) async fn wait(session: &Session, context: &ReadContext) -> Result<()> {
    let Some((token, timeout)) = session.settings().read_after() else { return Ok(()) };
    let position = durable(session, &token, timeout, context).await?;
    context.shared(&CatalogName::new(POLDER), || Some(After { position, timeout }));
    Ok(())
}

/// Waits until the log has what the writes of the session come after, if it says so; the session has reached it then.
///
/// # Errors
/// As [`wait`].
pub(super) async fn cause(session: &Session, context: &ReadContext) -> Result<()> {
    let Some((token, timeout)) = session.settings().caused_by() else { return Ok(()) };
    let position = durable(session, &token, timeout, context).await?;
    session.reached(&position);
    Ok(())
}

async fn durable(session: &Session, token: &str, timeout: Duration, context: &ReadContext) -> Result<Position> {
    let position: Position = token.parse()?;
    let log = session.engine.0.commit.log().await?;
    let durable = async {
        for (shard, offset) in &position.shards {
            let found = log.shard(&shard.0).ok_or_else(|| {
                Error::fix(SqlState::PARAMETER, format!("there is no shard \"{}\" to read after", shard.0))
                    .with_hint("send a token that SHOW POSITION told for this data directory")
            })?;
            let closed = |_| Error::fix(SqlState::STATE, "the log is closed");
            found.end_watch().wait_for(|end| end.offset.0 >= offset.0).await.map_err(closed)?;
        }
        Ok(())
    };
    within(timeout, token, context, durable).await?;
    Ok(position)
}

/// Waits until a catalog that follows the log reflects what the statement reads after.
///
/// # Errors
/// PD002 if it takes too long, 55000 if it does not follow the log any more; the context's.
pub(super) async fn followed(engine: &Inner, catalog: &str, context: &ReadContext) -> Result<()> {
    let after = context.shared(&CatalogName::new(POLDER), || None::<After>);
    let Some(After { position, timeout }) = &*after else { return Ok(()) };
    let Some(offset) = position.shards.get(&ShardName(MAIN.into())) else { return Ok(()) };
    let reached = engine.reached(catalog, Offset(offset.0), context);
    within(*timeout, &position.to_string(), context, reached).await
}

async fn within(
    timeout: Duration,
    token: &str,
    context: &ReadContext,
    reached: impl Future<Output = Result<()>>,
) -> Result<()> {
    tokio::select! {
        reached = reached => reached,
        () = tokio::time::sleep(timeout) => {
            let message = format!("the position '{token}' was not reached within {timeout:?}");
            Err(Error::retry(SqlState::NOT_REACHED, message)
                .with_hint("try again, wait longer with SET read_after_timeout, or RESET read_after"))
        }
        error = context.stopped() => Err(error),
    }
}

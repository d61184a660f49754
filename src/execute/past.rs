//! Tables and topics as they were: `AS OF 'token' | 'time'`.
//!
//! A topic is read up to the end that it had then. A table of Polder's own is made again of the log up to there, unless nothing has
//! changed since; the newest of those that were made are kept for a while.

use crate::catalogs::POLDER;
use crate::engine::Inner;
use crate::follow;
use crate::home::table_shard;
use polder_catalog::{CatalogName, Dataset, Error, Offset, Position, ReadContext, Result, ShardName, SqlState};
use polder_log::store::{self, CommitTime, MAIN};
use polder_rows::{Home, RowsSource};
use std::sync::Arc;

/// A table of Polder's own, by its id, as it was.
///
/// # Errors
/// PD003 if the log does not reach back so far, or not yet so far; 42P01 if the table was not there then.
pub(super) async fn table(engine: &Inner, context: &ReadContext, id: u64, name: &str, time: &str) -> Result<Dataset> {
    let main = engine.commit.log().await?.main();
    let offset = match point(time)? {
        Point::Position(position) => {
            let main = position.shards.get(&ShardName(MAIN.into()));
            main.ok_or_else(|| says_nothing(time, name))?.0
        }
        Point::Time(time) => offset_at(main.clone(), time).await?.0,
    };
    let (start, end) = (main.start().0, main.end().offset.0);
    if offset < start {
        return Err(Error::fix(SqlState::NOT_HELD, format!("table \"{name}\" is not kept as it was at '{time}'"))
            .with_hint(format!("the oldest position is '{MAIN}:{start}'")));
    }
    if offset > end {
        return Err(Error::fix(SqlState::NOT_HELD, format!("'{time}' is not there yet"))
            .with_hint(format!("the newest position is '{MAIN}:{end}'")));
    }
    let tables = tables_at(engine, offset).await?;
    let dataset = tables.dataset_by_id(&context.again(), &crate::definitions::dataset_id(id))?;
    dataset.ok_or_else(|| Error::fix(SqlState::NO_TABLE, format!("table \"{name}\" was not there yet at '{time}'")))
}

async fn tables_at(engine: &Inner, offset: u64) -> Result<Arc<RowsSource>> {
    let now = engine.commit.tables().await?;
    let main = ShardName(MAIN.into());
    if now.position().shards.get(&main).is_none_or(|newest| newest.0 <= offset) {
        return Ok(Arc::clone(now));
    }
    if let Some(known) = engine.pasts.find(offset) {
        return Ok(known);
    }
    let tables = Arc::new(RowsSource::new(CatalogName::new(POLDER)));
    let log = engine.commit.log().await?;
    follow::replay_until(Home::Main, &log.main(), store::Offset(offset), &tables).await?;
    let cut = tables.cut();
    tables.extend(u32::try_from(cut.len()).unwrap_or(u32::MAX));
    for (at, end) in (0..).zip(cut.iter()) {
        let shard = log.shard(&table_shard(at)).ok_or_else(|| Error::report("the log has lost a shard of tables"))?;
        follow::replay_until(Home::Shard(at), &shard, store::Offset(*end), &tables).await?;
    }
    tables.adopt(cut.to_vec())?;
    engine.pasts.add(offset, &tables);
    Ok(tables)
}

/// The cut through the shards of a topic.
///
/// # Errors
/// PD003 if a position says nothing of the topic.
pub(super) async fn topic(engine: &Inner, shards: &[String], name: &str, time: &str) -> Result<Position> {
    match point(time)? {
        Point::Position(position) => {
            match shards.iter().all(|shard| position.shards.contains_key(&ShardName(shard.as_str().into()))) {
                true => Ok(position),
                false => Err(says_nothing(time, name)),
            }
        }
        Point::Time(time) => {
            let log = engine.commit.log().await?;
            let mut position = Position::default();
            for shard in shards {
                let found = log.shard(shard).ok_or_else(|| Error::report("a topic has lost a shard"))?;
                let offset = Offset(offset_at(found, time).await?.0);
                position.shards.insert(ShardName(shard.as_str().into()), offset);
            }
            Ok(position)
        }
    }
}

/// Where a shard ended at a time, which belongs to what was.
async fn offset_at(shard: store::Shard, time: CommitTime) -> Result<store::Offset> {
    let found = tokio::task::spawn_blocking(move || shard.offset_at(CommitTime(time.0.saturating_add(1))));
    let found = found.await.map_err(|error| Error::report("looking for a time ended in a panic").with_source(error))?;
    found.map_err(crate::commit::log_error)
}

enum Point {
    Position(Position),
    Time(CommitTime),
}

/// A token, or a time as SQL writes it; without a zone it is UTC.
fn point(text: &str) -> Result<Point> {
    if let Ok(position) = text.parse::<Position>()
        && !text.is_empty()
    {
        return Ok(Point::Position(position));
    }
    match arrow::compute::kernels::cast_utils::string_to_datetime(&chrono::Utc, text) {
        Ok(time) => Ok(Point::Time(CommitTime(time.timestamp_micros()))),
        Err(_) => Err(Error::fix(SqlState::PARAMETER, format!("'{text}' is neither a position nor a time"))
            .with_hint("SHOW POSITION tells a position; a time is written '2026-01-31 12:00:00'")),
    }
}

fn says_nothing(token: &str, name: &str) -> Error {
    Error::fix(SqlState::NOT_HELD, format!("the position '{token}' says nothing of \"{name}\""))
        .with_hint("take one that SHOW POSITION told after it was read or written")
}

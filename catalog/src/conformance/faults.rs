//! What a user sees when something fails: one error that names the source, and never a part as the whole.

use super::changes::{request, told_until};
use super::world::{Step, World, ensure, kept, not_applicable, not_shown, people, reference, stream};
use super::{Edit, Trouble, Verdict};
use crate::{ChangeEvent, Error};
use futures::StreamExt;
use std::time::Duration;
use tokio::time::timeout;

pub(super) async fn source_5_an_unknown_table_is_none(world: &World<'_>) -> Verdict {
    let context = world.context();
    ensure!(world.find(&context, "conf_no_such_table").await?.is_none(), "a table that does not exist is described");
    let elsewhere =
        world.source().dataset(&context, "conf_no_such_schema", "conf_people").await.step("unknown schema")?;
    ensure!(elsewhere.is_none(), "a table of a schema that does not exist is described");
    kept()
}

/// Reads a table to its end, or to the first error. The stream must end there.
async fn read_to_the_end(world: &World<'_>) -> Result<(usize, Option<Error>), String> {
    let context = world.building().partitions(1).build();
    let session = world.session(&context, &["conf_faulty"]).await?;
    let frame = session.table(reference("conf_faulty")).await.step("plan")?;
    let mut rows = stream(&session, frame).await.step("open a stream")?;
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        match batch {
            Ok(batch) => count += batch.num_rows(),
            Err(error) => {
                ensure!(rows.next().await.is_none(), "the stream goes on after its error");
                return Ok((count, Some(Error::from_datafusion(error))));
            }
        }
    }
    Ok((count, None))
}

pub(super) async fn source_5_errors_name_the_source(world: &World<'_>) -> Verdict {
    world.create_people("conf_faulty", 60_000).await?;
    if !world.subject.make(Trouble::Scan).await {
        return not_shown("the subject cannot break a scan");
    }
    let (_, error) = read_to_the_end(world).await?;
    let error = error.ok_or("a scan that broke off ends as if it were complete")?;
    let said = error.to_string();
    ensure!(said.contains(world.catalog().as_str()), "the error does not name the source: {said}");
    kept()
}

pub(super) async fn scan_5_a_broken_stream_ends_with_an_error(world: &World<'_>) -> Verdict {
    world.create_people("conf_faulty", 60_000).await?;
    if !world.subject.make(Trouble::Scan).await {
        return not_shown("the subject cannot break a scan");
    }
    let (count, error) = read_to_the_end(world).await?;
    ensure!(error.is_some(), "a scan that broke off gives {count} rows as if they were all");
    let (count, error) = read_to_the_end(world).await?;
    ensure!(error.is_none() && count == 60_000, "the next scan gives {count} rows and {error:?}");
    kept()
}

pub(super) async fn changes_break_off_with_an_error(world: &World<'_>) -> Verdict {
    let Some(changes) = world.source().changes() else {
        return not_applicable("the source does not tell changes");
    };
    world.create_people("conf_people", 5).await?;
    let start = changes.latest(&world.context()).await.step("latest")?;
    if !world.subject.make(Trouble::Changes).await {
        return not_shown("the subject cannot break a stream of changes");
    }
    for at in 0..3 {
        let edit = Edit::Insert { table: "conf_people".into(), rows: people(10 + at..11 + at) };
        world.subject.commit(&[edit]).await.step("insert")?;
    }
    let asked = request(world, Some(start.clone()), &["conf_people"]).await?;
    let mut stream = changes.open(&world.context(), asked.clone()).await.step("open")?;
    let (mut last, mut error) = (start, None);
    while let Ok(Some(event)) = timeout(Duration::from_secs(10), stream.next()).await {
        match event {
            Ok(ChangeEvent::Commit(position)) => last = position,
            Ok(_) => {}
            Err(found) => error = Some(found),
        }
    }
    let said = error.ok_or("a stream that broke off gives no error, or does not end")?.to_string();
    ensure!(said.contains(world.catalog().as_str()), "the error does not name the source: {said}");
    let end = changes.latest(&world.context()).await.step("latest")?;
    let again = crate::ChangesRequest { after: Some(last), ..asked };
    told_until(changes.as_ref(), world, again, &end).await?;
    kept()
}

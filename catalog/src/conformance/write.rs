//! Promises of [`Writer`](crate::Writer).

use super::rows::Rows;
use super::world::{Step, World, ensure, kept, not_applicable, not_shown, people};
use super::{Trouble, Verdict};
use crate::{
    Applied, ChangePart, ColumnDefinition, ColumnId, DatasetDefinition, DatasetId, Definition, Entry, Offset, Position,
    ShardName, WEIGHT_COLUMN, Writer,
};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

/// Changes to one dataset: its rows, then their weights.
pub(super) type DatasetChanges = (DatasetId, RecordBatch);

/// The rows, each with this weight: as changes have them.
pub fn weighted(rows: &RecordBatch, weight: i64) -> RecordBatch {
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(WEIGHT_COLUMN, DataType::Int64, false)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(Int64Array::from_value(weight, rows.num_rows())));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a weight column fits any batch")
}

/// What an engine would define a table as: the columns have the ids `c0`, `c1` and so on, and the primary key is the column of
/// this name, if there is one.
pub fn definition(id: &str, schema: &str, name: &str, columns: &Schema, key: Option<&str>) -> DatasetDefinition {
    let column = |(at, field): (usize, &FieldRef)| ColumnDefinition {
        id: ColumnId(format!("c{at}").into()),
        field: Arc::clone(field),
        options: BTreeMap::new(),
    };
    let columns: Vec<_> = columns.fields().iter().enumerate().map(column).collect();
    let is_key = |column: &&ColumnDefinition| Some(column.field.name().as_str()) == key;
    DatasetDefinition {
        id: DatasetId(id.into()),
        schema: schema.to_string(),
        name: name.to_string(),
        key: columns.iter().filter(is_key).map(|column| column.id.clone()).collect(),
        columns,
        unique: Vec::new(),
        identity: None,
        indexes: Vec::new(),
        references: Vec::new(),
        sharding: None,
        options: BTreeMap::new(),
    }
}

/// A position after everything that was applied.
async fn next_position(writer: &dyn Writer) -> Result<Position, String> {
    let main = ShardName("main".into());
    let mut position = writer.last_applied().await.step("last_applied")?.unwrap_or_default();
    let next = position.shards.get(&main).map_or(1, |offset| offset.0 + 1);
    position.shards.insert(main, Offset(next));
    Ok(position)
}

/// An entry whose parts arrive one by one, with a pause before each, as from a log on disk.
fn entry(position: &Position, changes: &[DatasetChanges]) -> Entry {
    let parts: Vec<_> = changes.iter().cloned().map(|(dataset, batch)| ChangePart { dataset, batch }).collect();
    let parts = futures::stream::iter(parts).then(|part| async {
        tokio::task::yield_now().await;
        Ok(part)
    });
    let (time, request_id) = (SystemTime::UNIX_EPOCH, Some("conformance".to_string()));
    Entry { position: position.clone(), time, request_id, definitions: Vec::new(), parts: Box::pin(parts) }
}

/// Applies changes at a new position.
pub(super) async fn apply_changes(writer: &dyn Writer, changes: Vec<DatasetChanges>) -> Result<Applied, String> {
    let position = next_position(writer).await?;
    writer.apply(entry(&position, &changes)).await.step("apply")
}

/// Two tables to write, `conf_left` with ten rows and `conf_right` with none.
struct Desk {
    writer: Arc<dyn Writer>,
    rows: RecordBatch,
    left: DatasetId,
    right: DatasetId,
}

async fn desk(world: &World<'_>) -> Result<Option<Desk>, String> {
    let Some(writer) = world.source().writer() else { return Ok(None) };
    let rows = world.create_people("conf_left", 10).await?;
    world.create_people("conf_right", 0).await?;
    let (left, right) = (world.dataset_id("conf_left").await?, world.dataset_id("conf_right").await?);
    Ok(Some(Desk { writer, rows, left, right }))
}

impl Desk {
    /// Moves the first three rows of `conf_left` to `conf_right`, and adds two rows to `conf_left`.
    fn move_three(&self) -> Vec<DatasetChanges> {
        vec![
            (self.left.clone(), weighted(&self.rows.slice(0, 3), -1)),
            (self.right.clone(), weighted(&self.rows.slice(0, 3), 1)),
            (self.left.clone(), weighted(&people(100..102), 1)),
        ]
    }

    async fn expect_moved(&self, world: &World<'_>, when: &str) -> Result<(), String> {
        world.expect_rows("conf_left", &[self.rows.slice(3, 7), people(100..102)], when).await?;
        world.expect_rows("conf_right", &[self.rows.slice(0, 3)], when).await
    }

    async fn expect_untouched(&self, world: &World<'_>, when: &str) -> Result<(), String> {
        world.expect_rows("conf_left", std::slice::from_ref(&self.rows), when).await?;
        world.expect_rows("conf_right", &[people(0..0)], when).await
    }
}

const NO_WRITER: &str = "the source cannot be written";

pub(super) async fn writer_1_applies_whole_entries(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_WRITER) };
    let applied = apply_changes(desk.writer.as_ref(), desk.move_three()).await?;
    ensure!(applied == Applied::Done, "an entry that fits was not taken: {applied:?}");
    desk.expect_moved(world, "after an entry").await?;
    // An update that keeps the key, told in the awkward order: the new row first.
    let old = desk.rows.slice(5, 1);
    let columns: Vec<ArrayRef> =
        vec![Arc::clone(old.column(0)), Arc::new(StringArray::from(vec!["changed"])), Arc::clone(old.column(2))];
    let new = RecordBatch::try_new(old.schema(), columns).expect("the columns fit the schema");
    let update = vec![(desk.left.clone(), weighted(&new, 1)), (desk.left.clone(), weighted(&old, -1))];
    let applied = apply_changes(desk.writer.as_ref(), update).await?;
    ensure!(applied == Applied::Done, "an update was not taken: {applied:?}");
    let expected = [desk.rows.slice(3, 2), new, desk.rows.slice(6, 4), people(100..102)];
    world.expect_rows("conf_left", &expected, "after an update").await?;
    kept()
}

pub(super) async fn writer_1_a_refusal_leaves_no_trace(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_WRITER) };
    let strange = Schema::new(vec![Field::new("stranger", DataType::Int64, true)]);
    let strange = RecordBatch::try_new(Arc::new(strange), vec![Arc::new(Int64Array::from(vec![1]))]);
    let strange = strange.expect("the column fits the schema");
    let mut misfits = vec![
        ("rows with other columns", (desk.right.clone(), weighted(&strange, 1))),
        ("an unknown dataset", (DatasetId("conf no such dataset".into()), weighted(&people(0..1), 1))),
    ];
    let described = world.dataset(&world.context(), "conf_left").await?;
    if described.provider.constraints().is_some_and(|constraints| !constraints.is_empty()) {
        misfits.push(("a key that is there already", (desk.left.clone(), weighted(&desk.rows.slice(7, 1), 1))));
    }
    for (what, misfit) in misfits {
        let before = desk.writer.last_applied().await.step("last_applied")?;
        let mut changes = desk.move_three();
        changes.push(misfit);
        let position = next_position(desk.writer.as_ref()).await?;
        let applied = desk.writer.apply(entry(&position, &changes)).await.step(what)?;
        ensure!(matches!(applied, Applied::Refused { .. }), "{what}: expected a refusal, got {applied:?}");
        desk.expect_untouched(world, &format!("after a refusal of {what}")).await?;
        let after = desk.writer.last_applied().await.step("last_applied")?;
        ensure!(before == after, "{what}: a refused entry counts as applied");
    }
    kept()
}

pub(super) async fn writer_1_a_retry_leaves_no_trace(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_WRITER) };
    if !world.subject.make(Trouble::Apply).await {
        return not_shown("the subject cannot make the system busy");
    }
    let position = next_position(desk.writer.as_ref()).await?;
    let before = desk.writer.last_applied().await.step("last_applied")?;
    let applied = desk.writer.apply(entry(&position, &desk.move_three())).await.step("apply")?;
    ensure!(matches!(applied, Applied::Retry { .. }), "a busy system says {applied:?}");
    desk.expect_untouched(world, "after a retry").await?;
    ensure!(desk.writer.last_applied().await.step("last_applied")? == before, "a retried entry counts as applied");
    let applied = desk.writer.apply(entry(&position, &desk.move_three())).await.step("apply")?;
    ensure!(applied == Applied::Done, "the second time: {applied:?}");
    desk.expect_moved(world, "after the second time").await?;
    kept()
}

pub(super) async fn writer_2_applies_once(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_WRITER) };
    let position = next_position(desk.writer.as_ref()).await?;
    for time in ["the first time", "the second time", "the third time"] {
        let applied = desk.writer.apply(entry(&position, &desk.move_three())).await.step(time)?;
        ensure!(applied == Applied::Done, "{time}: {applied:?}");
        desk.expect_moved(world, time).await?;
    }
    // A writer opened anew, as after a restart, knows it too.
    let again = world.source().writer().ok_or("the writer is gone")?;
    let applied = again.apply(entry(&position, &desk.move_three())).await.step("by another writer")?;
    ensure!(applied == Applied::Done, "by another writer: {applied:?}");
    desk.expect_moved(world, "applied again by another writer").await?;
    kept()
}

pub(super) async fn writer_3_remembers_with_the_data(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_WRITER) };
    for step in 0..3 {
        let position = next_position(desk.writer.as_ref()).await?;
        let changes = vec![(desk.right.clone(), weighted(&people(step..step + 1), 1))];
        let applied = desk.writer.apply(entry(&position, &changes)).await.step("apply")?;
        ensure!(applied == Applied::Done, "an entry that fits was not taken: {applied:?}");
        let last = world.source().writer().ok_or("the writer is gone")?.last_applied().await.step("last_applied")?;
        ensure!(last.as_ref() == Some(&position), "after {position} the last applied position is {last:?}");
        world.expect_rows("conf_right", &[people(0..step + 1)], "after an entry").await?;
    }
    kept()
}

pub(super) async fn writer_4_dropped_anywhere_leaves_all_or_nothing(world: &World<'_>) -> Verdict {
    for polls in 1..=12 {
        let Some(desk) = desk(world).await? else { return not_applicable(NO_WRITER) };
        let position = next_position(desk.writer.as_ref()).await?;
        let changes = desk.move_three();
        drop_after(polls, desk.writer.apply(entry(&position, &changes))).await;
        // What was dropped may still be on its way at the system; asked again, the writer must wait for it or undo it.
        let last = desk.writer.last_applied().await.step("last_applied")?;
        let when = format!("dropped after {polls} polls");
        let is_applied = last.is_some_and(|last| last.includes(&position));
        let left = Rows::of(&world.rows("conf_left").await?).len();
        let right = Rows::of(&world.rows("conf_right").await?).len();
        let expected = if is_applied { (9, 3) } else { (10, 0) };
        ensure!((left, right) == expected, "{when}: {left} and {right} rows, expected {expected:?}");
        let applied = desk.writer.apply(entry(&position, &changes)).await.step(&when)?;
        ensure!(applied == Applied::Done, "{when}, applied again: {applied:?}");
        desk.expect_moved(world, &when).await?;
    }
    kept()
}

/// Either the store takes a definition, with rows in the same entry, or it says so beforehand and refuses the entry.
pub(super) async fn writer_5_is_defined_by_the_log(world: &World<'_>) -> Verdict {
    let Some(writer) = world.source().writer() else { return not_applicable(NO_WRITER) };
    let rows = people(0..5);
    let schema = rows.schema();
    let first = schema.field(0).name();
    let definition = definition("conf_defined-1", &world.schema(), "conf_defined", &schema, Some(first));
    let (id, takes) = (definition.id.clone(), writer.check_definition(&definition).is_ok());
    let position = next_position(writer.as_ref()).await?;
    for time in ["the first time", "the second time"] {
        let changes = [(id.clone(), weighted(&rows, 1))];
        let definitions = vec![Definition::Create(definition.clone())];
        let applied = writer.apply(Entry { definitions, ..entry(&position, &changes) }).await.step(time)?;
        match applied {
            Applied::Done if takes => world.expect_rows("conf_defined", std::slice::from_ref(&rows), time).await?,
            Applied::Refused { .. } if !takes => {
                let left = world.find(&world.context(), "conf_defined").await?;
                ensure!(left.is_none(), "a refused definition left a table behind");
            }
            other => return Err(format!("{time}: {other:?}, and check_definition said otherwise")),
        }
    }
    if takes {
        let position = next_position(writer.as_ref()).await?;
        let drop = Entry { definitions: vec![Definition::Drop(id)], ..entry(&position, &[]) };
        let applied = writer.apply(drop).await.step("drop")?;
        ensure!(applied == Applied::Done, "the dataset was not dropped: {applied:?}");
        ensure!(world.find(&world.context(), "conf_defined").await?.is_none(), "a dropped dataset is still there");
    }
    kept()
}

/// Polls a future so many times at most, then drops it.
async fn drop_after<F: Future>(polls: usize, future: F) {
    let mut future = pin!(future);
    let mut left = polls;
    let dropped = poll_fn(|task| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        match future.as_mut().poll(task) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending if left == 0 => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    });
    // A future that waits for the network may not be polled that often.
    let _ = tokio::time::timeout(Duration::from_secs(2), dropped).await;
}

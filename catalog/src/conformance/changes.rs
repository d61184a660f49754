//! Promises of [`Changes`](crate::Changes).

use super::rows::{Row, net};
use super::world::{Step, World, ensure, kept, not_applicable, not_shown, people};
use super::write::weighted;
use super::{Edit, Outcome, Trouble, Verdict};
use crate::{
    ChangeEvent, ChangeStream, Changes, ChangesRequest, DatasetId, DatasetRequest, PART_ROWS_MAX, SourcePosition,
    TransactionHeader,
};
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use datafusion_expr::{col, lit};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a source may take to tell of a commit.
const TELL_TIME_MAX: Duration = Duration::from_secs(20);

const NO_CHANGES: &str = "the source does not tell changes";

/// A transaction as it was told.
#[derive(Debug)]
pub(super) struct Told {
    header: TransactionHeader,
    parts: Vec<(DatasetId, RecordBatch)>,
    /// Events that are no rows.
    others: Vec<ChangeEvent>,
}

impl Told {
    fn rows(&self, dataset: &DatasetId) -> Vec<RecordBatch> {
        self.parts.iter().filter(|(of, _)| of == dataset).map(|(_, batch)| batch.clone()).collect()
    }

    fn net(&self, dataset: &DatasetId) -> BTreeMap<Row, i64> {
        net(&self.rows(dataset))
    }

    fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.others.is_empty()
    }
}

pub(super) async fn request(
    world: &World<'_>,
    after: Option<SourcePosition>,
    tables: &[&str],
) -> Result<ChangesRequest, String> {
    let mut datasets = Vec::new();
    for table in tables {
        let dataset = world.dataset_id(table).await?;
        datasets.push(DatasetRequest { dataset, columns: None, predicate: None });
    }
    Ok(ChangesRequest { after, datasets })
}

/// Everything that is told up to and including `end`, as whole transactions; those with nothing in them are left out.
pub(super) async fn told_until(
    changes: &dyn Changes,
    world: &World<'_>,
    request: ChangesRequest,
    end: &SourcePosition,
) -> Result<Vec<Told>, String> {
    let mut stream = changes.open(&world.context(), request.clone()).await.step("open a stream of changes")?;
    let mut told = Vec::new();
    if request.after.as_ref().is_some_and(|after| after >= end) {
        return Ok(told);
    }
    loop {
        let transaction = next_transaction(&mut stream).await?;
        let position = transaction.header.position.clone();
        if !transaction.is_empty() {
            told.push(transaction);
        }
        if position >= *end {
            return Ok(told);
        }
    }
}

/// The next transaction, checked for its frame: begin, parts, commit, and nothing between two of them but what is a
/// transaction of its own.
async fn next_transaction(stream: &mut ChangeStream) -> Result<Told, String> {
    let mut open: Option<Told> = None;
    loop {
        let event = timeout(TELL_TIME_MAX, stream.next()).await.step("a commit is not told in time")?;
        let event = event.ok_or("the stream of changes ends")?.step("the stream of changes")?;
        match event {
            ChangeEvent::Begin(header) => {
                ensure!(open.is_none(), "a transaction begins inside another");
                open = Some(Told { header, parts: Vec::new(), others: Vec::new() });
            }
            ChangeEvent::Part(part) => {
                let told = open.as_mut().ok_or("a part stands outside of a transaction")?;
                ensure!(part.weights().is_some(), "a part has no weight column: {:?}", part.batch.schema());
                let rows = part.batch.num_rows();
                ensure!(rows <= PART_ROWS_MAX, "a part holds {rows} rows, at most {PART_ROWS_MAX} are allowed");
                told.parts.push((part.dataset, part.batch));
            }
            ChangeEvent::Commit(position) => {
                let told = open.take().ok_or("a commit without a begin")?;
                let announced = &told.header.position;
                ensure!(*announced == position, "announced position {announced}, committed at {position}");
                return Ok(told);
            }
            ChangeEvent::SchemaChange { ref position, .. }
            | ChangeEvent::Truncate { ref position, .. }
            | ChangeEvent::NeedsResnapshot { ref position, .. } => match &mut open {
                Some(told) => told.others.push(event),
                None => {
                    let (position, time) = (position.clone(), std::time::SystemTime::UNIX_EPOCH);
                    let header = TransactionHeader { position, time, origin: None, request_id: None };
                    return Ok(Told { header, parts: Vec::new(), others: vec![event] });
                }
            },
            ChangeEvent::Lost { reason } => return Err(format!("the history is lost: {reason}")),
        }
    }
}

/// `conf_people` with ten rows, and where its history stands.
struct Desk {
    changes: Arc<dyn Changes>,
    people: DatasetId,
    start: SourcePosition,
}

async fn desk(world: &World<'_>) -> Result<Option<Desk>, String> {
    let Some(changes) = world.source().changes() else { return Ok(None) };
    world.create_people("conf_people", 10).await?;
    let start = changes.latest(&world.context()).await.step("latest")?;
    Ok(Some(Desk { changes, people: world.dataset_id("conf_people").await?, start }))
}

impl Desk {
    async fn told(&self, world: &World<'_>, after: &SourcePosition) -> Result<Vec<Told>, String> {
        let end = self.changes.latest(&world.context()).await.step("latest")?;
        let request = request(world, Some(after.clone()), &["conf_people"]).await?;
        told_until(self.changes.as_ref(), world, request, &end).await
    }
}

fn insert(rows: &RecordBatch) -> Edit {
    Edit::Insert { table: "conf_people".into(), rows: rows.clone() }
}

fn delete(rows: &RecordBatch) -> Edit {
    Edit::Delete { table: "conf_people".into(), rows: rows.clone() }
}

/// Commits edits that every source with changes must allow.
async fn commit(world: &World<'_>, edits: &[Edit]) -> Result<(), String> {
    let done = world.subject.commit(edits).await.step("the subject could not commit")?;
    ensure!(done, "the source tells changes, so its subject must be able to commit {edits:?}");
    Ok(())
}

/// Transactions of several kinds, and what each comes to.
async fn commit_some(world: &World<'_>) -> Result<Vec<BTreeMap<Row, i64>>, String> {
    let transactions = [
        vec![insert(&people(10..13))],
        vec![delete(&people(0..2)), insert(&people(20..21))],
        vec![insert(&people(30..31)), insert(&people(31..40)), delete(&people(5..6))],
        vec![delete(&people(30..40))],
        vec![insert(&people(0..1))],
    ];
    let mut expected = Vec::new();
    for edits in transactions {
        let edits = possible(world, edits);
        if edits.is_empty() {
            continue;
        }
        commit(world, &edits).await?;
        expected.push(net(&edits.iter().map(changes_of).collect::<Vec<_>>()));
    }
    Ok(expected)
}

/// The edits that can be done to the system.
fn possible(world: &World<'_>, mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.retain(|edit| world.subject.deletes() || !matches!(edit, Edit::Delete { .. }));
    edits
}

fn changes_of(edit: &Edit) -> RecordBatch {
    match edit {
        Edit::Insert { rows, .. } => weighted(rows, 1),
        Edit::Delete { rows, .. } => weighted(rows, -1),
        Edit::Truncate { .. } | Edit::AddColumn { .. } => weighted(&people(0..0), 1),
    }
}

/// Compares what was told of `conf_people` with what was committed, transaction by transaction.
fn compare(told: &[Told], dataset: &DatasetId, expected: &[BTreeMap<Row, i64>], when: &str) -> Result<(), String> {
    let told: Vec<_> = told.iter().map(|transaction| transaction.net(dataset)).collect();
    for (at, (told, expected)) in told.iter().zip(expected).enumerate() {
        ensure!(told == expected, "{when}, transaction {at} is told as {told:?}, expected {expected:?}");
    }
    ensure!(told.len() == expected.len(), "{when}, {} transactions are told, expected {}", told.len(), expected.len());
    Ok(())
}

pub(super) async fn changes_1_tells_whole_transactions(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_CHANGES) };
    let expected = commit_some(world).await?;
    let told = desk.told(world, &desk.start).await?;
    compare(&told, &desk.people, &expected, "after five commits")?;
    kept()
}

pub(super) async fn changes_2_parts_are_bounded(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_CHANGES) };
    let many = people(100..100 + 3 * PART_ROWS_MAX);
    commit(world, &[insert(&many)]).await?;
    let told = desk.told(world, &desk.start).await?;
    // The size of each part is checked as it arrives.
    ensure!(told.len() == 1, "one transaction is told as {}", told.len());
    ensure!(told[0].net(&desk.people) == net(&[weighted(&many, 1)]), "a large transaction is told with other rows");
    kept()
}

pub(super) async fn changes_3_resumes_after_any_position(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_CHANGES) };
    let expected = commit_some(world).await?;
    let told = desk.told(world, &desk.start).await?;
    compare(&told, &desk.people, &expected, "from the start")?;
    for (at, transaction) in told.iter().enumerate() {
        let position = &transaction.header.position;
        let rest = desk.told(world, position).await?;
        compare(&rest, &desk.people, &expected[at + 1..], &format!("resumed after {position}"))?;
    }
    // A stream that breaks off inside a transaction has told nothing of it.
    let asked = request(world, Some(desk.start.clone()), &["conf_people"]).await?;
    let mut stream = desk.changes.open(&world.context(), asked).await.step("open")?;
    for _ in 0..2 {
        timeout(TELL_TIME_MAX, stream.next()).await.step("an event is not told in time")?;
    }
    drop(stream);
    let again = desk.told(world, &desk.start).await?;
    compare(&again, &desk.people, &expected, "after a stream that was dropped")?;
    kept()
}

pub(super) async fn changes_4_positions_never_decrease(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_CHANGES) };
    commit_some(world).await?;
    let told = desk.told(world, &desk.start).await?;
    let positions: Vec<_> = told.iter().map(|transaction| transaction.header.position.clone()).collect();
    ensure!(positions.is_sorted(), "positions decrease: {positions:?}");
    ensure!(positions.first().is_some_and(|first| *first > desk.start), "a commit is not after what was latest before");
    let latest = desk.changes.latest(&world.context()).await.step("latest")?;
    ensure!(positions.last().is_some_and(|last| *last <= latest), "the latest position is older than the last commit");
    // A stream opened at the latest position tells only what is still to come.
    commit(world, &[insert(&people(50..51))]).await?;
    let rest = desk.told(world, &latest).await?;
    compare(&rest, &desk.people, &[net(&[weighted(&people(50..51), 1)])], "opened at the latest position")?;
    kept()
}

pub(super) async fn changes_5_tells_old_rows(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_CHANGES) };
    if !world.subject.deletes() {
        return not_applicable("no row of the source is ever deleted");
    }
    commit(world, &[delete(&people(3..5))]).await?;
    let end = desk.changes.latest(&world.context()).await.step("latest")?;
    let mut asked = request(world, Some(desk.start.clone()), &["conf_people"]).await?;
    asked.datasets[0].columns = Some(vec![2, 1]);
    let told = told_until(desk.changes.as_ref(), world, asked, &end).await?;
    ensure!(told.len() == 1, "one transaction is told as {}", told.len());
    let expected = weighted(&people(3..5).project(&[2, 1]).step("project")?, -1);
    let parts = told[0].rows(&desk.people);
    let columns: Vec<_> = parts.iter().map(RecordBatch::num_columns).collect();
    ensure!(columns.iter().all(|count| *count == 3), "asked for two columns and weights, told {columns:?} columns");
    let (told, expected) = (told[0].net(&desk.people), net(&[expected]));
    ensure!(told == expected, "the old rows are told as {told:?}, expected {expected:?}");
    kept()
}

pub(super) async fn changes_6_tells_what_rows_cannot(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_CHANGES) };
    let field = Arc::new(Field::new("extra", DataType::Utf8, true));
    let edits = [
        ("a truncation", Edit::Truncate { table: "conf_people".into() }),
        ("a new column", Edit::AddColumn { table: "conf_people".into(), field }),
    ];
    let mut shown = 0;
    for (what, edit) in edits {
        let before = desk.changes.latest(&world.context()).await.step("latest")?;
        if !world.subject.commit(std::slice::from_ref(&edit)).await.step(what)? {
            continue;
        }
        shown += 1;
        // A source may tell of a new schema with the first row that has it.
        if matches!(edit, Edit::AddColumn { .. }) {
            let rows = people(60..61);
            let mut columns = rows.columns().to_vec();
            columns.push(arrow::array::new_null_array(&DataType::Utf8, 1));
            let mut fields = rows.schema().fields().to_vec();
            fields.push(Arc::new(Field::new("extra", DataType::Utf8, true)));
            let rows =
                RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).step("a wide row")?;
            commit(world, &[insert(&rows)]).await?;
        }
        let told = desk.told(world, &before).await?;
        let others: Vec<&ChangeEvent> = told.iter().flat_map(|transaction| &transaction.others).collect();
        let is_told = others.iter().any(|event| match (event, &edit) {
            (ChangeEvent::Truncate { dataset, .. }, Edit::Truncate { .. }) => *dataset == desk.people,
            (ChangeEvent::SchemaChange { dataset, schema, .. }, Edit::AddColumn { .. }) => {
                *dataset == desk.people && schema.column_with_name("extra").is_some()
            }
            (ChangeEvent::NeedsResnapshot { dataset, .. }, _) => *dataset == desk.people,
            _ => false,
        });
        let deleted = told.iter().map(|transaction| transaction.net(&desk.people).values().sum::<i64>()).sum::<i64>();
        let is_told = is_told || (matches!(edit, Edit::Truncate { .. }) && deleted == -10);
        ensure!(is_told, "{what} is not told; what is: {others:?}");
    }
    if shown == 2 { kept() } else { not_shown("the subject cannot truncate, or cannot add a column") }
}

pub(super) async fn changes_6_tells_that_history_is_lost(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_CHANGES) };
    commit_some(world).await?;
    let asked = request(world, Some(desk.start.clone()), &["conf_people"]).await?;
    if !world.subject.make(Trouble::ForgetHistory).await {
        return not_shown("the subject cannot make the system forget");
    }
    let mut stream = desk.changes.open(&world.context(), asked).await.step("open")?;
    let first = timeout(TELL_TIME_MAX, stream.next()).await.step("nothing is told of a lost history")?;
    ensure!(matches!(first, Some(Ok(ChangeEvent::Lost { .. }))), "of a lost history is told {first:?}");
    let next = timeout(TELL_TIME_MAX, stream.next()).await.step("the stream does not end")?;
    ensure!(next.is_none(), "after a lost history is told {next:?}");
    kept()
}

pub(super) async fn changes_7_tells_only_what_was_asked(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_CHANGES) };
    world.create_people("conf_others", 3).await?;
    let start = desk.changes.latest(&world.context()).await.step("latest")?;
    let others = Edit::Insert { table: "conf_others".into(), rows: people(10..20) };
    let edits = possible(world, vec![insert(&people(40..60)), delete(&people(0..8))]);
    let changes: Vec<_> = edits.iter().map(changes_of).collect();
    commit(world, &[&edits[..], &[others]].concat()).await?;
    let end = desk.changes.latest(&world.context()).await.step("latest")?;
    let mut asked = request(world, Some(start), &["conf_people"]).await?;
    asked.datasets[0].predicate = Some(col("score").gt(lit(5_i64)));
    let told = told_until(desk.changes.as_ref(), world, asked, &end).await?;
    let stray = told.iter().flat_map(|transaction| &transaction.parts).find(|(dataset, _)| *dataset != desk.people);
    ensure!(stray.is_none(), "rows of dataset {:?} are told, which nobody asked for", stray.map(|(of, _)| of));
    let mut expected = net(&changes);
    expected.retain(|row, _| row[2].as_ref().is_some_and(|score| score.parse::<i64>().is_ok_and(|score| score > 5)));
    let told: Vec<_> = told.iter().flat_map(|transaction| transaction.rows(&desk.people)).collect();
    ensure!(net(&told) == expected, "asked for score > 5, told {:?}, expected {expected:?}", net(&told));
    kept()
}

/// The rows at the start, plus everything told since, are the rows at the end.
pub(super) async fn changes_and_rows_agree(world: &World<'_>) -> Verdict {
    let Some(desk) = desk(world).await? else { return not_applicable(NO_CHANGES) };
    let before = world.rows("conf_people").await?;
    let mut all: Vec<RecordBatch> = before.iter().map(|batch| weighted(batch, 1)).collect();
    commit_some(world).await?;
    for step in 0..20 {
        let (low, high) = (200 + step * 3, 200 + step * 3 + 3);
        let mut edits = vec![insert(&people(low..high))];
        if step % 2 == 1 {
            edits.push(delete(&people(low - 3..low - 1)));
        }
        commit(world, &possible(world, edits)).await?;
    }
    all.extend(desk.told(world, &desk.start).await?.iter().flat_map(|transaction| transaction.rows(&desk.people)));
    let after: Vec<_> = world.rows("conf_people").await?.iter().map(|batch| weighted(batch, 1)).collect();
    ensure!(net(&all) == net(&after), "rows and changes come to {:?}, the table holds {:?}", net(&all), net(&after));
    Ok(Outcome::Kept)
}

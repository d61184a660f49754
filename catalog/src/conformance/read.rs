//! Promises of [`Source`](crate::Source) and [`Scan`](crate::Scan) about listing, reading and stopping.

use super::rows::Rows;
use super::world::{Step, World, ensure, kept, not_applicable, not_shown, people, plan, reference, run, shown, stream};
use super::{Edit, Table, Verdict};
use crate::{CatalogName, Column, Error, ReadContext, ScanReport, SqlState, mark};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_common::Statistics;
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long a source may take to notice that nobody waits for it any more.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// The first deadline that is tried, and the last.
const DEADLINE_MIN: Duration = Duration::from_millis(250);
const DEADLINE_MAX: Duration = Duration::from_secs(30);

/// More than any source sends ahead.
const MANY_ROWS: usize = 60_000;

/// The most rows that a batch may hold when the session asks for 8192: a source may round, not collect.
const BATCH_ROWS_MAX: usize = 4 * 8192;

pub(super) async fn source_1_lists_all_datasets_in_order(world: &World<'_>) -> Verdict {
    for name in ["conf_list_b", "conf_list_a", "conf_list_c"] {
        world.create_people(name, 1).await?;
    }
    let (source, context) = (world.source(), world.context());
    let schemas = source.schemas(&context).await.step("schemas")?;
    ensure!(schemas.contains(&world.schema()), "the default schema is not among {schemas:?}");
    ensure!(schemas.is_sorted(), "the schemas are not in order: {schemas:?}");
    let listed = source.datasets(&context, &world.schema()).await.step("datasets")?;
    let names: Vec<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
    ensure!(names.is_sorted(), "the datasets are not in order: {names:?}");
    for name in ["conf_list_a", "conf_list_b", "conf_list_c"] {
        let Some(entry) = listed.iter().find(|entry| entry.name == name) else {
            return Err(format!("{name} is not listed: {names:?}"));
        };
        let described = world.dataset(&context, name).await?;
        ensure!(described.entry == *entry, "{name} is listed as {entry:?}, described as {:?}", described.entry);
        let same_id = listed.iter().filter(|other| other.id == entry.id).count();
        ensure!(same_id == 1, "id {} stands for {same_id} datasets", entry.id);
        let schema = described.provider.schema();
        let fields: Vec<_> = described.columns.iter().map(|column| Arc::clone(&column.field)).collect();
        ensure!(schema.fields()[..] == fields[..], "the columns of {name} are not those of its provider");
    }
    let unknown = source.datasets(&context, "conf_no_such_schema").await.step("an unknown schema")?;
    ensure!(unknown.is_empty(), "an unknown schema has datasets: {unknown:?}");
    kept()
}

pub(super) async fn source_1_listing_is_cheap(world: &World<'_>) -> Verdict {
    if world.subject.sent_requests().await.is_none() {
        return not_shown("the subject does not count requests");
    }
    let cost = async || -> Result<u64, String> {
        let before = world.subject.sent_requests().await.unwrap_or_default();
        let context = world.context();
        world.source().schemas(&context).await.step("schemas")?;
        world.source().datasets(&context, &world.schema()).await.step("datasets")?;
        Ok(world.subject.sent_requests().await.unwrap_or_default() - before)
    };
    world.create_people("conf_many_0", 1).await?;
    cost().await?;
    let few = cost().await?;
    for number in 1..16 {
        world.create_people(&format!("conf_many_{number}"), 1).await?;
    }
    let many = cost().await?;
    ensure!(many <= few, "listing took {few} requests, and {many} with 15 tables more");
    kept()
}

pub(super) async fn source_2_sees_what_was_created_and_dropped(world: &World<'_>) -> Verdict {
    let rows = world.create_people("conf_fresh", 3).await?;
    world.expect_rows("conf_fresh", &[rows], "just created").await?;
    world.subject.drop("conf_fresh").await.step("the subject could not drop a table")?;
    let gone = world.find(&world.context(), "conf_fresh").await?;
    ensure!(gone.is_none(), "a table that was dropped is still described");
    let listed = world.source().datasets(&world.context(), &world.schema()).await.step("datasets")?;
    ensure!(listed.iter().all(|entry| entry.name != "conf_fresh"), "a table that was dropped is still listed");
    let rows = people(7..9);
    let table = Table { name: "conf_fresh".into(), schema: rows.schema(), rows: vec![rows.clone()], key: None };
    world.create(&table).await?;
    world.expect_rows("conf_fresh", &[rows], "created again").await?;
    kept()
}

pub(super) async fn source_2_sees_new_columns(world: &World<'_>) -> Verdict {
    world.create_people("conf_altered", 3).await?;
    let before = world.dataset(&world.context(), "conf_altered").await?;
    let field = Arc::new(Field::new("extra", DataType::Utf8, true));
    let edit = Edit::AddColumn { table: "conf_altered".into(), field };
    if !world.subject.commit(&[edit]).await.step("add a column")? {
        return not_shown("the subject cannot add a column");
    }
    let after = world.dataset(&world.context(), "conf_altered").await?;
    let shown = |dataset: &crate::Dataset| -> Vec<Column> {
        let columns = dataset.columns.iter().filter(|column| !mark::is_hidden(column.field.metadata()));
        columns.cloned().collect()
    };
    let (before_shown, after_shown) = (shown(&before), shown(&after));
    let names: Vec<&str> = after_shown.iter().map(|column| column.field.name().as_str()).collect();
    ensure!(names == ["id", "name", "score", "extra"], "after adding a column the columns are {names:?}");
    ensure!(after.entry.id == before.entry.id, "the id of an altered table changed");
    let ids = |columns: &[Column]| columns.iter().map(|column| column.id.clone()).collect::<Vec<_>>();
    ensure!(ids(&after_shown)[..3] == ids(&before_shown)[..], "the ids of columns changed");
    let rows = world.rows("conf_altered").await?;
    ensure!(rows.iter().all(|batch| batch.column(3).null_count() == batch.num_rows()), "a new column is not NULL");
    kept()
}

pub(super) async fn source_4_a_cancelled_query_stops(world: &World<'_>) -> Verdict {
    world.create_people("conf_large", MANY_ROWS).await?;
    let token = CancellationToken::new();
    let context = world.building().partitions(1).cancellation(token.clone()).build();
    let mut rows = open_and_read_one(world, &context, "conf_large").await?;
    token.cancel();
    expect_stopped(&mut rows, "after the query was cancelled").await?;
    drop(rows);
    let refused = world.source().datasets(&context, &world.schema()).await;
    ensure!(refused.is_err(), "a cancelled context still lists datasets");
    expect_idle(world).await
}

pub(super) async fn source_4_a_passed_deadline_stops(world: &World<'_>) -> Verdict {
    world.create_people("conf_large", MANY_ROWS).await?;
    // The deadline has to pass between the first batch and the last. How long the first takes depends on the machine, so
    // a deadline that passed too soon is doubled.
    let mut time = DEADLINE_MIN;
    let (mut rows, deadline) = loop {
        let deadline = Instant::now() + time;
        let context = world.building().partitions(1).deadline(Some(deadline)).build();
        let first = open_and_read_one(world, &context, "conf_large").await;
        match first {
            Ok(rows) => break (rows, deadline),
            Err(error) if Instant::now() < deadline => return Err(error),
            Err(error) => ensure!(time < DEADLINE_MAX, "no row arrives within {} s: {error}", time.as_secs()),
        }
        time *= 2;
    };
    tokio::time::sleep_until(deadline + Duration::from_millis(20)).await;
    expect_stopped(&mut rows, "after the deadline").await?;
    drop(rows);
    expect_idle(world).await
}

pub(super) async fn source_4_a_dropped_stream_stops_the_work(world: &World<'_>) -> Verdict {
    world.create_people("conf_large", MANY_ROWS).await?;
    for _ in 0..3 {
        let context = world.context();
        drop(open_and_read_one(world, &context, "conf_large").await?);
    }
    let verdict = expect_idle(world).await?;
    let count: usize = world.rows("conf_large").await?.iter().map(RecordBatch::num_rows).sum();
    ensure!(count == MANY_ROWS, "after dropped streams, {count} of {MANY_ROWS} rows are read");
    Ok(verdict)
}

async fn open(world: &World<'_>, context: &ReadContext, table: &str) -> Result<SendableRecordBatchStream, String> {
    let session = world.session(context, &[table]).await?;
    let frame = shown(&session, table).await.step("plan")?;
    stream(&session, frame).await.step("open a stream")
}

/// A stream whose first batch has arrived.
async fn open_and_read_one(
    world: &World<'_>,
    context: &ReadContext,
    table: &str,
) -> Result<SendableRecordBatchStream, String> {
    let mut rows = open(world, context, table).await?;
    rows.next().await.ok_or("a large table has no rows")?.step("the first batch")?;
    Ok(rows)
}

/// The stream ends with the error of a cancelled query, soon.
async fn expect_stopped(rows: &mut SendableRecordBatchStream, when: &str) -> Result<(), String> {
    let stopped = timeout(STOP_TIME_MAX, async {
        while let Some(batch) = rows.next().await {
            if let Err(error) = batch {
                return Some(Error::from_datafusion(error));
            }
        }
        None
    });
    match stopped.await {
        Err(_) => Err(format!("{when}, the stream goes on")),
        Ok(None) => Err(format!("{when}, the stream ends as if it were complete")),
        Ok(Some(error)) if error.state() == SqlState::CANCELLED => Ok(()),
        Ok(Some(error)) => Err(format!("{when}, the error is {} rather than 57014: {error}", error.state())),
    }
}

/// The system works on nothing any more, soon.
async fn expect_idle(world: &World<'_>) -> Verdict {
    let until = Instant::now() + STOP_TIME_MAX;
    loop {
        match world.subject.active_requests().await {
            None => return not_shown("the subject cannot tell what the system is working on"),
            Some(0) => return kept(),
            Some(active) if Instant::now() > until => {
                return Err(format!("nobody waits any more, and the system still works on {active} requests"));
            }
            Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(super) async fn source_6_serves_many_at_once(world: &World<'_>) -> Verdict {
    let rows = world.create_people("conf_shared", 500).await?;
    let expected = Rows::of(&[rows]);
    let reads = (0..12).map(|_| async {
        let context = world.context();
        world.source().datasets(&context, &world.schema()).await.step("datasets")?;
        Ok::<_, String>(Rows::of(&world.read(&context, "conf_shared").await?))
    });
    for found in futures::future::try_join_all(reads).await? {
        if let Some(difference) = expected.difference(&found) {
            return Err(format!("one of twelve reads at once: {difference}"));
        }
    }
    kept()
}

/// What the leaves of a plan ask of the source.
async fn reports(world: &World<'_>, query: &str) -> Result<(Arc<dyn ExecutionPlan>, Vec<ScanReport>), String> {
    let context = world.context();
    let session = world.session(&context, &["conf_scan"]).await?;
    let physical = plan(&session, session.sql(query).await.step(query)?).await.step(query)?;
    let reports = leaves(&physical).into_iter().filter_map(|leaf| {
        let leaf: &dyn ExecutionPlan = leaf.as_ref();
        world.source().describe_scan(&world.catalog(), leaf)
    });
    let reports = reports.collect();
    Ok((physical, reports))
}

fn leaves(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    if plan.children().is_empty() {
        return vec![Arc::clone(plan)];
    }
    plan.children().into_iter().flat_map(leaves).collect()
}

fn has_filter(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<FilterExec>().is_some() || plan.children().into_iter().any(has_filter)
}

/// What a leaf says of itself.
#[derive(Debug, PartialEq)]
struct Description {
    report: Option<ScanReport>,
    columns: Vec<(String, DataType)>,
    partitions: usize,
    statistics: Statistics,
}

fn describe(world: &World<'_>, leaf: &dyn ExecutionPlan) -> Result<Description, String> {
    let statistics = StatisticsContext::new().compute(leaf, &StatisticsArgs::new()).step("statistics")?;
    Ok(Description {
        report: world.source().describe_scan(&world.catalog(), leaf),
        columns: columns(&leaf.schema()),
        partitions: leaf.output_partitioning().partition_count(),
        statistics: statistics.as_ref().clone(),
    })
}

fn columns(schema: &Schema) -> Vec<(String, DataType)> {
    schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

pub(super) async fn scan_1_describes_itself_the_same_each_time(world: &World<'_>) -> Verdict {
    world.create_people("conf_scan", 10).await?;
    let query = "SELECT name, id FROM conf_scan WHERE score > 3";
    let session = world.session(&world.context(), &["conf_scan"]).await?;
    let planned = async || plan(&session, session.sql(query).await.step(query)?).await.step(query);
    let (physical, again) = (planned().await?, planned().await?);
    for (leaf, twin) in leaves(&physical).iter().zip(leaves(&again)) {
        let first = describe(world, leaf.as_ref())?;
        let report = first.report.as_ref().ok_or("the source does not describe a scan of its own")?;
        let elsewhere = world.source().describe_scan(&CatalogName::new("conf_no_such_catalog"), leaf.as_ref());
        ensure!(elsewhere.is_none(), "a scan is described as one of another catalog: {elsewhere:?}");
        ensure!(first.partitions > 0, "a scan has no partition: {report:?}");
        for partition in 0..first.partitions {
            let rows = leaf.execute(partition, session.task_ctx()).step("open a stream")?;
            let rows: Vec<RecordBatch> = rows.try_collect().await.step("read")?;
            let unlike = rows.iter().find(|batch| columns(batch.schema_ref()) != first.columns);
            ensure!(unlike.is_none(), "planned columns {:?}, a batch has {unlike:?}", first.columns);
        }
        for (when, other) in [("after it was read", leaf), ("planned again", &twin)] {
            let other = describe(world, other.as_ref())?;
            ensure!(first == other, "described as {first:?}, and {when} as {other:?}");
        }
    }
    kept()
}

pub(super) async fn scan_2_tells_its_request(world: &World<'_>) -> Verdict {
    world.create_people("conf_scan", 10).await?;
    let (_, all) = reports(world, "SELECT id, name, score FROM conf_scan").await?;
    let [all] = &all[..] else { return Err(format!("one scan has {} reports", all.len())) };
    ensure!(!all.request.trim().is_empty(), "the request of a scan is empty");
    let (physical, some) = reports(world, "SELECT id, name, score FROM conf_scan WHERE score > 3").await?;
    let [some] = &some[..] else { return Err(format!("one scan has {} reports", some.len())) };
    let taken_over = !has_filter(&physical);
    ensure!(
        !taken_over || some.request != all.request,
        "a filter was taken over, and the request is the same: {}",
        all.request
    );
    kept()
}

pub(super) async fn scan_3_partitions_add_up_to_the_result(world: &World<'_>) -> Verdict {
    let rows = world.create_people("conf_parts", 5_000).await?;
    let expected = Rows::of(&[rows]);
    for partitions in [1, 2, 5] {
        let context = world.building().partitions(partitions).build();
        let found = Rows::of(&world.read(&context, "conf_parts").await?);
        if let Some(difference) = expected.difference(&found) {
            return Err(format!("read in {partitions} partitions: {difference}"));
        }
    }
    kept()
}

pub(super) async fn scan_4_works_only_when_polled(world: &World<'_>) -> Verdict {
    world.create_people("conf_lazy", 10).await?;
    let context = world.context();
    let session = world.session(&context, &["conf_lazy"]).await?;
    let frame = session.table(reference("conf_lazy")).await.step("plan")?;
    let physical = plan(&session, frame).await.step("plan")?;
    let before = world.subject.sent_requests().await;
    for leaf in leaves(&physical) {
        for partition in 0..leaf.output_partitioning().partition_count() {
            drop(leaf.execute(partition, session.task_ctx()).step("open a stream")?);
        }
    }
    match (before, world.subject.sent_requests().await) {
        (Some(before), Some(after)) => {
            ensure!(before == after, "streams that nobody polled sent {} requests", after - before);
            kept()
        }
        _ => not_shown("the subject does not count requests"),
    }
}

pub(super) async fn read_empty_table(world: &World<'_>) -> Verdict {
    let rows = people(0..0);
    let table = Table { name: "conf_empty".into(), schema: rows.schema(), rows: vec![], key: Some("id".into()) };
    world.create(&table).await?;
    let session = world.session(&world.context(), &["conf_empty"]).await?;
    for (query, expected) in [
        ("SELECT * FROM conf_empty", 0),
        ("SELECT id FROM conf_empty WHERE score > 1 LIMIT 3", 0),
        ("SELECT count(*), max(id) FROM conf_empty", 1),
    ] {
        let found = run(&session, session.sql(query).await.step(query)?).await.step(query)?;
        let count: usize = found.iter().map(RecordBatch::num_rows).sum();
        ensure!(count == expected, "{query}: {count} rows, expected {expected}");
    }
    kept()
}

pub(super) async fn read_huge_table_in_bounded_batches(world: &World<'_>) -> Verdict {
    world.create_people("conf_large", MANY_ROWS).await?;
    let context = world.context();
    let sizes = open(world, &context, "conf_large").await?.map_ok(|batch| batch.num_rows());
    let sizes: Vec<usize> = sizes.try_collect().await.step("read")?;
    let (count, largest) = (sizes.iter().sum::<usize>(), sizes.iter().copied().max().unwrap_or_default());
    ensure!(count == MANY_ROWS, "{count} of {MANY_ROWS} rows are read");
    ensure!(largest <= BATCH_ROWS_MAX, "a batch holds {largest} rows: the source collects instead of streaming");
    kept()
}

pub(super) async fn read_one_snapshot_per_query(world: &World<'_>) -> Verdict {
    if !world.source().capabilities().snapshot {
        return not_applicable("the source has no snapshots, and says so");
    }
    let rows = world.create_people("conf_snapshot", 20).await?;
    let context = world.context();
    let first = world.read(&context, "conf_snapshot").await?;
    let more = people(20..30);
    let edit = Edit::Insert { table: "conf_snapshot".into(), rows: more.clone() };
    if !world.subject.commit(&[edit]).await.step("insert")? {
        return not_shown("the subject cannot insert");
    }
    let second = world.read(&context, "conf_snapshot").await?;
    if let Some(difference) = Rows::of(&first).difference(&Rows::of(&second)) {
        return Err(format!("two scans of one query differ: {difference}"));
    }
    world.expect_rows("conf_snapshot", &[rows, more], "in the next query").await?;
    kept()
}

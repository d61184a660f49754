//! The node around a scan: it stops, it ends with its first error, and it counts.

use super::*;
use crate::{Error, Principal, QueryId, SqlState};
use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::stats::Precision;
use futures::TryStreamExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// What one partition gives.
#[derive(Clone, Copy, Debug)]
enum Item {
    Rows(i64),
    Fails,
    /// Nothing, for ever.
    Hangs,
}

/// A scan that gives the same items in each of two partitions.
#[derive(Debug)]
struct Scripted {
    items: Vec<Item>,
    /// Streams that live.
    live: Arc<AtomicUsize>,
}

/// Counts a stream for as long as it lives.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Scan for Scripted {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
    }

    fn request(&self) -> String {
        "SELECT n FROM t".to_string()
    }

    fn partitions(&self) -> usize {
        2
    }

    fn statistics(&self) -> Statistics {
        Statistics { num_rows: Precision::Inexact(7), ..Statistics::new_unknown(&self.schema()) }
    }

    fn open(&self, _: usize, _: Arc<TaskContext>, meter: ScanMeter) -> Result<SendableRecordBatchStream> {
        let (schema, live) = (self.schema(), Live::new(&self.live));
        let rows = futures::stream::iter(self.items.clone()).then(move |item| {
            let (schema, meter, _live) = (Arc::clone(&schema), meter.clone(), &live);
            async move {
                match item {
                    Item::Rows(count) => {
                        meter.received(10);
                        let column = Int64Array::from_iter_values(0..count);
                        Ok(RecordBatch::try_new(schema, vec![Arc::new(column)])?)
                    }
                    Item::Fails => Err(Error::retry(SqlState::CONNECTION_LOST, "the connection broke").into()),
                    Item::Hangs => std::future::pending().await,
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

fn context() -> crate::ReadContextBuilder {
    ReadContext::builder(QueryId("q".into()), Principal("tester".into()))
}

fn scan(items: &[Item], context: ReadContext) -> (ScanExec, Arc<AtomicUsize>) {
    let live = Arc::new(AtomicUsize::new(0));
    let scan = Scripted { items: items.to_vec(), live: Arc::clone(&live) };
    (ScanExec::new(CatalogName::new("shop"), Arc::new(scan), context), live)
}

fn open(exec: &ScanExec, partition: usize) -> Result<SendableRecordBatchStream> {
    exec.execute(partition, Arc::new(TaskContext::default()))
}

/// The error that a stream gives next, soon.
async fn next_error(rows: &mut SendableRecordBatchStream) -> Error {
    let next = timeout(Duration::from_secs(10), rows.next()).await.expect("the stream stops");
    Error::from_datafusion(next.expect("an item").expect_err("an error"))
}

#[tokio::test]
async fn a_cancelled_query_stops_a_source_that_hangs() {
    let token = CancellationToken::new();
    let (exec, live) = scan(&[Item::Rows(3), Item::Hangs], context().cancellation(token.clone()).build());
    let mut rows = open(&exec, 0).expect("open");
    assert_eq!(rows.next().await.expect("an item").expect("rows").num_rows(), 3);
    token.cancel();
    assert_eq!(next_error(&mut rows).await.state(), SqlState::CANCELLED);
    assert_eq!(live.load(Ordering::SeqCst), 0, "the stream of the source still lives");
    assert!(rows.next().await.is_none(), "the stream goes on after its error");
    let error = open(&exec, 1).err().expect("a cancelled query opens nothing");
    assert_eq!(Error::from_datafusion(error).state(), SqlState::CANCELLED);
}

#[tokio::test]
async fn a_cancelled_query_gives_no_more_rows_that_are_ready() {
    let token = CancellationToken::new();
    let (exec, _) = scan(&[Item::Rows(1); 100], context().cancellation(token.clone()).build());
    let mut rows = open(&exec, 0).expect("open");
    rows.next().await.expect("an item").expect("rows");
    token.cancel();
    assert_eq!(next_error(&mut rows).await.state(), SqlState::CANCELLED);
}

#[tokio::test]
async fn a_passed_deadline_stops_and_says_what_to_do() {
    let deadline = Instant::now() + Duration::from_millis(50);
    let (exec, live) = scan(&[Item::Hangs], context().deadline(Some(deadline)).build());
    let mut rows = open(&exec, 0).expect("open");
    let error = next_error(&mut rows).await;
    assert_eq!(error.state(), SqlState::CANCELLED);
    assert!(error.hint().is_some_and(|hint| hint.contains("statement_timeout")), "{error:?}");
    assert!(Instant::now() >= deadline, "it stopped too soon");
    assert_eq!(live.load(Ordering::SeqCst), 0, "the stream of the source still lives");
    assert!(open(&exec, 1).is_err(), "a late query opens another stream");
}

#[tokio::test]
async fn the_first_error_is_the_last_item() {
    let (exec, live) = scan(&[Item::Rows(2), Item::Fails, Item::Rows(5)], context().build());
    let mut rows = open(&exec, 0).expect("open");
    rows.next().await.expect("an item").expect("rows");
    assert_eq!(next_error(&mut rows).await.state(), SqlState::CONNECTION_LOST);
    assert_eq!(live.load(Ordering::SeqCst), 0, "the stream of the source still lives");
    assert!(rows.next().await.is_none(), "rows come after the error");
}

#[tokio::test]
async fn a_dropped_stream_drops_that_of_the_source() {
    let (exec, live) = scan(&[Item::Rows(2), Item::Hangs], context().build());
    let mut rows = open(&exec, 0).expect("open");
    rows.next().await.expect("an item").expect("rows");
    assert_eq!(live.load(Ordering::SeqCst), 1);
    drop(rows);
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn rows_and_bytes_of_all_partitions_are_counted() {
    let (exec, _) = scan(&[Item::Rows(2), Item::Rows(3)], context().build());
    for partition in 0..2 {
        open(&exec, partition).expect("open").try_collect::<Vec<_>>().await.expect("rows");
    }
    let metrics = exec.metrics().expect("metrics");
    assert_eq!(metrics.output_rows(), Some(10));
    let bytes = metrics.sum_by_name(ScanMeter::BYTES).expect("the bytes are counted");
    assert_eq!(bytes.as_usize(), 40);
}

#[test]
fn a_scan_is_printed_and_sized_as_its_source_says() {
    use datafusion_physical_plan::statistics::StatisticsContext;
    let (exec, _) = scan(&[], context().build());
    let printed = datafusion_physical_plan::displayable(&exec).one_line().to_string();
    assert_eq!(printed.trim(), "ScanExec: shop: SELECT n FROM t");
    let rows = |args: StatisticsArgs| StatisticsContext::new().compute(&exec, &args).expect("statistics").num_rows;
    assert_eq!(rows(StatisticsArgs::new()), Precision::Inexact(7));
    assert_eq!(rows(StatisticsArgs::new().with_partition(Some(1))), Precision::Absent, "a share is not known");
}

//! A server that fails now and then: the answer is right in the end, or there is one clear error.

use super::mock::Mock;
use super::proxy::{Fault, Proxy};
use super::s3::Bucket;
use super::*;
use polder_catalog::{Kind, SqlState};
use std::time::Duration;
use tokio::time::Instant;

/// A catalog that reaches its bucket by way of a proxy, and tries three times.
struct Shaky {
    bucket: Bucket,
    proxy: Proxy,
    lake: Arc<dyn Source>,
}

/// Large enough to break off in the middle, whatever the format.
const ROWS: &str = "SELECT value AS n, 'text ' || md5('' || value) AS s FROM range(5000)";
const SUM: &str = "SELECT count(*), sum(n), count(DISTINCT s) FROM t";
const RIGHT: &str = "5000|12497500|5000";
const NAMES: [&str; 5] = ["t.parquet", "t.csv", "t.csv.gz", "t.ndjson", "t.arrow"];

impl Shaky {
    async fn new() -> Self {
        let bucket = Bucket::new();
        let proxy = Proxy::before(&bucket.s3.endpoint()).await;
        let endpoint = proxy.endpoint();
        let lake = bucket.attach_with(&[("endpoint", &endpoint), ("retries", "2"), ("timeout", "1s")]).await;
        Self { bucket, proxy, lake }
    }

    async fn sum(&self, table: &str) -> Result<Vec<String>, Error> {
        query(&self.lake, &context(), "public", table, SUM).await
    }

    /// No request begins in the middle of the object, where an earlier one broke off.
    #[track_caller]
    fn assert_not_taken_up(&self, part: &str) {
        let requests = self.proxy.requests(part);
        let is_taken_up = |head: &String| head.contains("range: bytes=") && !head.contains("range: bytes=0-");
        assert!(!requests.is_empty() && !requests.iter().any(is_taken_up), "{requests:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_fail_are_tried_again_until_the_answer_is_whole() {
    let shaky = Shaky::new().await;
    let cut = Fault::Cut;
    for name in NAMES {
        shaky.bucket.put_rows(name, ROWS).await;
        for faults in [[Fault::Status(500), Fault::Status(503)], [cut(0), Fault::Status(429)], [cut(5_000), cut(1)]] {
            // One and the same request fails twice, and the next one does.
            shaky.proxy.fail(&format!("{name} "), &faults);
            let before = shaky.proxy.requests(name).len();
            let rows = shaky.sum(name).await.unwrap_or_else(|error| panic!("{name}, {faults:?}: {error:?}"));
            assert_eq!(rows, [RIGHT], "{name}, {faults:?}");
            assert!(shaky.proxy.requests(name).len() > before + 2, "{name}, {faults:?}: nothing was tried again");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_breaks_off_is_asked_for_again() {
    let shaky = Shaky::new().await;
    for table in 0..20 {
        shaky.bucket.put_rows(&format!("table{table}.csv"), "SELECT 1 AS a").await;
    }
    for faults in [[Fault::Status(500), Fault::Cut(1_000)], [Fault::Cut(0), Fault::Cut(2_000)]] {
        shaky.proxy.fail("list-type", &faults);
        assert_eq!(shaky.lake.datasets(&context(), "public").await.expect("list").len(), 20, "{faults:?}");
    }
    shaky.proxy.fail("list-type", &[Fault::Cut(1_000); 3]);
    let error = shaky.lake.datasets(&context(), "public").await.expect_err("three times");
    assert_helpful(&error, "s3://polder-lake");
    assert_eq!((error.kind(), error.state()), (Kind::Retry, SqlState::CONNECTION), "{error:?}");
}

/// A part of the rows is never shown as all of them.
#[tokio::test(flavor = "multi_thread")]
async fn when_all_retries_are_spent_there_is_one_clear_error_and_no_part_of_the_answer() {
    let shaky = Shaky::new().await;
    for name in NAMES {
        shaky.bucket.put_rows(name, ROWS).await;
        shaky.sum(name).await.expect("the server is well");
        for (fault, state, said) in [
            (Fault::Status(500), SqlState::IO, "the store failed"),
            (Fault::Cut(3_000), SqlState::CONNECTION, "the connection broke off"),
        ] {
            // As many as there can be requests, so that none gets through.
            shaky.proxy.fail(&format!("{name} "), &[fault; 50]);
            let error = shaky.sum(name).await.expect_err(name);
            assert_helpful(&error, &format!("s3://polder-lake/in/side/{name}"));
            assert!(error.message().contains(said), "{name}, {fault:?}: {error:?}");
            assert_eq!((error.kind(), error.state()), (Kind::Retry, state), "{name}, {fault:?}: {error:?}");
            shaky.proxy.heal();
        }
        assert_eq!(shaky.sum(name).await.expect("the server is well again"), [RIGHT], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_is_told_by_its_silence() {
    let shaky = Shaky::new().await;
    shaky.bucket.put_rows("t.parquet", ROWS).await;
    shaky.proxy.fail("t.parquet ", &[Fault::Silence]);
    assert_eq!(shaky.sum("t").await.expect("the next answer is there"), [RIGHT]);
    shaky.bucket.put_rows("t.parquet", ROWS).await;
    shaky.proxy.fail("t.parquet ", &[Fault::Silence; 3]);
    let error = shaky.sum("t").await.expect_err("three times");
    assert_helpful(&error, "s3://polder-lake/in/side/t.parquet");
    assert!(error.message().ends_with("the server did not answer in time"), "{error:?}");
    assert_eq!((error.kind(), error.state()), (Kind::Retry, SqlState::CONNECTION), "{error:?}");
}

/// The bound is on the server's silence: an object may take longer to read, and a client longer to take the rows.
#[tokio::test(flavor = "multi_thread")]
async fn slow_is_not_silent() {
    let shaky = Shaky::new().await;
    shaky.bucket.put_rows("t.csv", ROWS).await;
    let started = Instant::now();
    shaky.proxy.fail("t.csv ", &[Fault::Slow(25_000, Duration::from_millis(200)); 50]);
    assert_eq!(shaky.sum("t").await.expect("the whole"), [RIGHT]);
    assert!(started.elapsed() > Duration::from_secs(1), "it took no longer than the server may be silent");
    shaky.assert_not_taken_up("t.csv ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_may_take_its_time() {
    use futures::StreamExt;
    let shaky = Shaky::new().await;
    let rows = "SELECT value AS n, repeat('long text ', 20) AS s FROM range(100000)";
    shaky.bucket.put_rows("t.csv", rows).await;
    let found = shaky.lake.dataset(&context(), "public", "t").await.expect("describe").expect("a table");
    let session = session();
    session.register_table("t", found.provider).expect("register");
    let frame = session.sql("SELECT n, s FROM t").await.expect("parse");
    let mut stream = frame.execute_stream().await.expect("start");
    let mut count = stream.next().await.expect("a first batch").expect("rows").num_rows();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    while let Some(batch) = stream.next().await {
        count += batch.expect("the rest is not lost").num_rows();
    }
    assert_eq!(count, 100_000);
    shaky.assert_not_taken_up("t.csv ");
}

/// The words of the error come from what happened, not from how the bucket is called.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_the_url_is_not_taken_for_a_cause() {
    let shaky = Shaky::new().await;
    for name in ["connect timeout.csv", "tls certificate.csv", "PermanentRedirect.csv", "NoSuchBucket.csv"] {
        shaky.bucket.put_rows(name, "SELECT 1 AS a").await;
        shaky.proxy.fail("GET /polder-lake/in", &[Fault::Status(500); 50]);
        let error = query(&shaky.lake, &context(), "public", name, "SELECT * FROM t").await.expect_err(name);
        assert!(error.message().contains("the store failed"), "{error:?}");
        shaky.proxy.heal();
    }
}

/// A bucket is listed by a request for each thousand names: a query over many tables must not repeat that for each.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_lists_a_level_once_and_the_next_one_anew() {
    let shaky = Shaky::new().await;
    for name in ["a.parquet", "b.parquet", "c.csv"] {
        shaky.bucket.put_rows(name, ROWS).await;
    }
    let listings = || shaky.proxy.requests("delimiter=%2F").len();
    let describe = async |context: &ReadContext| {
        let tables = ["a", "b", "c"].map(|table| shaky.lake.dataset(context, "public", table));
        futures::future::try_join_all(tables).await.unwrap().into_iter().flatten().count()
    };
    for statements in 1..3 {
        assert_eq!(describe(&context()).await, 3);
        assert_eq!(listings(), statements);
    }
}

/// An answer that leads elsewhere is an error, and nobody is asked there: it would be with the catalog's signature, where nobody has
/// allowed it to lead.
#[tokio::test]
async fn redirects_are_not_followed() {
    static ELSEWHERE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let elsewhere = Mock::http(|_| (200, "secret".to_string())).await;
    ELSEWHERE.get_or_init(|| format!("http://{}/latest/meta-data", elsewhere.address()));
    let server = Mock::http(|_| (307, ELSEWHERE.get().cloned().unwrap_or_default())).await;
    let endpoint = format!("http://{}", server.address());
    let options = [("location", "s3://bucket"), ("endpoint", &endpoint), ("credentials", "none"), ("retries", "0")];
    let lake = attach(&options).await.unwrap();
    query(&lake, &context(), "public", "t", "SELECT a FROM t").await.unwrap_err();
    assert!(!server.requests().is_empty());
    assert_eq!(elsewhere.requests(), Vec::<String>::new());
}

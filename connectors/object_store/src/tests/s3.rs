//! A real S3 server over HTTP.

use super::*;
use polder_catalog::{Check, CheckState, SqlState};
use polder_testing::S3;

pub(super) const BUCKET: &str = "polder-lake";

/// Options of a catalog on the server's bucket, with the keys in files.
pub(super) struct Bucket {
    pub(super) s3: S3,
    keys: TempDir,
}

impl Bucket {
    pub(super) fn new() -> Self {
        let s3 = S3::start();
        s3.create_bucket(BUCKET);
        let keys = tempfile::tempdir().expect("make a folder");
        std::fs::write(keys.path().join("good"), s3.secret_key()).expect("write");
        std::fs::write(keys.path().join("bad"), "wrong").expect("write");
        Self { s3, keys }
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("file:{}", self.keys.path().join(name).display())
    }

    async fn attach(&self, location: &str, key: &str) -> Arc<dyn Source> {
        self.attach_with(&[("location", location), ("secret_access_key", &self.key(key))]).await
    }

    /// A catalog of `in/side` with the server's own keys, where the options do not say otherwise.
    pub(super) async fn attach_with(&self, options: &[(&str, &str)]) -> Arc<dyn Source> {
        let (location, endpoint, secret) = (format!("s3://{BUCKET}/in/side"), self.s3.endpoint(), self.key("good"));
        let mut all = vec![
            ("location", location.as_str()),
            ("endpoint", endpoint.as_str()),
            ("region", self.s3.region()),
            ("access_key_id", self.s3.access_key()),
            ("secret_access_key", secret.as_str()),
            ("retries", "1"),
            ("timeout", "5s"),
        ];
        for (name, value) in options {
            all.retain(|(taken, _)| taken != name);
            all.push((name, value));
        }
        attach(&all).await.expect("attach")
    }

    async fn lake(&self) -> Arc<dyn Source> {
        self.attach_with(&[]).await
    }

    pub(super) async fn put_rows(&self, name: &str, sql: &str) {
        self.s3.put(BUCKET, &format!("in/side/{name}"), &rows_as_file(name, sql).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_is_read_from_a_bucket() {
    let bucket = Bucket::new();
    let lake = bucket.lake().await;
    let names = [
        "p.parquet",
        "c.csv",
        "cg.csv.gz",
        "cb.csv.bz2",
        "cx.csv.xz",
        "cz.csv.zst",
        "n.ndjson",
        "ng.ndjson.gz",
        "a.arrow",
    ];
    for name in names {
        bucket.put_rows(name, "SELECT value AS n, 'x' || value AS s FROM range(5000)").await;
    }
    for name in names {
        let rows = query(&lake, &context(), "public", name, "SELECT count(*), sum(n), max(s) FROM t").await;
        assert_eq!(rows.unwrap_or_else(|error| panic!("{name}: {error:?}")), ["5000|12497500|x999"], "{name}");
    }
    assert_eq!(lake.datasets(&context(), "public").await.expect("list").len(), names.len());
}

/// A stream of several members, where DataFusion's own decoders of streams stop after the first.
#[tokio::test(flavor = "multi_thread")]
async fn every_member_of_a_compressed_object_is_read_and_a_cut_one_is_an_error() {
    let bucket = Bucket::new();
    let lake = bucket.lake().await;
    for extension in ["gz", "bz2", "xz", "zst"] {
        let name = format!("m.ndjson.{extension}");
        let one = rows_as_file(&name, "SELECT value AS n FROM range(3000)").await;
        bucket.s3.put(BUCKET, &format!("in/side/{name}"), &[one.as_slice(), &one].concat());
        let rows = query(&lake, &context(), "public", &name, "SELECT count(*) FROM t").await;
        assert_eq!(rows.unwrap_or_else(|error| panic!("{name}: {error:?}")), ["6000"], "{name}");
        bucket.s3.put(BUCKET, &format!("in/side/{name}"), &[one.as_slice(), &one[..one.len() - 8]].concat());
        let error = query(&lake, &context(), "public", &name, "SELECT count(n) FROM t").await.expect_err(&name);
        assert_helpful(&error, &format!("s3://{BUCKET}/in/side/{name}"));
        assert!(error.message().contains("cut off"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_partitions_patterns_and_strange_keys_work_in_a_bucket() {
    let bucket = Bucket::new();
    let lake = bucket.lake().await;
    bucket.put_rows("t/year=2024/a.parquet", "SELECT 1 AS n").await;
    bucket.put_rows("t/year=2025/b.parquet", "SELECT 2 AS n, 'x' AS late").await;
    bucket.put_rows("group/one/a.csv", "SELECT 3 AS n").await;
    assert_eq!(lake.schemas(&context()).await.expect("schemas"), ["group", "public"]);
    let all = query(&lake, &context(), "public", "t", "SELECT * FROM t").await.expect("rows");
    assert_eq!(all, ["1|NULL|2024", "2|x|2025"]);
    let some = query(&lake, &context(), "public", "t/**/b.*", "SELECT n FROM t").await.expect("rows");
    assert_eq!(some, ["2"]);
    for (at, name) in ["two words", "größe", "a+b&c=d", "it's", "a\"b"].iter().enumerate() {
        bucket.s3.put(BUCKET, &format!("in/side/{name}.csv"), format!("a\n{at}\n").as_bytes());
        let rows = query(&lake, &context(), "public", name, "SELECT * FROM t").await;
        assert_eq!(rows.unwrap_or_else(|error| panic!("{name}: {error:?}")), [at.to_string()], "{name}");
    }
    let report = reports(&lake, &context(), "t", "SELECT n FROM t").await;
    assert!(report[0].request.starts_with(&format!("READ s3://{BUCKET}/in/side/t/ ")), "{}", report[0].request);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_said_plainly() {
    let bucket = Bucket::new();
    bucket.put_rows("t.csv", "SELECT 1 AS a").await;
    let wrong = bucket.attach(&format!("s3://{BUCKET}"), "bad").await;
    let error = wrong.datasets(&context(), "public").await.expect_err("a wrong key");
    assert_helpful(&error, &format!("s3://{BUCKET}"));
    assert!([SqlState::LOGIN, SqlState::PRIVILEGE].contains(&error.state()), "{error:?}");
    // Of tokens, a server speaks as 400 Bad Request.
    let expired = bucket.attach_with(&[("session_token", &bucket.key("bad"))]).await;
    let error = expired.datasets(&context(), "public").await.expect_err("a wrong token");
    assert_helpful(&error, &format!("s3://{BUCKET}"));
    assert_eq!(error.state(), SqlState::LOGIN, "{error:?}");
    let missing = bucket.attach("s3://no-such-bucket", "good").await;
    let error = missing.datasets(&context(), "public").await.expect_err("no bucket");
    assert_helpful(&error, "s3://no-such-bucket");
    assert_eq!(error.state(), SqlState::NO_FILE, "{error:?}");
    let unread = bucket.attach(&format!("s3://{BUCKET}"), "not-there").await;
    let error = unread.datasets(&context(), "public").await.expect_err("no secret");
    assert!(error.detail().is_some_and(|detail| detail.contains("not-there")), "{error:?}");
    assert_eq!((error.state(), error.hint().is_some()), (SqlState::LOGIN, true), "{error:?}");
    let endpoint = bucket.s3.endpoint();
    let public =
        [("location", "s3://polder-lake"), ("endpoint", endpoint.as_str()), ("credentials", "none"), ("retries", "0")];
    let error = attach(&public).await.expect("attach").datasets(&context(), "public").await.expect_err("not public");
    assert_helpful(&error, &format!("s3://{BUCKET}"));
}

/// The keys are good and the server knows them: what is missing is a right.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_rights_is_told_which_to_ask_for() {
    let bucket = Bucket::new();
    bucket.put_rows("t.csv", "SELECT 1 AS a").await;
    bucket.s3.create_user("guest", "guest-secret");
    std::fs::write(bucket.keys.path().join("guest"), "guest-secret").expect("write");
    let guest = [("access_key_id", "guest"), ("secret_access_key", &bucket.key("guest"))];
    let lake = bucket.attach_with(&guest).await;
    let refused = |error: Error, place: &str| {
        assert_helpful(&error, place);
        assert_eq!(error.state(), SqlState::PRIVILEGE, "{error:?}");
        assert!(error.message().ends_with("access denied"), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("grant s3:ListBucket and s3:GetObject")), "{error:?}");
        assert!(!format!("{error:?}").contains("guest-secret"), "{error:?}");
    };
    refused(lake.datasets(&context(), "public").await.expect_err("may not list"), "could not list s3://polder-lake");
    bucket.s3.allow(BUCKET, "guest", &["s3:ListBucket"]);
    assert_eq!(lake.datasets(&context(), "public").await.expect("may list").len(), 1);
    let error = query(&lake, &context(), "public", "t", "SELECT a FROM t").await.expect_err("may not read");
    refused(error, "could not read s3://polder-lake/in/side/t.csv");
    let checks = lake.check(&context()).await;
    let failed: Vec<_> = checks.iter().filter(|check| check.state == CheckState::Failed).collect();
    assert!(failed.len() == 1 && failed[0].item == "rights to read" && failed[0].fix.is_some(), "{checks:?}");
    bucket.s3.allow(BUCKET, "guest", &["s3:ListBucket", "s3:GetObject"]);
    assert_eq!(query(&lake, &context(), "public", "t", "SELECT a FROM t").await.expect("may read"), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_endpoint_and_one_without_tls_are_told_apart() {
    let bucket = Bucket::new();
    let secret = bucket.key("good");
    let port = polder_testing::free_port();
    let dead = format!("http://127.0.0.1:{port}");
    let plain = bucket.s3.endpoint().replace("http://", "https://");
    for endpoint in [dead, plain] {
        let options = [
            ("location", "s3://polder-lake"),
            ("endpoint", endpoint.as_str()),
            ("access_key_id", "x"),
            ("secret_access_key", secret.as_str()),
            ("retries", "1"),
            ("timeout", "3s"),
        ];
        let lake = attach(&options).await.expect("attach");
        let error = lake.datasets(&context(), "public").await.expect_err("no server");
        assert_helpful(&error, "s3://polder-lake");
        assert_eq!(error.state(), SqlState::CONNECTION, "{error:?}");
        let checks = lake.check(&context()).await;
        assert!(
            checks.iter().any(|check| check.item == "reachable" && check.state == CheckState::Failed),
            "{checks:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_works_and_never_a_secret() {
    let bucket = Bucket::new();
    bucket.put_rows("t.csv", "SELECT 1 AS a").await;
    let checks = bucket.lake().await.check(&context()).await;
    let state =
        |item: &str| checks.iter().find(|check| check.item == item).map(|check| (check.state, check.detail.as_str()));
    assert_eq!(state("reachable"), Some((CheckState::Ok, "yes")));
    assert_eq!(state("rights to read"), Some((CheckState::Ok, "granted")));
    assert_eq!(state("tables"), Some((CheckState::Ok, "1")));
    assert_eq!(state("tls").map(|(state, _)| state), Some(CheckState::Warning));
    assert!(state("credentials").is_some_and(|(_, detail)| detail.contains(bucket.s3.access_key())));
    assert!(!format!("{checks:?}").contains(bucket.s3.secret_key()));
    let mends = |check: &Check| check.state == CheckState::Ok || check.fix.is_some();
    let wrong = bucket.attach(&format!("s3://{BUCKET}"), "bad").await.check(&context()).await;
    assert!(wrong.iter().all(mends) && wrong.iter().any(|check| check.state == CheckState::Failed), "{wrong:?}");
}

/// Same size, same second: only the version tells that the object is another.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_replaced_within_a_second_is_read_anew() {
    let bucket = Bucket::new();
    let lake = bucket.lake().await;
    for round in 0..5 {
        bucket.put_rows("t.parquet", &format!("SELECT {round} AS n")).await;
        let rows = query(&lake, &context(), "public", "t", "SELECT max(n), sum(n) FROM t").await.expect("rows");
        assert_eq!(rows, [format!("{round}|{round}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_replaced_after_planning_is_an_error() {
    let bucket = Bucket::new();
    let lake = bucket.lake().await;
    for name in ["t.parquet", "t.csv"] {
        bucket.put_rows(name, "SELECT value AS n FROM range(100)").await;
        let found = lake.dataset(&context(), "public", name).await.expect("describe").expect("a table");
        let session = session();
        session.register_table("t", found.provider).expect("register");
        let plan = session.sql("SELECT n + 1 FROM t").await.expect("parse").create_physical_plan().await.expect("plan");
        bucket.put_rows(name, "SELECT value * 7 AS n FROM range(100)").await;
        let error = datafusion::physical_plan::collect(plan, session.task_ctx()).await.expect_err(name);
        let error = Error::from_datafusion(error);
        assert_helpful(&error, name);
        assert!(error.message().contains("changed while it was being read"), "{error:?}");
    }
}

/// A rotated secret is picked up without attaching anew.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_read_at_each_request() {
    let bucket = Bucket::new();
    bucket.put_rows("t.csv", "SELECT 1 AS a").await;
    let lake = bucket.attach(&format!("s3://{BUCKET}/in/side"), "bad").await;
    lake.datasets(&context(), "public").await.expect_err("a wrong key");
    std::fs::write(bucket.keys.path().join("bad"), bucket.s3.secret_key()).expect("rotate");
    assert_eq!(query(&lake, &context(), "public", "t", "SELECT a FROM t").await.expect("rows"), ["1"]);
}

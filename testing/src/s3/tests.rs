use super::S3;
use crate::DuckDb;

/// Protects every test on objects: what is put is what a signed client reads, under names that need care.
#[test]
fn a_signed_client_reads_what_was_put() {
    let s3 = S3::start();
    s3.create_bucket("lake");
    s3.put("lake", "year=2024/a b é.csv", b"n,name\n1,one\n2,\n");
    let mut duckdb = DuckDb::start();
    duckdb.use_s3(&s3);
    let rows = duckdb.query("SELECT n, name FROM read_csv('s3://lake/year=2024/*.csv') ORDER BY n");
    assert_eq!(rows, [[Some("1".into()), Some("one".into())], [Some("2".into()), None]]);
    assert!(s3.requests().iter().any(|line| line.starts_with("200 PUT /lake/year=2024/")), "{:?}", s3.requests());
}

/// A fault test needs the same address and objects after the fault.
#[test]
fn objects_survive_a_restart() {
    let mut s3 = S3::start();
    s3.create_bucket("lake");
    s3.put("lake", "a.csv", b"n\n1\n");
    let endpoint = s3.endpoint();
    s3.stop();
    s3.restart();
    assert_eq!(s3.endpoint(), endpoint);
    let mut duckdb = DuckDb::start();
    duckdb.use_s3(&s3);
    assert_eq!(duckdb.query("SELECT n FROM 's3://lake/a.csv'"), [[Some("1".into())]]);
}

/// A bucket is private until it is made public.
#[test]
fn a_public_bucket_needs_no_signature() {
    let s3 = S3::start();
    s3.create_bucket("open");
    s3.put("open", "a.txt", b"hello");
    let get = || {
        let url = format!("{}/open/a.txt", s3.endpoint());
        std::process::Command::new("curl").args(["-s", "-f", &url]).output().expect("run curl").stdout
    };
    assert_eq!(get(), b"");
    s3.make_public("open");
    assert_eq!(get(), b"hello");
}

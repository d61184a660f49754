//! Files without a catalog.

use super::*;
use crate::local_file;

#[tokio::test]
async fn a_file_a_folder_and_a_pattern_are_read() {
    let lake = Lake::new().await;
    lake.write_rows("d/a.parquet", "SELECT 1 AS n").await;
    lake.write_rows("d/b.parquet", "SELECT 2 AS n").await;
    lake.write("d/k=5/[odd].csv", "n\n3\n");
    for (pattern, expected) in [
        ("d/a.parquet", vec!["1"]),
        ("d/*.parquet", vec!["1", "2"]),
        ("d/{a,b}.parquet", vec!["1", "2"]),
        ("d/k=5", vec!["3"]),
        ("d/k=5/[odd].csv", vec!["3"]),
        ("d/**/*.csv", vec!["3|5"]),
    ] {
        let path = lake.path(pattern);
        for path in [path.clone(), format!("file://{path}")] {
            let table = local_file(&context(), &path).await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
            let session = session();
            session.register_table("t", table).expect("register");
            assert_eq!(run(&session, "SELECT * FROM t").await.expect("rows"), expected, "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_an_error() {
    for pattern in ["/no/such/file.parquet", "", "nul\0"] {
        let error = local_file(&context(), pattern).await.expect_err("nothing there");
        assert!(error.hint().is_some() && error.message().contains(pattern), "{error:?}");
    }
}

//! Memory stays bounded however large the table is: rows wait at the server, not here.

use super::server::{Database, context, session};
use futures::StreamExt;
use std::time::Duration;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("linux tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("it is there");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_the_server_back() {
    let database = Database::create();
    database.psql("CREATE VIEW wide AS SELECT i, repeat('x', 10000) AS t FROM generate_series(1, 60000) i");
    let source = database.attach(&[]).await;
    let frame = session(&source, &context(), &["wide"])
        .await
        .expect("described")
        .sql("SELECT * FROM wide")
        .await
        .expect("planned");
    let mut stream = frame.execute_stream().await.expect("started");
    let before = resident_kib();
    stream.next().await.expect("rows").expect("good rows");
    tokio::time::sleep(Duration::from_secs(3)).await;
    // The view is 600 MB; other tests of this process take some memory beside it.
    assert!(resident_kib() < before + 250_000, "{} KiB more", resident_kib() - before);
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch.expect("good rows").num_rows();
    }
    assert!(rows > 50_000);
}

//! Broken and malicious files: one clear error each, never a panic, never a part taken for the whole.

use super::*;
use polder_catalog::SqlState;

#[tokio::test]
async fn garbage_is_no_parquet() {
    let lake = Lake::new().await;
    lake.write("garbage.parquet", vec![0xA5; 5000]);
    lake.write("short.parquet", "PAR1");
    lake.write("empty.parquet", "");
    // A footer that claims to be two gigabytes long.
    lake.write("huge.parquet", [b"PAR1".as_slice(), &[0; 100], &0x7fff_ffff_u32.to_le_bytes(), b"PAR1"].concat());
    lake.write("negative.parquet", [b"PAR1".as_slice(), &[0xff; 100], &100_u32.to_le_bytes(), b"PAR1"].concat());
    for name in ["garbage", "short", "empty", "huge", "negative"] {
        let error = lake.error(name).await;
        assert_eq!(error.state(), SqlState::FORMAT, "{name}: {error:?}");
        assert_helpful(&error, &format!("{name}.parquet"));
    }
}

#[tokio::test]
async fn damage_inside_parquet_and_arrow_names_the_file() {
    let lake = Lake::new().await;
    let rows = "SELECT value AS n, 'text ' || value AS s FROM range(50000)";
    for name in ["d.parquet", "d.arrow"] {
        let whole = rows_as_file(name, rows).await;
        let mut seen = 0;
        // Each of these breaks something else: pages, headers, offsets, lengths.
        for at in (50..whole.len() - 200).step_by(whole.len() / 23) {
            let mut broken = whole.clone();
            broken[at..at + 40].iter_mut().for_each(|byte| *byte = !*byte);
            lake.write(name, &broken);
            if let Err(error) = lake.sql(name, "SELECT sum(n), max(s) FROM t").await {
                assert_helpful(&error, name);
                seen += 1;
            }
        }
        lake.write(name, &whole[..whole.len() / 2]);
        assert_helpful(&lake.sql(name, "SELECT * FROM t").await.expect_err("half a file"), name);
        assert!(name == "d.arrow" || seen > 5, "{name}: damage was noticed {seen} times");
    }
}

#[tokio::test]
async fn a_truncated_or_damaged_compressed_file_is_an_error() {
    let lake = Lake::new().await;
    let rows = "SELECT value AS n, 'text ' || value AS s FROM range(20000)";
    for extension in ["gz", "bz2", "xz", "zst"] {
        for format in ["csv", "ndjson"] {
            let name = format!("t.{format}.{extension}");
            let whole = rows_as_file(&name, rows).await;
            for cut in [whole.len() - 6, whole.len() / 2, 20] {
                lake.write(&name, &whole[..cut]);
                let error = lake.sql(&name, "SELECT count(*), sum(n) FROM t").await.expect_err(&name);
                assert_helpful(&error, &name);
                assert!(error.message().contains("damaged or cut off"), "{name} cut at {cut}: {error:?}");
            }
            lake.write(&name, "this is no compressed file at all");
            assert_helpful(&lake.error(&name).await, &name);
        }
    }
}

#[tokio::test]
async fn a_wrong_csv_row_is_named_with_its_line() {
    let lake = Lake::with(&[("infer_rows", "100")]).await;
    let good: String = (0..5000).map(|n| format!("{n},x\n")).collect();
    lake.write("type.csv", format!("n,s\n{good}oops,y\n"));
    lake.write("fields.csv", format!("n,s\n{good}1,2,3\n"));
    lake.write("early.csv", "n,s\n1,2\n1,2,3\n");
    for (table, line) in [("type", 5002), ("fields", 5002), ("early", 3)] {
        let error = lake.error(table).await;
        assert_helpful(&error, &format!("{table}.csv"));
        let text = format!("{} {}", error.message(), error.detail().unwrap_or_default());
        assert!(text.contains(&format!("line {line}")), "{error:?}");
    }
}

/// Each thread begins somewhere in the middle, and counts lines from there.
#[tokio::test]
async fn a_wrong_csv_row_is_named_with_its_line_when_several_threads_read() {
    let lake = Lake::with(&[("infer_rows", "100"), ("newlines_in_values", "false")]).await;
    let good: String = (0..5000).map(|n| format!("{n},padding\n")).collect();
    lake.write("type.csv", format!("n,s\n{good}oops,y\n"));
    let found = lake.source.dataset(&context(), "public", "type").await.expect("describe").expect("a table");
    let config = SessionConfig::new().with_target_partitions(4).with_repartition_file_min_size(1);
    let session = SessionContext::new_with_config(config);
    session.register_table("t", found.provider).expect("register");
    let plan = session.sql("SELECT n FROM t").await.expect("parse").create_physical_plan().await.expect("plan");
    assert_eq!(plan.properties().partitioning.partition_count(), 4, "{plan:?}");
    let error = run(&session, "SELECT sum(n) FROM t").await.expect_err("a bad row");
    assert!(error.message().contains("line 5002"), "{error:?}");
}

#[tokio::test]
async fn a_bad_ndjson_line_is_named() {
    let lake = Lake::with(&[("infer_rows", "100")]).await;
    let good: String = (0..5000).map(|n| format!("{{\"n\": {n}}}\n")).collect();
    lake.write("type.ndjson", format!("{good}{{\"n\": \"oops\"}}\n"));
    lake.write("syntax.ndjson", format!("{good}{{\"n\": \n{good}"));
    lake.write("early.ndjson", "{\"n\": 1}\nnonsense\n{\"n\": 2}\n");
    for (table, line) in [("type", 5001), ("early", 2)] {
        let error = lake.error(table).await;
        assert_helpful(&error, &format!("{table}.ndjson"));
        assert!(error.message().contains(&format!("line {line}")), "{error:?}");
    }
    assert_helpful(&lake.error("syntax").await, "syntax.ndjson");
}

#[tokio::test]
async fn text_that_is_not_utf8_is_an_error() {
    let lake = Lake::with(&[("infer_rows", "10")]).await;
    let good: Vec<u8> = (0..2000).flat_map(|n| format!("{n},x\n").into_bytes()).collect();
    lake.write("late.csv", [b"n,s\n".as_slice(), &good, b"1,\xff\xfe\n"].concat());
    lake.write("early.csv", b"n,s\n1,\xff\xfe\n");
    lake.write("t.ndjson", b"{\"a\": \"\xff\xfe\"}\n");
    for name in ["late.csv", "early.csv", "t.ndjson"] {
        let error = lake.sql(name, "SELECT * FROM t").await.expect_err(name);
        assert_helpful(&error, name);
        assert_eq!(error.state(), SqlState::CHARACTER, "{error:?}");
    }
}

#[tokio::test]
async fn empty_things_say_that_they_are_empty() {
    let lake = Lake::new().await;
    lake.write("nothing.csv", "");
    lake.write("nothing.arrow", "");
    lake.write("text/readme.md", "hello");
    std::fs::create_dir(lake.path("folder")).expect("make a folder");
    for (table, state) in [
        ("nothing.csv", SqlState::FORMAT),
        ("nothing.arrow", SqlState::FORMAT),
        ("folder", SqlState::NO_FILE),
        ("text", SqlState::NO_FILE),
    ] {
        let error = lake.error(table).await;
        assert_helpful(&error, table);
        assert_eq!(error.state(), state, "{error:?}");
    }
    lake.write("header.csv", "a,b\n");
    assert_eq!(lake.rows("header").await, Vec::<String>::new());
    assert_eq!(lake.columns("header").await, ["a Utf8", "b Utf8"]);
    lake.write("t/empty.parquet", "");
    lake.write_rows("t/full.parquet", "SELECT 1 AS a").await;
    assert_helpful(&lake.error("t").await, "t/empty.parquet");
}

#[tokio::test]
async fn a_missing_location_and_a_missing_right_are_named() {
    let source = attach(&[("location", "/no/such/folder")]).await.expect("attach");
    let error = source.datasets(&context(), "public").await.expect_err("no folder");
    assert_helpful(&error, "/no/such/folder");
    let lake = Lake::new().await;
    lake.write("a.csv", "a\n1\n");
    let file = lake.path("a.csv");
    let source = attach(&[("location", &file)]).await.expect("attach");
    assert_helpful(&source.datasets(&context(), "public").await.expect_err("a file"), "a.csv");
}

/// Planned on one file, read on another: the rows would be of neither.
#[tokio::test]
async fn a_file_removed_or_replaced_after_planning_is_an_error() {
    for name in ["t.parquet", "t.csv", "t.ndjson", "t.arrow"] {
        for replaced in [false, true] {
            let lake = Lake::new().await;
            lake.write_rows(name, "SELECT value AS n FROM range(100)").await;
            let found = lake.source.dataset(&context(), "public", name).await.expect("describe").expect("a table");
            let session = session();
            session.register_table("t", found.provider).expect("register");
            let frame = session.sql("SELECT n + 1 FROM t").await.expect("parse");
            let plan = frame.create_physical_plan().await.expect("plan");
            std::fs::remove_file(lake.path(name)).expect("remove");
            if replaced {
                lake.write_rows(name, "SELECT value * 7 AS n FROM range(100)").await;
            }
            let error = datafusion::physical_plan::collect(plan, session.task_ctx()).await.expect_err(name);
            let error = Error::from_datafusion(error);
            assert_helpful(&error, name);
            assert_eq!(error.state(), SqlState::NO_FILE, "{error:?}");
        }
    }
}

#[tokio::test]
async fn duplicate_columns_and_compressed_parquet_are_refused() {
    let lake = Lake::new().await;
    lake.write("d.csv", "a,a\n1,2\n");
    let error = lake.error("d").await;
    assert_helpful(&error, "d.csv");
    assert!(error.message().contains("\"a\""), "{error}");
    lake.write("p.parquet.gz", "x");
    assert_helpful(&lake.error("p").await, "p.parquet.gz");
}

#[tokio::test]
async fn a_cancelled_query_stops_before_and_while_it_reads() {
    let lake = Lake::new().await;
    lake.write_rows("t.parquet", "SELECT value AS n FROM range(200000)").await;
    let cancelled = context();
    let found = lake.source.dataset(&cancelled, "public", "t").await.expect("describe").expect("a table");
    let session = session();
    session.register_table("t", found.provider).expect("register");
    let frame = session.sql("SELECT n FROM t").await.expect("parse");
    let mut stream = frame.execute_stream().await.expect("start");
    use futures::StreamExt;
    stream.next().await.expect("a first batch").expect("rows");
    cancelled.cancellation().cancel();
    let mut last = None;
    while let Some(next) = stream.next().await {
        last = Some(next);
    }
    let error = Error::from_datafusion(last.expect("an end").expect_err("an error"));
    assert_eq!(error.state(), SqlState::CANCELLED);
    let error = lake.source.dataset(&cancelled, "public", "t").await.expect_err("cancelled");
    assert_eq!(error.state(), SqlState::CANCELLED);
}

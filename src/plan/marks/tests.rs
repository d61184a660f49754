//! What may be done with marked columns, shown on a table in memory.

use super::*;
use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::SessionStateBuilder;
use datafusion::optimizer::Analyzer;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

const ID: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

/// A table of an `inet`, an enum and a UUID.
fn session() -> SessionContext {
    let mut rules = Analyzer::new().rules;
    rules.insert(0, Arc::new(Marks));
    let state = SessionStateBuilder::new().with_default_features().with_analyzer_rules(rules);
    let session =
        SessionContext::new_with_state(state.with_type_planner(Arc::new(crate::plan::types::SqlTypes)).build());
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let fields = vec![
        mark::marked(text("ip"), "inet", Comparison::None),
        mark::marked(text("mood"), "mood", Comparison::Equality),
        uuid_field("id"),
        text("plain"),
    ];
    let id = uuid::Uuid::parse_str(ID).unwrap().into_bytes();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["10.0.0.1", "10.0.0.2"])),
        Arc::new(StringArray::from(vec!["happy", "sad"])),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some(id), None].into_iter(), 16).unwrap()),
        Arc::new(StringArray::from(vec![ID, "sad"])),
    ];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    session.register_batch("t", batch).unwrap();
    session
}

async fn count(sql: &str) -> Result<usize, Error> {
    let rows = async { session().sql(sql).await?.collect().await }.await.map_err(Error::from_datafusion)?;
    Ok(rows.iter().map(RecordBatch::num_rows).sum())
}

#[tokio::test]
async fn a_marked_column_is_selected_counted_tested_for_null_and_cast() {
    for (sql, rows) in [
        ("SELECT ip FROM t", 2),
        ("SELECT count(ip), count(*) FROM t", 1),
        ("SELECT 1 FROM t WHERE ip IS NOT NULL", 2),
        ("SELECT 1 FROM t WHERE ip::text = '10.0.0.1'", 1),
        ("SELECT ip::text FROM t ORDER BY ip::text", 2),
        ("SELECT x FROM (SELECT ip::text AS x FROM t) WHERE x < '10.0.0.2'", 1),
        ("SELECT ip::text, count(*) FROM t GROUP BY ip::text", 2),
    ] {
        assert_eq!(count(sql).await.unwrap(), rows, "{sql}");
    }
}

#[tokio::test]
async fn a_marked_column_is_never_used_as_plain_text() {
    for sql in [
        "SELECT 1 FROM t WHERE ip = '10.0.0.1'",
        "SELECT 1 FROM t WHERE ip IN ('10.0.0.1')",
        "SELECT 1 FROM t WHERE ip < '10.0.0.2'",
        "SELECT 1 FROM t WHERE ip BETWEEN 'a' AND 'b'",
        "SELECT 1 FROM t WHERE ip LIKE '10%'",
        "SELECT ip FROM t ORDER BY ip",
        "SELECT ip, count(*) FROM t GROUP BY ip",
        "SELECT DISTINCT ip FROM t",
        "SELECT count(DISTINCT ip) FROM t",
        "SELECT max(ip) FROM t",
        "SELECT 1 FROM t a JOIN t b ON a.ip = b.ip",
        "SELECT 1 FROM t a JOIN t b USING (ip)",
        "SELECT upper(ip) FROM t",
        "SELECT ip || 'x' FROM t",
        "SELECT CASE WHEN true THEN ip END FROM t",
        "SELECT row_number() OVER (ORDER BY ip) FROM t",
        "SELECT x FROM (SELECT ip AS x FROM t) ORDER BY x",
        "SELECT ip FROM t INTERSECT SELECT ip FROM t",
        "SELECT ip FROM t UNION SELECT ip FROM t",
        "SELECT 1 FROM t WHERE ip IN (SELECT ip FROM t)",
        "SELECT 1 FROM t WHERE mood < 'sad'",
        "SELECT mood FROM t ORDER BY mood",
        "SELECT max(mood) FROM t",
    ] {
        let error = count(sql).await.expect_err(sql);
        assert_eq!(error.state(), SqlState::TYPE, "{sql}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("AS TEXT")), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn an_enum_is_compared_for_equality() {
    for (sql, rows) in [
        ("SELECT 1 FROM t WHERE mood = 'happy'", 1),
        ("SELECT 1 FROM t WHERE mood IN ('happy', 'sad')", 2),
        ("SELECT mood, count(*) FROM t GROUP BY mood", 2),
        ("SELECT DISTINCT mood FROM t", 2),
        ("SELECT 1 FROM t a JOIN t b ON a.mood = b.mood", 2),
    ] {
        assert_eq!(count(sql).await.unwrap(), rows, "{sql}");
    }
}

#[tokio::test]
async fn a_uuid_is_compared_with_its_text_in_any_form() {
    let bare = ID.replace('-', "").to_uppercase();
    for (sql, rows) in [
        (format!("SELECT 1 FROM t WHERE id = '{ID}'"), 1),
        (format!("SELECT 1 FROM t WHERE '{bare}' = id"), 1),
        (format!("SELECT 1 FROM t WHERE id IN ('{ID}')"), 1),
        (format!("SELECT 1 FROM t WHERE id BETWEEN '{ID}' AND '{ID}'"), 1),
        (format!("SELECT 1 FROM t WHERE id > '{ID}'"), 0),
        (format!("SELECT 1 FROM t WHERE id::text = '{ID}'"), 1),
        (format!("SELECT 1 FROM t WHERE id = '{ID}'::uuid"), 1),
        (format!("SELECT 1 FROM t WHERE id = CAST('{bare}' AS UUID)"), 1),
        ("SELECT 1 FROM t WHERE id = plain".to_string(), 1),
        ("SELECT id, count(*) FROM t GROUP BY id".to_string(), 2),
        ("SELECT id FROM t ORDER BY id".to_string(), 2),
    ] {
        assert_eq!(count(&sql).await.unwrap(), rows, "{sql}");
    }
    let error = count("SELECT 1 FROM t WHERE id = 'no uuid'").await.unwrap_err();
    assert_eq!(error.state(), SqlState::TEXT, "{error}");
}

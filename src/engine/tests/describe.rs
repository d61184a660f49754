//! What a statement says about itself before it runs is what it gives when it does.

use super::*;
use arrow::datatypes::DataType;

async fn described(session: &Session, sql: &str) -> (String, String) {
    let described = session.describe(&session.prepare(sql).unwrap()).await.expect(sql);
    let name = |kind: &Option<DataType>| kind.as_ref().map_or_else(|| "?".to_string(), DataType::to_string);
    let parameters = described.parameters.iter().map(name).collect::<Vec<_>>().join(", ");
    let columns = described.columns.map(|schema| {
        let fields = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
        fields.collect::<Vec<_>>().join(", ")
    });
    (parameters, columns.unwrap_or_default())
}

#[tokio::test]
async fn parameters_have_the_types_of_what_they_meet() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    run(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, size INT, born DATE)").await.unwrap();
    run(&engine, "CREATE TOPIC clicks (url TEXT, n INT)").await.unwrap();
    let session = engine.session();
    let cases = [
        ("SELECT id, name FROM t WHERE id = $1 AND name LIKE $2 AND born > $3", "Int64, Utf8, Date32"),
        ("SELECT count(*) FROM t WHERE size + $1 > 3 LIMIT $2", "Int32, Int64"),
        ("SELECT $1, $2", "Utf8, Utf8"),
        ("SELECT $1::bigint, CAST($2 AS DATE), $1 + 1", "Int64, Date32"),
        ("INSERT INTO t VALUES ($1, $2, $3, $4)", "Int64, Utf8, Int32, Date32"),
        ("INSERT INTO t (name, id) VALUES ($2, $1), ('x', $3) RETURNING id", "Int64, Utf8, Int64"),
        ("INSERT INTO clicks VALUES ($1, $2)", "Utf8, Int32"),
        ("INSERT INTO t SELECT id + 1, name FROM t WHERE size = $1", "Int32"),
        ("UPDATE t SET name = $1, size = size + $2 WHERE id = $3 RETURNING *", "Utf8, Int32, Int64"),
        ("DELETE FROM t WHERE born IN ($1, $2)", "Date32, Date32"),
        ("SHOW CATALOGS", ""),
    ];
    for (sql, parameters) in cases {
        assert_eq!(described(&session, sql).await.0, parameters, "{sql}");
    }
    let (_, columns) = described(&session, "UPDATE t SET name = $1 RETURNING id, name AS called").await;
    assert_eq!(columns, "id Int64, called Utf8");
    assert_eq!(described(&session, "DELETE FROM t").await.1, "");
    let many = session.describe(&session.prepare("SELECT $65536").unwrap()).await.unwrap_err();
    assert_eq!(many.state(), SqlState::NO_PARAMETER);
    let unknown = session.describe(&session.prepare("SELECT nothing FROM t").unwrap()).await.unwrap_err();
    assert_eq!(unknown.state(), SqlState::NO_COLUMN);
}

#[tokio::test]
async fn the_columns_are_those_of_the_rows() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    run(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, price DECIMAL(10, 2), at TIMESTAMPTZ)")
        .await
        .unwrap();
    let session = engine.session();
    let queries = [
        "SELECT * FROM t",
        "SELECT count(*), sum(price), avg(id), min(at), 1, 'x', NULL, 0.5, now() FROM t",
        "SELECT name || id, id + 1.5, CAST(id AS INT) FROM t GROUP BY name, id",
        "WITH w AS (SELECT 1 AS one) SELECT one, row_number() OVER (ORDER BY one) FROM w UNION ALL SELECT id, 2 FROM t",
        "SHOW CATALOGS",
        "SHOW SCHEMAS",
        "SHOW TABLES",
        "DESCRIBE t",
        "SHOW POSITION",
        "SHOW ALL",
        "SHOW pushdown",
        "EXPLAIN SELECT 1",
    ];
    for sql in queries {
        let prepared = session.prepare(sql).unwrap();
        let described = session.describe(&prepared).await.unwrap().columns.expect(sql);
        let Outcome::Rows(rows) = session.run_prepared(&prepared, &[]).await.unwrap() else { panic!("{sql}") };
        let columns = |schema: &arrow::datatypes::Schema| {
            let fields = schema.fields().iter();
            fields.map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>()
        };
        assert_eq!(columns(&described), columns(&rows.schema()), "{sql}");
    }
}

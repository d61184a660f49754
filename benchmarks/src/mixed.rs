//! Rows of mixed types, the same in Polder and in PostgreSQL: numbers, decimals, texts short and long, some of them NULL,
//! days and moments. About 130 bytes each as text.

use crate::Result;
use polder::Engine;
use polder_testing::Postgres;
use std::path::Path;

const COLUMNS: &str = "id BIGINT PRIMARY KEY, flag BOOLEAN, small INT, amount DOUBLE PRECISION, price DECIMAL(12, 2),
    name TEXT, note TEXT, day DATE, moment TIMESTAMP";

/// Rows of one INSERT.
const INSERTED: usize = 250_000;

/// Makes a data directory with the table `mixed`.
pub(crate) async fn fill(data: &Path, rows: usize) -> Result<()> {
    let engine = Engine::builder().data_dir(Some(data.to_path_buf())).open().await?;
    let session = engine.session();
    session.run(&format!("CREATE TABLE mixed ({COLUMNS})")).await?;
    for start in (1..=rows).step_by(INSERTED) {
        let end = (start + INSERTED - 1).min(rows);
        let insert = format!(
            "INSERT INTO mixed
             SELECT n, n % 3 = 0, (n % 1000)::int, n::double / 8, ((n % 100000)::decimal(12, 2) / 100)::decimal(12, 2),
                    'name ' || (n % 5000)::text,
                    CASE WHEN n % 10 <> 0 THEN 'a note of some length, as people write them, about ' || n::text END,
                    arrow_cast((18262 + n % 1000)::int, 'Date32'), to_timestamp_micros(1577836800000000 + n * 1000003)
             FROM generate_series({start}, {end}) AS g (n)"
        );
        session.run(&insert).await?;
    }
    engine.close().await?;
    Ok(())
}

/// The same table in a PostgreSQL.
pub(crate) fn fill_postgres(postgres: &Postgres, rows: usize) {
    postgres.psql(&format!(
        "CREATE TABLE mixed ({COLUMNS});
         INSERT INTO mixed
         SELECT n, n % 3 = 0, n % 1000, n::float8 / 8, (n % 100000)::numeric / 100, 'name ' || n % 5000,
                CASE WHEN n % 10 <> 0 THEN 'a note of some length, as people write them, about ' || n END,
                DATE '2020-01-01' + (n % 1000)::int, TIMESTAMP '2020-01-01' + n * INTERVAL '1.000003 seconds'
         FROM generate_series(1, {rows}) AS n;
         VACUUM ANALYZE mixed"
    ));
}

//! The 22 queries derived from TPC-H over two stores: customer, orders, nation and region in PostgreSQL, the rest as
//! Parquet on an S3 server. DuckDB, which has all eight tables itself, says what the answers are.

mod answers;
mod data;

use crate::client::engine;
use crate::place::{postgres, s3};
use crate::script::block_on;
use answers::Answers;
use libtest_mimic::{Failed, Trial};
use polder::{Outcome, Session};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// 15,000 orders, 60,000 line items: every query gives rows, and all 22 take seconds.
const SCALE: f64 = 0.01;

/// Tables in PostgreSQL; the others are Parquet.
const IN_POSTGRES: [&str; 4] = ["customer", "orders", "nation", "region"];

/// One trial a query, with pushdown and without.
pub(crate) fn trials(folder: &Path) -> Vec<Trial> {
    let mut trials = Vec::new();
    for number in 1..=22 {
        let file = folder.join(format!("tpch/q{number:02}.sql"));
        for pushdown in ["on", "off"] {
            let file = file.clone();
            let name = format!("tpch::q{number:02}_pushdown_{pushdown}");
            trials.push(Trial::test(name, move || block_on(query_gives_duckdb_answer(file, pushdown))));
        }
    }
    trials.push(Trial::test("tpch::explain_shows_the_sql_of_a_join_across_stores", || {
        block_on(explain_shows_the_sql_of_a_join_across_stores())
    }));
    trials
}

async fn query_gives_duckdb_answer(file: PathBuf, pushdown: &str) -> Result<(), Failed> {
    let sql = std::fs::read_to_string(file)?;
    let session = session().await?;
    run(&session, &format!("SET pushdown = {pushdown}")).await?;
    let ours = run(&session, &sql).await?;
    fixture().check(&sql, &ours).map_err(Failed::from)
}

/// The first promise of the README: one query, two stores, and EXPLAIN tells what each was asked.
async fn explain_shows_the_sql_of_a_join_across_stores() -> Result<(), Failed> {
    let sql = "SELECT o_orderpriority, count(*) AS lines, sum(l_extendedprice) AS total
        FROM orders JOIN lineitem ON l_orderkey = o_orderkey
        WHERE o_orderdate >= DATE '1995-01-01' AND l_discount > 0.05
        GROUP BY o_orderpriority ORDER BY o_orderpriority";
    let session = session().await?;
    fixture().check(sql, &run(&session, sql).await?)?;
    let plan = crate::render::rows(&run(&session, &format!("EXPLAIN {sql}")).await?);
    let plan = plan.iter().map(|row| row.join(" ")).collect::<Vec<_>>().join("\n");
    for part in ["SELECT", "\"orders\"", "o_orderdate", "1995-01-01", "lineitem.parquet"] {
        if !plan.contains(part) {
            return Err(format!("EXPLAIN does not show {part}:\n{plan}").into());
        }
    }
    Ok(())
}

/// A session in which the eight tables have their plain names, wherever they are.
async fn session() -> Result<Session, Failed> {
    let fixture = fixture();
    let session = engine().await?.session();
    run(&session, &format!("CREATE CATALOG shop USING postgres WITH (url = '{}')", fixture.postgres_url)).await?;
    let (s3, secret) = (s3(), fixture.secret.path().display());
    run(
        &session,
        &format!(
            "CREATE CATALOG lake USING object_store WITH (location = 's3://tpch', endpoint = '{}', region = '{}',
                access_key_id = '{}', secret_access_key = 'file:{secret}')",
            s3.endpoint(),
            s3.region(),
            s3.access_key()
        ),
    )
    .await?;
    for (table, _) in data::TABLES {
        let place = if IN_POSTGRES.contains(&table) { "shop" } else { "lake" };
        run(&session, &format!("CREATE VIEW {table} AS SELECT * FROM {place}.public.{table}")).await?;
    }
    Ok(session)
}

async fn run(session: &Session, sql: &str) -> Result<Vec<arrow::array::RecordBatch>, Failed> {
    let failed = |error: polder::Error| Failed::from(format!("{}\nin: {sql}", crate::client::error_text(&error)));
    match session.run(sql).await.map_err(failed)? {
        Outcome::Rows(rows) => rows.collect().await.map_err(failed),
        Outcome::Done(_) | Outcome::CopyIn(_) => Ok(Vec::new()),
    }
}

/// The data in all three systems.
struct Fixture {
    postgres_url: String,
    secret: tempfile::NamedTempFile,
    answers: Answers,
}

impl Fixture {
    fn check(&self, sql: &str, ours: &[arrow::array::RecordBatch]) -> Result<(), String> {
        self.answers.check(sql, ours)
    }
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let files = data::generate(SCALE);
        let postgres_url = data::load_postgres(postgres(), files.path(), &IN_POSTGRES);
        let duckdb = data::load_duckdb(files.path());
        let answers = Answers::of(duckdb);
        s3().create_bucket("tpch");
        for (table, _) in data::TABLES.iter().filter(|(table, _)| !IN_POSTGRES.contains(table)) {
            let file = files.path().join(format!("{table}.parquet"));
            answers.export(table, &file);
            s3().upload("tpch", &format!("{table}.parquet"), &file);
        }
        let secret = tempfile::NamedTempFile::new().expect("make a temporary file");
        std::fs::write(secret.path(), s3().secret_key()).expect("write the secret key");
        Fixture { postgres_url, secret, answers }
    })
}

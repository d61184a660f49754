//! `key_shipping`: search hits joined to a large PostgreSQL table.
//!
//! The keys of the hits travel to PostgreSQL, which sends as many rows. Beside it stands the same engine with
//! DataFusion's runtime filters off, which has the whole table come over.

use super::attach_postgres;
use crate::arguments::Settings;
use crate::contender::{Contender, engine, query};
use crate::measure::interleave;
use crate::report::{Finding, Measured};
use crate::{Result, rows, tpch};
use arrow::array::AsArray;
use polder::Engine;

const ROUNDS: u32 = 5;
const WITHOUT: &str = "SET datafusion.optimizer.enable_join_dynamic_filter_pushdown = false";
const JOIN: &str = "
    SELECT count(*) AS hits, sum(t.amount) AS amount, max(t.name) AS last_name
    FROM docs.public.notes n JOIN pg.public.accounts t ON t.id = n.account_id
    WHERE match(n.body, 'needle')";

/// How much there is of everything.
struct Size {
    accounts: u64,
    notes: u64,
    hits: u64,
}

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let size = match settings.small {
        true => Size { accounts: 20_000, notes: 400, hits: 20 },
        false => Size { accounts: 10_000_000, notes: 20_000, hits: 500 },
    };
    let postgres = tpch::postgres();
    postgres.psql(&format!(
        "CREATE TABLE accounts AS SELECT i::bigint AS id, (i % 1000)::bigint AS amount, md5(i::text) AS name
           FROM generate_series(1, {}) AS i;
         ALTER TABLE accounts ADD PRIMARY KEY (id);",
        size.accounts
    ));
    postgres.psql("VACUUM ANALYZE accounts");
    let folder = tempfile::tempdir()?;
    let engine = engine(&[
        attach_postgres(&postgres.url()),
        format!("CREATE CATALOG docs USING search WITH (path = '{}')", folder.path().display()),
        "CREATE TABLE docs.public.notes (id BIGINT PRIMARY KEY, account_id BIGINT, body TEXT)".to_string(),
        notes(&size),
    ])
    .await?;

    let contenders = vec![
        Contender::polder(&engine, JOIN),
        Contender::polder_with("without_keys", &engine, &[WITHOUT], JOIN).await?,
    ];
    let reference = contenders[0].rows().await?;
    rows::assert_equal(&reference, contenders[1].name, &contenders[1].rows().await?)?;
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders = vec!["polder".to_string(), "polder without the keys of joins".to_string()];
    measured.hash = rows::fingerprint(&reference)?.to_string();

    let samples = interleave(&contenders, measured.rounds).await?;
    measured.table("join", &samples);
    measured.findings.push(Finding::time("join", &samples[0], &samples[1], Some(0.05)));
    measured.findings.push(Finding::moved("rows_from_postgres", moved(&engine).await?, size.hits));
    Ok(measured)
}

/// Notes on accounts all over the table; every so many has the word.
fn notes(size: &Size) -> String {
    let (step, every) = (size.accounts / size.notes, size.notes / size.hits);
    format!(
        "INSERT INTO docs.public.notes
         SELECT n, n * {step}, CASE WHEN n % {every} = 0 THEN 'a needle in it' ELSE 'nothing but hay' END
         FROM generate_series(1, {}) AS t (n)",
        size.notes
    )
}

/// How many rows PostgreSQL sent, as EXPLAIN ANALYZE tells.
async fn moved(engine: &Engine) -> Result<u64> {
    let mut plan = query(&engine.session(), &format!("EXPLAIN ANALYZE {JOIN}")).await?;
    while let Some(batch) = plan.next().await? {
        let lines = batch.column(0).as_string::<i32>();
        let scan = lines.iter().flatten().find_map(|line| line.trim().strip_prefix("Scan pg  (rows="));
        if let Some(rows) = scan.and_then(|rest| rest.split(',').next()) {
            return Ok(rows.parse()?);
        }
    }
    Err("EXPLAIN ANALYZE does not tell how many rows came from PostgreSQL".into())
}

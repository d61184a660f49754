//! `search_top10`: the ten best mails for each of many questions, beside Tantivy itself and other full-text indexes.
//!
//! The questions rotate, so no one answers from a cache of results. The ids are compared with raw Tantivy's; the others rank
//! by formulas of their own and are only timed. Polder's time holds parsing, planning and the way back as Arrow.

mod mails;
mod raw;

use crate::Result;
use crate::arguments::Settings;
use crate::contender::{Contender, engine};
use crate::measure::Samples;
use crate::report::{Finding, Measured};
use crate::{rows, tpch};
use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use polder::Engine;
use raw::Raw;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often all questions are asked.
const ROUNDS: u32 = 9;
const TOP: usize = 10;

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    let mails = match settings.small {
        true => mails::made_up(300),
        false => mails::downloaded()?,
    };
    let questions = mails::questions(&mails);
    mails::write_ndjson(&folder.path().join("mails.ndjson"), &mails)?;
    let engine = filled(folder.path()).await?;
    let raw = Raw::new(&mails)?;
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders = vec!["polder".to_string(), "tantivy 0.27".to_string()];

    let mut answers = Vec::new();
    for question in &questions {
        let answer = Contender::polder(&engine, sql(question)).rows().await?;
        assert_same(question, &answer, &raw.top(question, TOP)?)?;
        answers.extend(answer);
    }
    measured.hash = rows::fingerprint(&answers)?.to_string();

    let peers = peers(settings, folder.path(), &mut measured)?;
    let mut asked = vec![Asked::Polder(&engine), Asked::Tantivy(&raw)];
    asked.extend(peers.iter().map(Asked::Other));
    let samples = rounds(&asked, &questions, measured.rounds as usize).await?;
    report(&mut measured, &samples);
    Ok(measured)
}

/// In each round everybody is asked all questions, one after the other, as a busy server would be; who is asked first
/// changes. The first round does not count.
async fn rounds(asked: &[Asked<'_>], questions: &[String], rounds: usize) -> Result<Vec<Samples>> {
    let mut times = vec![Vec::new(); asked.len()];
    for round in 0..=rounds {
        for turn in 0..asked.len() {
            let index = (round + turn) % asked.len();
            for question in questions {
                let time = asked[index].time(question).await?;
                if round > 0 {
                    times[index].push(time);
                }
            }
        }
    }
    Ok(asked.iter().zip(times).map(|(one, times)| Samples::new(one.name(), times)).collect())
}

/// Who is asked.
enum Asked<'a> {
    Polder(&'a Engine),
    Tantivy(&'a Raw),
    Other(&'a Other),
}

impl Asked<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Polder(_) => "polder",
            Self::Tantivy(_) => "tantivy",
            Self::Other(other) => other.name,
        }
    }

    async fn time(&self, question: &str) -> Result<Duration> {
        match self {
            Self::Polder(engine) => Contender::polder(engine, sql(question)).time().await,
            Self::Tantivy(raw) => raw.time(question, TOP),
            Self::Other(other) => other.time(question).await,
        }
    }
}

fn report(measured: &mut Measured, samples: &[Samples]) {
    measured.table("top10", samples);
    let [ours, raw, ..] = samples else { return };
    let over = ours.median().saturating_sub(raw.median());
    let over = Samples::new("polder", vec![over]);
    measured.findings.push(Finding::time("top10", ours, raw, None));
    measured.findings.push(Finding::within("p50_over_tantivy", &over, 1.0));
    measured.findings.push(Finding::within("p99", &Samples::new("polder", vec![ours.percentile(99)]), 5.0));
    measured.findings.extend(samples[2..].iter().map(|peer| Finding::time("top10", ours, peer, None)));
}

async fn filled(folder: &Path) -> Result<Engine> {
    let index = folder.join("index");
    engine(&[
        format!("CREATE CATALOG files USING object_store WITH (location = '{}')", folder.display()),
        format!("CREATE CATALOG docs USING search WITH (path = '{}')", index.display()),
        "CREATE TABLE docs.public.mails (id BIGINT PRIMARY KEY, body TEXT)".to_string(),
        "INSERT INTO docs.public.mails SELECT id, body FROM files.public.mails ORDER BY id".to_string(),
    ])
    .await
}

fn sql(question: &str) -> String {
    let question = question.replace('\'', "''");
    format!(
        "SELECT id, _score FROM docs.public.mails WHERE match(body, '{question}') ORDER BY _score DESC, id LIMIT {TOP}"
    )
}

/// The same ids in the same order, but for mails that score the same.
fn assert_same(question: &str, ours: &[RecordBatch], raw: &[(i64, f32)]) -> Result<()> {
    let mut told = Vec::new();
    for batch in ours {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let scores = arrow::compute::cast(batch.column(1), &arrow::datatypes::DataType::Float64)?;
        let scores = scores.as_primitive::<Float64Type>();
        told.extend(ids.values().iter().copied().zip(scores.values().iter().copied()));
    }
    let same_score = |(ours, raw): (&(i64, f64), &(i64, f32))| (ours.1 - f64::from(raw.1)).abs() < 1e-4;
    if told.len() != raw.len() || !told.iter().zip(raw).all(same_score) {
        return Err(format!("{question}: {told:?} instead of {raw:?}").into());
    }
    let least = raw.last().map_or(0.0, |last| f64::from(last.1)) + 1e-4;
    let missing = raw.iter().find(|(id, score)| f64::from(*score) > least && !told.iter().any(|(own, _)| own == id));
    match missing {
        Some((id, _)) => Err(format!("{question}: mail {id} is missing from {told:?}").into()),
        None => Ok(()),
    }
}

/// Another full-text index with its own way to ask.
struct Other {
    name: &'static str,
    asks: Box<dyn Fn(&str) -> Contender + Send + Sync>,
}

impl Other {
    async fn time(&self, question: &str) -> Result<Duration> {
        (self.asks)(question).time().await
    }
}

fn peers(settings: &Settings, folder: &Path, measured: &mut Measured) -> Result<Vec<Other>> {
    let Some(installed) = &settings.peers else { return Ok(Vec::new()) };
    let mails = folder.join("mails.ndjson");
    let (sqlite, duckdb) = (installed.sqlite(&mails)?, installed.duckdb(settings.threads)?);
    measured.contenders.extend([sqlite.version.clone(), duckdb.version.clone()]);
    duckdb.run(&format!("CREATE TABLE mails AS SELECT id, body FROM read_json('{}')", mails.display()))?;
    duckdb.run("PRAGMA create_fts_index('mails', 'id', 'body', stemmer = 'none', stopwords = 'none')")?;
    let postgres = tpch::postgres();
    let gin = installed.psycopg(&postgres.url(), &mails)?;
    measured.contenders.push(gin.version.clone());
    // The server lives as long as its contender does.
    let keep = postgres;
    Ok(vec![
        Other {
            name: "sqlite_fts5",
            asks: Box::new(move |question| Contender::peer("sqlite_fts5", &sqlite, fts5(question))),
        },
        Other {
            name: "duckdb_fts",
            asks: Box::new(move |question| Contender::peer("duckdb_fts", &duckdb, bm25(question))),
        },
        Other {
            name: "postgres_gin",
            asks: Box::new(move |question| {
                let _ = &keep;
                Contender::peer("postgres_gin", &gin, tsquery(question))
            }),
        },
    ])
}

fn fts5(question: &str) -> String {
    format!("SELECT rowid, bm25(mails) FROM mails WHERE mails MATCH '{question}' ORDER BY rank LIMIT {TOP}")
}

fn bm25(question: &str) -> String {
    let words = question.replace(" AND ", " ");
    let all = if question.contains(" AND ") { 1 } else { 0 };
    format!(
        "SELECT id, score FROM (SELECT id, fts_main_mails.match_bm25(id, '{words}', conjunctive := {all}) AS score FROM mails)
         WHERE score IS NOT NULL ORDER BY score DESC LIMIT {TOP}"
    )
}

fn tsquery(question: &str) -> String {
    let words = question.replace(" AND ", " & ");
    format!(
        "SELECT id, ts_rank(words, q) AS score FROM mails, to_tsquery('simple', '{words}') AS q
         WHERE words @@ q ORDER BY score DESC LIMIT {TOP}"
    )
}

/// The time of one call.
fn timed<T>(call: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let answer = call()?;
    Ok((answer, start.elapsed()))
}

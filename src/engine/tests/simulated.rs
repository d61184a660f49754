//! Lives of an engine whose log is on a disk that loses power, refuses, tears and fills up.
//!
//! One client sends statements, each under a request id. The model knows what each of them has to do. After a fault the
//! directory is opened again, and the statement is sent again: it must have the effect that it was to have, once, and
//! everything that was acknowledged before must be there; whether there is a checkpoint or none.
//!
//! `POLDER_SEEDS=1000` lives so many lives; `POLDER_SEED=7` lives one again. What runs in threads may come in another order then.

use super::run;
use crate::config::Config;
use crate::engine::Engine;
use polder_catalog::{Error, SqlState};
use polder_log::simulation::SimFiles;
use polder_log::store::LogOptions;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LIVES: u64 = 12;
const STEPS: u64 = 25;
const KEYS: i64 = 8;

const TABLES: &[&str] = &[
    "CREATE TABLE one (k BIGINT PRIMARY KEY, v BIGINT NOT NULL)",
    "CREATE TABLE spread (k BIGINT PRIMARY KEY, v BIGINT NOT NULL CHECK (v >= 0)) WITH (shards = 3)",
    "CREATE PROCEDURE move(source BIGINT, target BIGINT, amount BIGINT) AS $$
       ASSERT (SELECT v FROM spread WHERE k = source) >= amount;
       UPDATE spread SET v = v - amount WHERE k = source;
       EMIT UPDATE spread SET v = v + amount WHERE k = target;
       EMIT WHEN amount > 3 CALL note(source, amount);
     $$",
    "CREATE PROCEDURE note(source BIGINT, amount BIGINT) AS $$
       UPDATE one SET v = v + amount WHERE k = source;
     $$",
];

/// What the tables must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    one: BTreeMap<i64, i64>,
    spread: BTreeMap<i64, i64>,
}

/// What a client sends as one request.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Insert(i64, i64),
    Add(i64, i64),
    Delete(i64),
    /// A transaction.
    Swap(i64, i64),
    AddSpread(i64, i64),
    Move(i64, i64, i64),
}

impl Deed {
    fn random(random: &mut StdRng) -> Self {
        let [a, b] = [0; 2].map(|_| random.random_range(0..KEYS));
        let amount = random.random_range(1..6);
        match random.random_range(0..8) {
            0 => Self::Insert(a, amount),
            1 => Self::Add(a, amount),
            2 => Self::Delete(a),
            3 => Self::Swap(a, b),
            4 => Self::AddSpread(a, amount),
            _ => Self::Move(a, b, amount),
        }
    }

    fn statements(self) -> Vec<String> {
        match self {
            Self::Insert(k, v) => vec![format!("INSERT INTO one VALUES ({k}, {v})")],
            Self::Add(k, v) => vec![format!("UPDATE one SET v = v + {v} WHERE k = {k}")],
            Self::Delete(k) => vec![format!("DELETE FROM one WHERE k = {k}")],
            Self::Swap(a, b) => vec![
                "BEGIN".to_string(),
                format!("UPDATE one SET v = v + 1 WHERE k = {a}"),
                format!("UPDATE one SET v = v - 1 WHERE k = {b}"),
                "COMMIT".to_string(),
            ],
            Self::AddSpread(k, v) => vec![format!("UPDATE spread SET v = v + {v} WHERE k = {k}")],
            Self::Move(a, b, amount) => vec![format!("CALL move({a}, {b}, {amount})")],
        }
    }

    /// What it does; why it is refused, if it is.
    fn apply(self, model: &mut Model) -> Result<(), SqlState> {
        let add = |rows: &mut BTreeMap<i64, i64>, k: i64, v: i64| *rows.entry(k).or_default() += v;
        let has = |rows: &BTreeMap<i64, i64>, k: i64| rows.contains_key(&k);
        match self {
            Self::Insert(k, _) if has(&model.one, k) => return Err(SqlState::UNIQUE),
            Self::Insert(k, v) => drop(model.one.insert(k, v)),
            Self::Add(k, v) if has(&model.one, k) => add(&mut model.one, k, v),
            Self::Delete(k) => drop(model.one.remove(&k)),
            Self::Swap(a, b) => {
                for (k, v) in [(a, 1), (b, -1)] {
                    if has(&model.one, k) {
                        add(&mut model.one, k, v);
                    }
                }
            }
            Self::AddSpread(k, v) if has(&model.spread, k) => add(&mut model.spread, k, v),
            Self::Move(a, _, amount) if model.spread.get(&a).is_none_or(|v| *v < amount) => {
                return Err(SqlState::ASSERTION);
            }
            Self::Move(a, b, amount) => {
                add(&mut model.spread, a, -amount);
                if has(&model.spread, b) {
                    add(&mut model.spread, b, amount);
                }
                if amount > 3 && has(&model.one, a) {
                    add(&mut model.one, a, amount);
                }
            }
            Self::Add(..) | Self::AddSpread(..) => {}
        }
        Ok(())
    }
}

/// One life.
struct Life<'a> {
    seed: u64,
    random: StdRng,
    files: SimFiles,
    directory: &'a Path,
    engine: Option<Engine>,
    model: Model,
    crashes: u64,
    resent: u64,
}

impl Life<'_> {
    async fn live(mut self) -> (u64, u64) {
        self.reopen().await;
        for sql in TABLES {
            run(self.engine(), sql).await.unwrap();
        }
        for k in 0..KEYS / 2 {
            run(self.engine(), &format!("INSERT INTO spread VALUES ({k}, 10)")).await.unwrap();
            run(self.engine(), &format!("INSERT INTO one VALUES ({k}, 0)")).await.unwrap();
            self.model.spread.insert(k, 10);
            self.model.one.insert(k, 0);
        }
        for step in 0..STEPS {
            self.trouble();
            let deed = Deed::random(&mut self.random);
            self.done(step, deed).await;
            // What comes next must not be overtaken by it: the model knows no time.
            self.arrived().await;
        }
        self.files.calm();
        self.settled("at the end").await;
        self.crash().await;
        self.reopen().await;
        self.settled("after the last crash").await;
        // All of it is in the log, and nothing anywhere else.
        self.crash().await;
        for folder in ["tables", "tables-0", "tables-1", "tables-2"] {
            drop(std::fs::remove_dir_all(self.directory.join(folder)));
        }
        self.reopen().await;
        self.settled("without a checkpoint").await;
        self.crash().await;
        (self.crashes, self.resent)
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("an engine is open")
    }

    fn trouble(&mut self) {
        match self.random.random_range(0..10) {
            0 | 1 => self.files.crash_after(self.random.random_range(0..40)),
            2 => self.files.set_faults(3 + self.random.random_range(0..40)),
            3 => self.files.set_free(Some(self.random.random_range(0..3_000))),
            4..7 => self.files.calm(),
            _ => {}
        }
    }

    /// Sends a request until it has an outcome, which must be the one that it is to have.
    async fn done(&mut self, step: u64, deed: Deed) {
        let wanted = deed.apply(&mut self.model);
        for again in 0.. {
            assert!(again < 30, "seed {}: step {step}, {deed:?} comes to no end", self.seed);
            let sent = tokio::time::timeout(Duration::from_secs(20), send(self.engine(), step, deed)).await;
            let outcome = sent.unwrap_or_else(|_| panic!("seed {}: step {step}, {deed:?} hangs", self.seed));
            match outcome {
                Ok(()) => {
                    assert_eq!(wanted, Ok(()), "seed {}: step {step}, {deed:?}", self.seed);
                    break;
                }
                Err(error) if Err(error.state()) == wanted => break,
                // The disk: what came of it is not known.
                Err(error) if [SqlState::IO, SqlState::STATE, SqlState::SERIALIZATION].contains(&error.state()) => {
                    self.resent += 1;
                    self.crash().await;
                    self.files.calm();
                    self.reopen().await;
                }
                Err(error) => panic!("seed {}: step {step}, {deed:?}: {error}, wanted {wanted:?}", self.seed),
            }
        }
    }

    /// Waits until nothing is under way. Faults may have poisoned a shard without anybody waiting for it.
    async fn arrived(&mut self) {
        for again in 0.. {
            assert!(again < 30, "seed {}: effects come to no end", self.seed);
            for _ in 0..100 {
                if self.engine().0.commit.effects().pending() == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            self.crash().await;
            self.reopen().await;
        }
    }

    /// The tables are what they must be, once nothing is under way.
    async fn settled(&mut self, when: &str) {
        if self.reads().await.is_err() {
            self.crash().await;
            self.reopen().await;
        }
        self.arrived().await;
        let found = self.reads().await.unwrap_or_else(|error| panic!("seed {}, {when}: {error}", self.seed));
        assert_eq!(found, self.model, "seed {}, {when}", self.seed);
    }

    async fn reads(&self) -> Result<Model, Error> {
        self.engine().0.commit.show_all().await?;
        Ok(Model { one: rows(self.engine(), "one").await?, spread: rows(self.engine(), "spread").await? })
    }

    /// The power fails.
    async fn crash(&mut self) {
        self.files.crash();
        let engine = self.engine.take().expect("an engine is open");
        engine.0.stop().await;
        self.crashes += 1;
    }

    async fn reopen(&mut self) {
        self.files.calm();
        let every = self.random.random_range(1..30);
        let config = Config::parse(&format!("[engine]\ncheckpoint_records = {every}")).unwrap();
        let options = LogOptions {
            segment_bytes: 4 << 10,
            index_bytes: 1 << 10,
            files: Arc::new(self.files.booted()),
            ..LogOptions::default()
        };
        for _ in 0..200 {
            let builder = Engine::builder().data_dir(Some(self.directory.to_path_buf())).config(config.clone());
            match builder.log_options(options.clone()).open().await {
                Ok(engine) => {
                    engine.0.commit.tables().await.unwrap_or_else(|error| panic!("seed {}: {error:?}", self.seed));
                    self.engine = Some(engine);
                    return;
                }
                // The one before is still letting go.
                Err(error) if error.state() == SqlState::IN_USE => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("seed {}: {error:?}", self.seed),
            }
        }
        panic!("seed {}: the directory stays in use", self.seed);
    }
}

async fn send(engine: &Engine, step: u64, deed: Deed) -> Result<(), Error> {
    let session = engine.session();
    session.run(&format!("SET request_id = 'step {step}'")).await?;
    for sql in deed.statements() {
        session.run(&sql).await?;
    }
    Ok(())
}

async fn rows(engine: &Engine, table: &str) -> Result<BTreeMap<i64, i64>, Error> {
    let texts = run(engine, &format!("SELECT k || ' ' || v FROM {table}")).await?;
    let row = |text: &String| {
        let (k, v) = text.split_once(' ').expect("two columns");
        (k.parse().unwrap(), v.parse().unwrap())
    };
    Ok(texts.iter().map(row).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_once_in_every_life() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("POLDER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("POLDER_SEEDS").unwrap_or(LIVES),
    };
    let (mut crashes, mut resent) = (0, 0);
    for seed in seeds.clone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("log")).unwrap();
        let life = Life {
            seed,
            random: StdRng::seed_from_u64(seed),
            files: SimFiles::with_seed(seed),
            directory: directory.path(),
            engine: None,
            model: Model::default(),
            crashes: 0,
            resent: 0,
        };
        let (crashed, sent) = life.live().await;
        (crashes, resent) = (crashes + crashed, resent + sent);
    }
    println!("lives of seeds {seeds:?}: {crashes} crashes, {resent} requests sent again after a fault");
    assert!(seeds.count() < 5 || resent > 0);
}

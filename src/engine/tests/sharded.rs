//! Tables that are spread, and requests that reach several shards.
//!
//! The money that is there and the money that is under way are one sum, at every epoch: of now, of the past, and after a restart.
//!
//! `POLDER_SEEDS=100` makes so many rounds; `POLDER_SEED=7` makes the one again that failed.

use super::{Outcome, open, run};
use crate::config::Config;
use crate::engine::Engine;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::future::join_all;
use polder_catalog::{Position, SqlState};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const ACCOUNTS: i64 = 12;
const BALANCE: i64 = 100;
const CLIENTS: usize = 8;
const PAYMENTS: usize = 12;
const ROUNDS: u64 = 2;

/// The book's payment: source, target and fees lie in three shards. What leaves an account is written down beside it, and so is
/// what arrives, so that what is under way can be told.
const BOOK: &[&str] = &[
    "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL CHECK (balance >= 0)) WITH (shards = 4)",
    "CREATE TABLE sent (account BIGINT, payment TEXT, amount BIGINT NOT NULL, PRIMARY KEY (account, payment))
       WITH (shards = 4, key = 'account')",
    "CREATE TABLE received (account BIGINT, payment TEXT, amount BIGINT NOT NULL, PRIMARY KEY (account, payment))
       WITH (shards = 4, key = 'account')",
    "CREATE PROCEDURE pay(source BIGINT, target BIGINT, fees BIGINT, payment TEXT, amount BIGINT, fee BIGINT) AS $$
       ASSERT amount > 0;
       ASSERT (SELECT balance FROM accounts WHERE id = source) >= amount + fee, 'not enough money';
       UPDATE accounts SET balance = balance - amount - fee WHERE id = source;
       INSERT INTO sent VALUES (source, payment, amount + fee);
       EMIT CALL receive(target, payment, amount);
       EMIT WHEN fee > 0 CALL receive(fees, payment || ' fee', fee);
     $$",
    "CREATE PROCEDURE receive(target BIGINT, payment TEXT, amount BIGINT) AS $$
       UPDATE accounts SET balance = balance + amount WHERE id = target;
       INSERT INTO received VALUES (target, payment, amount);
     $$",
];

const SUM: &str = "SELECT (SELECT sum(balance) FROM accounts{at}) + (SELECT coalesce(sum(amount), 0) FROM sent{at})
     - (SELECT coalesce(sum(amount), 0) FROM received{at})";

async fn open_book(directory: &Path) -> Engine {
    let engine = open(directory).await;
    for sql in BOOK {
        run(&engine, sql).await.unwrap();
    }
    for id in 0..ACCOUNTS {
        run(&engine, &format!("INSERT INTO accounts VALUES ({id}, {BALANCE})")).await.unwrap();
    }
    engine
}

/// All the money, and what the answer reflects.
async fn sum(engine: &Engine, at: &str) -> (i64, Position) {
    let Outcome::Rows(rows) = engine.session().run(&SUM.replace("{at}", at)).await.unwrap() else {
        panic!("a query gives rows")
    };
    let position = rows.position().clone();
    let batches = rows.collect().await.unwrap();
    (batches[0].column(0).as_primitive::<Int64Type>().value(0), position)
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    match number("POLDER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("POLDER_SEEDS").unwrap_or(ROUNDS),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_neither_made_nor_lost() {
    let mut told = (0, 0, 0);
    for seed in seeds() {
        let directory = tempfile::tempdir().unwrap();
        let engine = open_book(directory.path()).await;
        let is_done = Arc::new(AtomicBool::new(false));
        let looking = {
            let (engine, is_done) = (engine.clone(), Arc::clone(&is_done));
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !is_done.load(Ordering::Relaxed) {
                    let (found, position) = sum(&engine, "").await;
                    assert_eq!(found, ACCOUNTS * BALANCE, "seed {seed}, at {position}");
                    seen.push(position);
                    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
                }
                seen
            })
        };
        let clients = (0..CLIENTS).map(|client| tokio::spawn(pay_at_random(engine.clone(), seed, client)));
        let outcomes: Vec<(usize, usize)> = join_all(clients).await.into_iter().map(|done| done.unwrap()).collect();
        is_done.store(true, Ordering::Relaxed);
        let seen = looking.await.unwrap();
        let paid: usize = outcomes.iter().map(|(paid, _)| paid).sum();
        let declined: usize = outcomes.iter().map(|(_, declined)| declined).sum();
        assert_eq!(paid + declined, CLIENTS * PAYMENTS);
        // The past is made anew of the log: by the same states, and the same sum.
        for position in seen.iter().step_by(seen.len().div_ceil(4)) {
            let (found, _) = sum(&engine, &format!(" AS OF '{position}'")).await;
            assert_eq!(found, ACCOUNTS * BALANCE, "seed {seed}, as of {position}");
        }
        engine.close().await.unwrap();
        let engine = open(directory.path()).await;
        assert_eq!(sum(&engine, "").await.0, ACCOUNTS * BALANCE, "seed {seed}, after a restart");
        // Nothing is under way any more, and each payment has arrived once.
        assert_eq!(
            run(&engine, "SELECT sum(balance) FROM accounts").await.unwrap(),
            [format!("{}", ACCOUNTS * BALANCE)]
        );
        assert_eq!(run(&engine, "SELECT count(*) FROM sent").await.unwrap(), [paid.to_string()]);
        let arrived = "SELECT count(*) FROM received WHERE payment NOT LIKE '%fee'";
        assert_eq!(run(&engine, arrived).await.unwrap(), [paid.to_string()]);
        assert_eq!(run(&engine, "SELECT count(*) FROM polder.system.dead_letters").await.unwrap(), ["0"]);
        told = (told.0 + paid, told.1 + declined, told.2 + seen.len());
    }
    println!("{} payments, {} declined, looked at {} times", told.0, told.1, told.2);
    assert!(told.0 > 0 && told.1 > 0);
}

/// How many payments went through, and how many were declined. Each is sent twice under its id.
async fn pay_at_random(engine: Engine, seed: u64, client: usize) -> (usize, usize) {
    let mut random = StdRng::seed_from_u64(seed * 1000 + client as u64);
    let (mut paid, mut declined) = (0, 0);
    for number in 0..PAYMENTS {
        let [source, target, fees] = [0; 3].map(|_| random.random_range(0..ACCOUNTS));
        let (amount, fee) = (random.random_range(1..80), random.random_range(0..3));
        let name = format!("{seed} {client} {number}");
        let call = format!("CALL pay({source}, {target}, {fees}, '{name}', {amount}, {fee})");
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            let session = engine.session();
            session.run(&format!("SET request_id = '{name}'")).await.unwrap();
            outcomes.push(session.run(&call).await.map(drop).map_err(|error| error.state()));
        }
        assert_eq!(outcomes[0], outcomes[1], "{call}");
        match outcomes[0] {
            Ok(()) => paid += 1,
            Err(state) => {
                assert_eq!(state, SqlState::ASSERTION, "{call}");
                declined += 1;
            }
        }
    }
    (paid, declined)
}

/// Bookings of one room are decided by its shard: what overlaps is seen there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_overlapping_bookings_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    for sql in [
        "CREATE TABLE bookings (room TEXT, guest TEXT, first DATE NOT NULL, last DATE NOT NULL, PRIMARY KEY (room, guest))
           WITH (shards = 3, key = 'room')",
        "CREATE TABLE guests (guest TEXT PRIMARY KEY, room TEXT) WITH (shards = 3)",
        "CREATE PROCEDURE book(room TEXT, guest TEXT, first DATE, last DATE) AS $$
           ASSERT NOT EXISTS (
             SELECT 1 FROM bookings b WHERE b.room = room AND b.first <= last AND b.last >= first
           ), 'the room is taken';
           INSERT INTO bookings VALUES (room, guest, first, last);
           EMIT INSERT INTO guests VALUES (guest, room);
         $$",
    ] {
        run(&engine, sql).await.unwrap();
    }
    let book = |guest: u32| {
        let engine = engine.clone();
        let day = 1 + guest % 7;
        let call = format!("CALL book('blue', 'guest {guest}', '2026-03-{day:02}', '2026-03-{:02}')", day + 7);
        tokio::spawn(
            async move { engine.session().run(&call).await.map(drop).map_err(|error| error.message().to_string()) },
        )
    };
    let outcomes: Vec<_> = join_all((0..100).map(book)).await.into_iter().map(|done| done.unwrap()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).all(|error| error == "the room is taken"));
    assert_eq!(run(&engine, "SELECT count(*) FROM bookings").await.unwrap(), ["1"]);
    engine.close().await.unwrap();
    assert_eq!(run(&open(directory.path()).await, "SELECT count(*) FROM guests").await.unwrap(), ["1"]);
}

/// Who ends a friendship and then says something is not heard by who was a friend: the two lie in different shards, and no
/// state has the message without what came before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_seen_before_its_cause() {
    const PAIRS: i64 = 60;
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    for sql in [
        "CREATE TABLE friends (id BIGINT PRIMARY KEY) WITH (shards = 5)",
        "CREATE TABLE messages (id BIGINT PRIMARY KEY) WITH (shards = 3)",
    ] {
        run(&engine, sql).await.unwrap();
    }
    for id in 0..PAIRS {
        run(&engine, &format!("INSERT INTO friends VALUES ({id})")).await.unwrap();
    }
    let wrong = "SELECT count(*) FROM messages m JOIN friends f ON f.id = m.id";
    let write = |client: i64| {
        let engine = engine.clone();
        tokio::spawn(async move {
            for id in (0..PAIRS).filter(|id| id % 4 == client) {
                // The message is another client's, who has heard of the first by its token alone.
                let session = engine.session();
                session.run(&format!("DELETE FROM friends WHERE id = {id}")).await.unwrap();
                let token = session.position().to_string();
                let other = engine.session();
                other.run(&format!("SET caused_by = '{token}'")).await.unwrap();
                other.run(&format!("INSERT INTO messages VALUES ({id})")).await.unwrap();
            }
        })
    };
    let writers: Vec<_> = (0..4).map(write).collect();
    let mut looked = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        assert_eq!(run(&engine, wrong).await.unwrap(), ["0"]);
        looked += 1;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(looked > 0);
    assert_eq!(run(&engine, "SELECT count(*) FROM messages").await.unwrap(), [PAIRS.to_string()]);
    // Nor at any entry of the log.
    let log = engine.0.commit.log().await.unwrap();
    let end = log.main().end().offset.0;
    for offset in (end / 2..=end).step_by(7) {
        let wrong = format!(
            "SELECT count(*) FROM messages AS OF 'main:{offset}' m JOIN friends AS OF 'main:{offset}' f ON f.id = m.id"
        );
        assert_eq!(run(&engine, &wrong).await.unwrap(), ["0"], "as of {offset}");
    }
}

/// A table that is spread answers like one that is not, by whatever way its rows are found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_spread_has_the_same_rows() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let mut random = StdRng::seed_from_u64(7);
    let columns = "(a BIGINT, b TEXT, c BIGINT, PRIMARY KEY (a, b))";
    run(&engine, &format!("CREATE TABLE whole {columns}")).await.unwrap();
    run(&engine, &format!("CREATE TABLE spread {columns} WITH (shards = 3, key = 'a')")).await.unwrap();
    for table in ["whole", "spread"] {
        run(&engine, &format!("CREATE INDEX {table}_c ON {table} (c)")).await.unwrap();
    }
    for _ in 0..120 {
        let (a, b, c) = (random.random_range(0..9), random.random_range(0..4), random.random_range(0..20));
        let statement = match random.random_range(0..10) {
            0..6 => {
                format!("INSERT INTO {{t}} VALUES ({a}, 'b{b}', {c}) ON CONFLICT (a, b) DO UPDATE SET c = excluded.c")
            }
            6 => format!("DELETE FROM {{t}} WHERE a = {a} AND b = 'b{b}'"),
            7 => format!("UPDATE {{t}} SET c = c + 1 WHERE a = {a}"),
            8 => format!("INSERT INTO {{t}} VALUES ({a}, 'b{b}', {c})"),
            _ => format!("UPDATE {{t}} SET b = 'b' || ({b} + c % 2) WHERE a = {a} AND c < 3"),
        };
        let mut outcomes = Vec::new();
        for table in ["whole", "spread"] {
            outcomes.push(run(&engine, &statement.replace("{t}", table)).await.map_err(|error| error.state()));
        }
        assert_eq!(outcomes[0], outcomes[1], "{statement}");
        let condition = match random.random_range(0..6) {
            0 => format!("a = {a}"),
            1 => format!("a = {a} AND b = 'b{b}'"),
            2 => format!("c = {c}"),
            3 => format!("c BETWEEN {b} AND {c}"),
            4 => format!("b = 'b{b}' OR a > {a}"),
            _ => "TRUE".to_string(),
        };
        let query = format!("SELECT concat_ws(' ', a, b, c) AS found FROM {{t}} WHERE {condition} ORDER BY a, b");
        let mut answers = Vec::new();
        for (table, pushdown) in [("whole", "on"), ("spread", "on"), ("spread", "off")] {
            let session = engine.session();
            session.run(&format!("SET pushdown = {pushdown}")).await.unwrap();
            let Outcome::Rows(rows) = session.run(&query.replace("{t}", table)).await.unwrap() else { panic!("rows") };
            let batches = rows.collect().await.unwrap();
            answers.push(arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string());
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{query}: {answers:?}");
    }
}

/// A dead letter stays until it is replayed, and is replayed once: whoever asks for it at the same time, and however far the
/// checkpoints of the shards lag behind each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_replayed_once() {
    let directory = tempfile::tempdir().unwrap();
    let open = || async {
        let config = Config::parse("[engine]\ncheckpoint_records = 10").unwrap();
        Engine::builder().data_dir(Some(directory.path().to_path_buf())).config(config).open().await.unwrap()
    };
    let letters = "SELECT count(*) FROM polder.system.dead_letters";
    let engine = open().await;
    for sql in [
        "CREATE TABLE notes (id BIGINT PRIMARY KEY)",
        "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL) WITH (shards = 1)",
        "CREATE PROCEDURE credit(target BIGINT, amount BIGINT) AS $$
           ASSERT EXISTS (SELECT 1 FROM accounts WHERE id = target), 'no such account';
           UPDATE accounts SET balance = balance + amount WHERE id = target;
         $$",
        "CREATE PROCEDURE pay(source BIGINT, target BIGINT, amount BIGINT) AS $$
           UPDATE accounts SET balance = balance - amount WHERE id = source;
           EMIT CALL credit(target, amount);
         $$",
        "INSERT INTO accounts VALUES (1, 100)",
        "CALL pay(1, 99, 7)",
        "CALL pay(1, 99, 5)",
    ] {
        run(&engine, sql).await.unwrap();
    }
    for _ in 0..10 {
        run(&engine, "UPDATE accounts SET balance = balance + 1 WHERE id = 1").await.unwrap();
    }
    engine.close().await.unwrap();
    let engine = open().await;
    assert_eq!(run(&engine, letters).await.unwrap(), ["2"]);
    run(&engine, "INSERT INTO accounts VALUES (99, 0)").await.unwrap();
    let replay = |_| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let session = engine.session();
            session.run("SET wait = effects").await.unwrap();
            match session.run("REPLAY DEAD LETTERS FOR credit").await.unwrap() {
                Outcome::Done(tag) => tag,
                _ => panic!("a tag"),
            }
        })
    };
    let tags: Vec<_> = join_all((0..8).map(replay)).await.into_iter().map(|tag| tag.unwrap()).collect();
    assert_eq!(tags.iter().filter(|tag| *tag == "REPLAY 2").count(), 1, "{tags:?}");
    let balance = "SELECT balance FROM accounts WHERE id = 99";
    assert_eq!(run(&engine, balance).await.unwrap(), ["12"]);
    // `main` gets a new checkpoint, the shard does not.
    for id in 0..10 {
        run(&engine, &format!("INSERT INTO notes VALUES ({id})")).await.unwrap();
    }
    for _ in 0..2 {
        engine_is_as_it_was(&engine, letters, balance).await;
    }
    engine.close().await.unwrap();
    let engine = open().await;
    engine_is_as_it_was(&engine, letters, balance).await;
    engine.close().await.unwrap();
}

async fn engine_is_as_it_was(engine: &Engine, letters: &str, balance: &str) {
    assert_eq!(run(engine, letters).await.unwrap(), ["0"]);
    assert_eq!(run(engine, "REPLAY DEAD LETTERS").await.unwrap(), ["REPLAY 0"]);
    assert_eq!(run(engine, balance).await.unwrap(), ["12"]);
}

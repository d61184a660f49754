//! What an engine keeps, what it refuses, and how one dead source leaves the others alone.

mod access;
mod cut;
mod describe;
mod serializable;
mod sharded;
mod simulated;

use super::*;
use crate::session::Outcome;
use arrow::array::AsArray;
use datafusion::scalar::ScalarValue;
use polder_catalog::SqlState;
use polder_log::store::EntryKind;

async fn open(directory: &Path) -> Engine {
    Engine::builder().data_dir(Some(directory.to_path_buf())).open().await.unwrap()
}

/// The first column of a statement's rows, or its tag.
async fn run(engine: &Engine, sql: &str) -> Result<Vec<String>> {
    match engine.session().run(sql).await? {
        Outcome::Done(tag) => Ok(vec![tag]),
        Outcome::CopyIn(copy) => Ok(vec![copy.finish().await?]),
        Outcome::Rows(rows) => {
            let batches = rows.collect().await?;
            let texts = batches.iter().flat_map(|batch| {
                let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
                column.as_string::<i32>().iter().map(|text| text.unwrap_or("NULL").to_string()).collect::<Vec<_>>()
            });
            Ok(texts.collect())
        }
    }
}

async fn refused(engine: &Engine, sql: &str) -> Error {
    run(engine, sql).await.expect_err(sql)
}

const TABLES: &str = "CREATE CATALOG m USING memory WITH (tables = 'orders (id bigint PRIMARY KEY, note text)')";

#[tokio::test]
async fn definitions_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    run(&engine, TABLES).await.unwrap();
    run(&engine, "CREATE VIEW notes (n) AS SELECT note FROM m.orders WHERE note <> '\\'").await.unwrap();
    engine.close().await.unwrap();
    let engine = open(directory.path()).await;
    assert_eq!(engine.catalog_names(), ["m"]);
    assert_eq!(run(&engine, "SELECT count(*) FROM notes").await.unwrap(), ["0"]);
    run(&engine, "DROP CATALOG m CASCADE").await.unwrap();
    engine.close().await.unwrap();
    assert_eq!(run(&open(directory.path()).await, "SHOW TABLES FROM public").await.unwrap(), Vec::<String>::new());
}

/// Rows of Polder's own tables are kept nowhere but in the log.
#[tokio::test]
async fn tables_come_back_from_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    for sql in [
        "CREATE TABLE t (id BIGINT PRIMARY KEY, note TEXT)",
        "INSERT INTO t SELECT n, 'note ' || n FROM generate_series(1, 1000) AS g (n)",
        "DELETE FROM t WHERE id > 10",
        "ALTER TABLE t ADD COLUMN more INT",
        "UPDATE t SET more = 7, id = id + 100 WHERE id <= 2",
        "CREATE TABLE gone (id BIGINT)",
        "DROP TABLE gone",
    ] {
        run(&engine, sql).await.unwrap();
    }
    let all = "SELECT concat_ws(' ', id, note, more) FROM t ORDER BY id";
    let rows = run(&engine, all).await.unwrap();
    assert_eq!((rows.len(), rows[9].as_str()), (10, "102 note 2 7"));
    engine.close().await.unwrap();
    let engine = open(directory.path()).await;
    assert_eq!(run(&engine, all).await.unwrap(), rows);
    assert_eq!(refused(&engine, "SELECT * FROM gone").await.state(), SqlState::NO_TABLE);
    assert_eq!(refused(&engine, "INSERT INTO t VALUES (101, 'again', 1)").await.state(), SqlState::UNIQUE);
}

/// A checkpoint may be there, lag, be damaged or of another log: the tables are what the log says.
#[tokio::test]
async fn a_checkpoint_makes_no_difference() {
    let directory = tempfile::tempdir().unwrap();
    let config = || Config::parse("[engine]\ncheckpoint_records = 5").unwrap();
    let open = || async {
        Engine::builder().data_dir(Some(directory.path().to_path_buf())).config(config()).open().await.unwrap()
    };
    let engine = open().await;
    run(&engine, "CREATE TABLE t (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note TEXT UNIQUE)")
        .await
        .unwrap();
    run(&engine, "INSERT INTO t (note) SELECT 'note ' || n FROM generate_series(1, 20) AS g (n)").await.unwrap();
    run(&engine, "DELETE FROM t WHERE id % 3 = 0").await.unwrap();
    let session = engine.session();
    session.run("SET request_id = 'r'").await.unwrap();
    session.run("UPDATE t SET note = upper(note) WHERE id = 1").await.unwrap();
    drop(session);
    engine.close().await.unwrap();
    let folder = directory.path().join(CHECKPOINT);
    assert!(folder.join("manifest").exists());
    let all = "SELECT concat(id, ' ', note) FROM t ORDER BY id";
    let manifest = std::fs::read(folder.join("manifest")).unwrap();
    for (round, damage) in ["", "none", "cut", "ahead"].into_iter().enumerate() {
        match damage {
            "none" => std::fs::remove_dir_all(&folder).unwrap(),
            "cut" => std::fs::write(folder.join("manifest"), &manifest[..manifest.len() / 2]).unwrap(),
            "ahead" => {
                let text = std::fs::read_to_string(folder.join("manifest")).unwrap();
                let json = text.lines().next().unwrap().replacen("main:", "main:9", 1);
                std::fs::write(folder.join("manifest"), format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes())))
                    .unwrap();
            }
            _ => {}
        }
        let engine = open().await;
        let rows = run(&engine, all).await.unwrap();
        assert_eq!((rows.len(), rows[0].as_str()), (14 + round, "1 NOTE 1"), "{damage}");
        let session = engine.session();
        session.run("SET request_id = 'r'").await.unwrap();
        session.run("UPDATE t SET note = upper(note) WHERE id = 1").await.unwrap();
        drop(session);
        assert_eq!(refused(&engine, "INSERT INTO t (note) VALUES ('note 2')").await.state(), SqlState::UNIQUE);
        // The refused row took a number, too.
        let id = run(&engine, &format!("INSERT INTO t (note) VALUES ('round {round}') RETURNING id")).await.unwrap();
        assert!(id[0].parse::<u64>().unwrap() > 20 + round as u64, "{damage}: {id:?}");
        run(&engine, "DELETE FROM t WHERE id = 999").await.unwrap();
        run(&engine, "UPDATE t SET note = note || '' WHERE id > 4").await.unwrap();
        engine.close().await.unwrap();
    }
}

/// A hundred claim one key. One of them has it, and the log says of each other one that it has not.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_has_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    run(&engine, "CREATE TABLE names (name TEXT PRIMARY KEY, owner BIGINT)").await.unwrap();
    let claims = (0..100).map(|owner| {
        let engine = engine.clone();
        tokio::spawn(async move { run(&engine, &format!("INSERT INTO names VALUES ('polder', {owner})")).await })
    });
    let claims: Vec<_> = futures::future::join_all(claims).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1);
    assert!(claims.iter().flat_map(|claim| claim.as_ref().err()).all(|error| error.state() == SqlState::UNIQUE));
    let owner = run(&engine, "SELECT owner FROM names").await.unwrap();
    let winner = claims.iter().position(Result::is_ok).unwrap();
    assert_eq!(owner, [winner.to_string()]);
    let main = engine.0.commit.log().await.unwrap().main();
    let kinds = main.read_from(Offset(0)).unwrap().map(|entry| entry.unwrap().header().kind);
    assert_eq!(kinds.filter(|kind| *kind == EntryKind::REJECTION).count(), 99);
    engine.close().await.unwrap();
    assert_eq!(run(&open(directory.path()).await, "SELECT owner FROM names").await.unwrap(), owner);
}

/// Transactions on other rows are none of each other's business, whoever commits first.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_on_disjoint_rows_do_not_conflict() {
    let engine = Engine::builder().open().await.unwrap();
    run(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)").await.unwrap();
    run(&engine, "INSERT INTO t SELECT n, 0 FROM generate_series(1, 64) AS g (n)").await.unwrap();
    let clients = (1..=64i64).map(|id| {
        let session = engine.session();
        tokio::spawn(async move {
            let read = session.prepare("SELECT n FROM t WHERE id = $1").unwrap();
            let update = session.prepare("UPDATE t SET n = n + 1 WHERE id = $1").unwrap();
            let mut aborted = 0;
            for _ in 0..5 {
                session.run("BEGIN").await.unwrap();
                let Outcome::Rows(rows) = session.run_prepared(&read, &[id.into()]).await.unwrap() else { panic!() };
                assert_eq!(rows.collect().await.unwrap().iter().map(|rows| rows.num_rows()).sum::<usize>(), 1);
                session.run_prepared(&update, &[id.into()]).await.unwrap();
                aborted += usize::from(session.run("COMMIT").await.is_err());
            }
            aborted
        })
    });
    let aborted: usize = futures::future::join_all(clients).await.into_iter().map(Result::unwrap).sum();
    println!("{aborted} of 320 transactions were aborted");
    assert!(aborted * 100 < 320);
    assert_eq!(run(&engine, "SELECT sum(n) FROM t").await.unwrap(), [(320 - aborted).to_string()]);
}

/// A statement that reads everything comes to an end beside many that never stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_update_is_not_disturbed_for_ever() {
    let engine = Engine::builder().open().await.unwrap();
    run(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)").await.unwrap();
    run(&engine, "INSERT INTO t SELECT n, 0 FROM generate_series(1, 30000) AS g (n)").await.unwrap();
    let stop = Arc::new(AtomicU64::new(0));
    let small = (1..=3).map(|id| {
        let (engine, stop) = (engine.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let session = engine.session();
            let update = session.prepare("UPDATE t SET n = n + 1 WHERE id = $1").unwrap();
            while stop.load(Ordering::Relaxed) == 0 {
                session.run_prepared(&update, &[ScalarValue::from(i64::from(id))]).await.unwrap();
            }
        })
    });
    let small: Vec<_> = small.collect();
    for _ in 0..3 {
        // Without an end it would fail like this, not hang.
        let large = tokio::time::timeout(Duration::from_secs(120), run(&engine, "UPDATE t SET n = n + 1 WHERE n >= 0"));
        assert_eq!(large.await.expect("it comes to an end").unwrap(), ["UPDATE 30000"]);
    }
    stop.store(1, Ordering::Relaxed);
    futures::future::join_all(small).await.into_iter().for_each(Result::unwrap);
    assert_eq!(run(&engine, "SELECT min(n) FROM t").await.unwrap(), ["3"]);
}

/// What a statement has read still holds when its entry is decided, or it is done again.
#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    run(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)").await.unwrap();
    run(&engine, "INSERT INTO t VALUES (1, 0), (2, 0)").await.unwrap();
    let updates = (0..8).map(|client| {
        let engine = engine.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                let id = client % 2 + 1;
                assert_eq!(
                    run(&engine, &format!("UPDATE t SET n = n + 1 WHERE id = {id}")).await.unwrap(),
                    ["UPDATE 1"]
                );
                let copy = "INSERT INTO t SELECT max(id) + 1, sum(n) FROM t";
                assert_eq!(run(&engine, copy).await.unwrap(), ["INSERT 0 1"]);
            }
        })
    });
    futures::future::join_all(updates).await.into_iter().for_each(Result::unwrap);
    let all = "SELECT concat(id, ' ', n) FROM t ORDER BY id";
    let rows = run(&engine, all).await.unwrap();
    assert_eq!((rows.len(), &rows[..2]), (82, &["1 40".to_string(), "2 40".to_string()][..]));
    engine.close().await.unwrap();
    assert_eq!(run(&open(directory.path()).await, all).await.unwrap(), rows);
}

/// Values take the place of parameters as values, whatever is in them.
#[tokio::test]
async fn a_prepared_statement_runs_with_other_values() {
    let engine = Engine::builder().open().await.unwrap();
    run(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT NOT NULL, born DATE, size DOUBLE)").await.unwrap();
    let session = engine.session();
    let insert =
        session.prepare("INSERT INTO t (name, id, born) VALUES ($2, $1, $3), ('it''s ' || $2, -$1, $3)").unwrap();
    let rows = session.prepare("INSERT INTO t (id, name, size) VALUES ($1, $2, $3), ($4, $2, $5)").unwrap();
    let date = ScalarValue::Date32(Some(10_000));
    session.run_prepared(&insert, &[ScalarValue::from(1i64), ScalarValue::from("'); DROP"), date]).await.unwrap();
    let values = [ScalarValue::from(5i32), "$1 \\' x".into(), 0.1.into(), "7".into(), ScalarValue::Null];
    session.run_prepared(&rows, &values).await.unwrap();
    let all = "SELECT concat_ws('|', id, name, born, size) FROM t ORDER BY id";
    assert_eq!(
        run(&engine, all).await.unwrap(),
        ["-1|it's '); DROP|1997-05-19", "1|'); DROP|1997-05-19", "5|$1 \\' x|0.1", "7|$1 \\' x"]
    );
    let refused = |values: Vec<ScalarValue>| {
        let (session, rows) = (&session, &rows);
        async move { session.run_prepared(rows, &values).await.unwrap_err().state() }
    };
    assert_eq!(refused(values[..4].to_vec()).await, SqlState::NO_PARAMETER);
    assert_eq!(refused(values.to_vec()).await, SqlState::UNIQUE);
    let nameless = vec![9i64.into(), ScalarValue::Null, 0.into(), 10i64.into(), 0.into()];
    assert_eq!(refused(nameless).await, SqlState::NOT_NULL);
    let update = session.prepare("UPDATE t SET size = size + $2 WHERE id = $1").unwrap();
    session.run_prepared(&update, &[5i64.into(), 1.5.into()]).await.unwrap();
    let select = session.prepare("SELECT size FROM t WHERE id = $1").unwrap();
    let Outcome::Rows(rows) = session.run_prepared(&select, &[5i64.into()]).await.unwrap() else { panic!("no rows") };
    let rows = rows.collect().await.unwrap();
    assert_eq!(rows[0].column(0).as_primitive::<arrow::datatypes::Float64Type>().value(0), 1.6);
}

/// Some delete rows that others refer to, at the same time; nobody is left without what he refers to.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_referred_to_does_not_go() {
    let engine = Engine::builder().open().await.unwrap();
    run(&engine, "CREATE TABLE parents (id BIGINT PRIMARY KEY)").await.unwrap();
    run(&engine, "CREATE TABLE children (id BIGINT PRIMARY KEY, parent BIGINT REFERENCES parents)").await.unwrap();
    run(&engine, "INSERT INTO parents SELECT * FROM generate_series(0, 9)").await.unwrap();
    let tasks = (0..60).map(|task| {
        let engine = engine.clone();
        let sql = match task % 3 {
            0 => format!("DELETE FROM parents WHERE id = {}", task / 3 % 10),
            1 => format!("INSERT INTO children VALUES ({task}, {})", task / 3 % 10),
            _ => format!("DELETE FROM children WHERE parent = {}", task / 3 % 10),
        };
        tokio::spawn(async move { run(&engine, &sql).await })
    });
    let done = futures::future::join_all(tasks).await;
    let errors = done.into_iter().filter_map(|done| done.unwrap().err());
    assert!(errors.map(|error| error.state()).all(|state| state == SqlState::FOREIGN_KEY));
    let orphans = "SELECT count(*) FROM children WHERE parent NOT IN (SELECT id FROM parents)";
    assert_eq!(run(&engine, orphans).await.unwrap(), ["0"]);
}

/// One request is sent by many at once, and by all again after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_takes_effect_once() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    run(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)").await.unwrap();
    run(&engine, "INSERT INTO t VALUES (1, 0)").await.unwrap();
    let send = |engine: &Engine, id: usize| {
        let session = engine.session();
        tokio::spawn(async move {
            session.run(&format!("SET request_id = '{id}'")).await.unwrap();
            match session.run("UPDATE t SET n = n + 1 WHERE id = 1").await.unwrap() {
                Outcome::Done(tag) => assert_eq!(tag, "UPDATE 1"),
                other => panic!("{other:?}"),
            }
        })
    };
    let all: Vec<_> = (0..60).map(|at| send(&engine, at % 6)).collect();
    futures::future::join_all(all).await.into_iter().for_each(Result::unwrap);
    assert_eq!(run(&engine, "SELECT n FROM t").await.unwrap(), ["6"]);
    engine.close().await.unwrap();
    let engine = open(directory.path()).await;
    let all: Vec<_> = (0..7).map(|at| send(&engine, at)).collect();
    futures::future::join_all(all).await.into_iter().for_each(Result::unwrap);
    assert_eq!(run(&engine, "SELECT n FROM t").await.unwrap(), ["7"]);
}

/// What is not waited for is done all the same, also if the engine is closed meanwhile.
#[tokio::test]
async fn closing_waits_for_what_nobody_waits_for() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    run(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await.unwrap();
    let session = engine.session();
    for sql in ["SET wait = none", "SET request_id = 'r'", "INSERT INTO t SELECT * FROM generate_series(1, 1000)"] {
        session.run(sql).await.unwrap();
    }
    drop(session);
    engine.close().await.unwrap();
    assert_eq!(run(&open(directory.path()).await, "SELECT count(*) FROM t").await.unwrap(), ["1000"]);
}

#[tokio::test]
async fn what_views_stand_on_is_not_dropped_by_mistake() {
    let engine = Engine::builder().open().await.unwrap();
    run(&engine, TABLES).await.unwrap();
    run(&engine, "CREATE VIEW a AS SELECT * FROM m.orders").await.unwrap();
    run(&engine, "CREATE VIEW b AS SELECT * FROM a").await.unwrap();
    let error = refused(&engine, "DROP CATALOG m").await;
    assert_eq!(error.state(), SqlState::DEPENDENTS);
    assert_eq!(error.detail(), Some("views: a, b"));
    assert_eq!(refused(&engine, "DROP VIEW a").await.state(), SqlState::DEPENDENTS);
    run(&engine, "DROP VIEW a CASCADE").await.unwrap();
    assert_eq!(refused(&engine, "SELECT * FROM b").await.state(), SqlState::NO_TABLE);
    run(&engine, "DROP CATALOG m").await.unwrap();
}

#[tokio::test]
async fn altering_a_catalog_keeps_what_stands_on_it() {
    let engine = Engine::builder().open().await.unwrap();
    run(&engine, TABLES).await.unwrap();
    run(&engine, "CREATE VIEW a AS SELECT * FROM m.orders").await.unwrap();
    run(&engine, "ALTER CATALOG m SET (history_max = 5)").await.unwrap();
    assert_eq!(run(&engine, "SELECT count(*) FROM a").await.unwrap(), ["0"]);
    assert_eq!(refused(&engine, "ALTER CATALOG m SET (no_such = 1)").await.state(), SqlState::PARAMETER);
    assert_eq!(refused(&engine, "ALTER CATALOG x SET (a = 1)").await.state(), SqlState::NO_CATALOG);
}

#[tokio::test]
async fn a_view_that_would_contain_itself_is_refused() {
    let engine = Engine::builder().open().await.unwrap();
    run(&engine, "CREATE VIEW a AS SELECT 1 AS one").await.unwrap();
    run(&engine, "CREATE VIEW b AS SELECT * FROM a").await.unwrap();
    assert_eq!(refused(&engine, "CREATE OR REPLACE VIEW a AS SELECT * FROM b").await.state(), SqlState::STATE);
    assert_eq!(run(&engine, "SELECT * FROM b").await.unwrap(), ["1"]);
}

#[tokio::test]
async fn a_source_that_is_down_does_not_stop_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    run(&engine, TABLES).await.unwrap();
    // Nobody listens on port 1; attaching asks nobody.
    let dead = "CREATE CATALOG dead USING postgres WITH (url = 'postgres://app@127.0.0.1:1/x', connect_timeout = '2s')";
    run(&engine, dead).await.unwrap();
    engine.close().await.unwrap();
    let engine = open(directory.path()).await;
    assert_eq!(run(&engine, "SELECT count(*) FROM m.orders").await.unwrap(), ["0"]);
    let listed = run(&engine, "SHOW TABLES").await.unwrap();
    assert!(listed.contains(&"dead".to_string()) && listed.contains(&"m".to_string()), "{listed:?}");
    let error = refused(&engine, "SELECT * FROM dead.orders").await;
    assert_eq!(error.state(), SqlState::CONNECTION);
    assert!(error.message().contains("dead") && error.hint().is_some(), "{error:?}");
}

#[tokio::test]
async fn declared_catalogs_are_changed_where_they_are_declared() {
    let config = Config::parse("[catalogs.m]\nconnector = \"memory\"\ntables = \"t (a bigint)\"\n").unwrap();
    let engine = Engine::builder().config(config).open().await.unwrap();
    assert_eq!(run(&engine, "SELECT count(*) FROM m.t").await.unwrap(), ["0"]);
    assert_eq!(refused(&engine, "DROP CATALOG m").await.state(), SqlState::STATE);
    assert_eq!(refused(&engine, "CREATE OR REPLACE CATALOG m USING memory").await.state(), SqlState::STATE);
}

#[tokio::test]
async fn files_of_the_machine_are_closed_unless_opened() {
    let engine = Engine::builder().open().await.unwrap();
    assert_eq!(refused(&engine, "SELECT * FROM '/etc/passwd'").await.state(), SqlState::PRIVILEGE);
}

#[tokio::test]
async fn a_statement_that_runs_too_long_is_stopped() {
    let engine = Engine::builder().open().await.unwrap();
    let session = engine.session();
    session.run("SET statement_timeout = '200ms'").await.unwrap();
    let endless = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    let error = match session.run(endless).await {
        Ok(Outcome::Rows(rows)) => rows.collect().await.expect_err("it cannot end"),
        Ok(other) => panic!("a query gave {other:?}"),
        Err(error) => error,
    };
    assert_eq!(error.state(), SqlState::CANCELLED);
    assert!(error.message().contains("statement timeout"), "{error}");
}

#[tokio::test]
async fn a_dropped_query_gives_its_memory_back() {
    let engine = Engine::builder().open().await.unwrap();
    let sql = "SELECT a.value FROM generate_series(1, 300000) a ORDER BY a.value DESC";
    let Outcome::Rows(mut rows) = engine.session().run(sql).await.unwrap() else { panic!("not rows") };
    rows.next().await.unwrap();
    drop(rows);
    for _ in 0..100 {
        if engine.0.runtime.memory_pool.reserved() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} bytes are still reserved", engine.0.runtime.memory_pool.reserved());
}

/// A statement that waited for its turn writes the table as it is then, not as it was when it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_columns_may_change_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::builder().open().await.unwrap();
    let path = directory.path().join("docs").display().to_string();
    run(&engine, &format!("CREATE CATALOG docs USING search WITH (path = '{path}')")).await.unwrap();
    run(&engine, "CREATE TABLE docs.public.t (id BIGINT PRIMARY KEY, gone TEXT, body TEXT)").await.unwrap();
    let statement = |sql: String| {
        let engine = engine.clone();
        tokio::spawn(async move { run(&engine, &sql).await })
    };
    let writes = (0..24).map(|id| match id % 8 {
        0 => format!("ALTER TABLE docs.public.t ADD COLUMN c{id} TEXT"),
        4 => format!(
            "ALTER TABLE docs.public.t DROP COLUMN {}",
            if id == 4 { "gone".to_string() } else { format!("c{}", id - 12) }
        ),
        _ => format!("INSERT INTO docs.public.t (id, body) VALUES ({id}, 'row {id}')"),
    });
    let mut failed = Vec::new();
    for task in writes.map(statement).collect::<Vec<_>>() {
        failed.extend(task.await.unwrap().err());
    }
    // A column is perhaps dropped before it is added; nothing else may fail.
    assert!(failed.iter().all(|error| error.state() == SqlState::NO_COLUMN), "{failed:?}");
    assert_eq!(run(&engine, "SELECT state FROM polder.system.freshness").await.unwrap(), ["following"]);
    let wrong = "SELECT count(*) FROM docs.public.t WHERE body = 'row ' || id";
    assert_eq!(run(&engine, wrong).await.unwrap(), ["18"]);
}

async fn search(engine: &Engine, directory: &Path) {
    let path = directory.join("docs").display().to_string();
    run(engine, &format!("CREATE CATALOG docs USING search WITH (path = '{path}')")).await.unwrap();
    run(engine, "CREATE TABLE docs.public.t (id BIGINT PRIMARY KEY, body TEXT)").await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_turn_can_give_up() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::builder().open().await.unwrap();
    search(&engine, directory.path()).await;
    let context =
        ReadContext::builder(polder_catalog::QueryId("1".into()), polder_catalog::Principal("a".into())).build();
    let turn = engine.0.turns.take("docs", &context).await.unwrap();
    let defining = Arc::clone(&engine.0.defining).lock_owned().await;
    for waits in ["INSERT INTO docs.public.t VALUES (1, 'x')", "DROP CATALOG docs CASCADE", "CREATE VIEW v AS SELECT 1"]
    {
        let session = engine.session();
        session.run("SET statement_timeout = '100ms'").await.unwrap();
        assert_eq!(session.run(waits).await.expect_err(waits).state(), SqlState::CANCELLED);
    }
    drop((turn, defining));
    run(&engine, "INSERT INTO docs.public.t VALUES (1, 'x')").await.unwrap();
    assert_eq!(run(&engine, "SELECT id FROM docs.public.t").await.unwrap(), ["1"]);
}

/// A statement that is given up at any moment has defined something for everybody and for ever, or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_is_defined_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    for at in 0..40_u64 {
        let statement = {
            let engine = engine.clone();
            tokio::spawn(async move { run(&engine, &format!("CREATE VIEW v{at} AS SELECT {at} AS n")).await })
        };
        tokio::time::sleep(Duration::from_micros(at * 97 % 2500)).await;
        statement.abort();
        // Until its task is dropped, it holds the engine, and so the log.
        let _ = statement.await;
    }
    // Waits for what is on its way.
    drop(engine.0.defining.lock().await);
    let views = engine.0.catalogs().views.clone();
    engine.close().await.unwrap();
    assert_eq!(open(directory.path()).await.0.catalogs().views, views);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_creates_a_table() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::builder().open().await.unwrap();
    search(&engine, directory.path()).await;
    let statement = |at: u64| {
        let engine = engine.clone();
        let sql = format!("CREATE TABLE docs.public.made AS SELECT {at} AS at FROM generate_series(1, 100)");
        tokio::spawn(async move { run(&engine, &sql).await })
    };
    let mut created = 0;
    for task in (0..6).map(statement).collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(_) => created += 1,
            Err(error) => assert_eq!(error.state(), SqlState::DUPLICATE_TABLE, "{error}"),
        }
    }
    assert_eq!(created, 1);
    let rows = "SELECT count(*) || ' of ' || count(DISTINCT at) FROM docs.public.made";
    assert_eq!(run(&engine, rows).await.unwrap(), ["100 of 1"]);
}

#[tokio::test]
async fn a_catalog_that_is_altered_follows_on() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::builder().open().await.unwrap();
    search(&engine, directory.path()).await;
    run(&engine, "INSERT INTO docs.public.t VALUES (1, 'one')").await.unwrap();
    let path = directory.path().join("docs").display().to_string();
    run(&engine, &format!("ALTER CATALOG docs SET (path = '{path}')")).await.unwrap();
    run(&engine, "INSERT INTO docs.public.t VALUES (2, 'two')").await.unwrap();
    // Another folder holds nothing yet: everything comes anew from the log.
    let other = directory.path().join("other").display().to_string();
    run(&engine, &format!("ALTER CATALOG docs SET (path = '{other}')")).await.unwrap();
    run(&engine, "INSERT INTO docs.public.t VALUES (3, 'three')").await.unwrap();
    assert_eq!(run(&engine, "SELECT id FROM docs.public.t ORDER BY id").await.unwrap(), ["1", "2", "3"]);
}

#[tokio::test]
async fn shards_of_topics_that_are_no_more_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    run(&engine, "CREATE TOPIC kept (n BIGINT)").await.unwrap();
    run(&engine, "CREATE TOPIC gone (n BIGINT)").await.unwrap();
    run(&engine, "DROP TOPIC gone").await.unwrap();
    let log = Arc::clone(engine.0.commit.log().await.unwrap());
    // A crash left the first between its shard and its definition; the second is of a log that was restored from an older copy.
    log.create_shard("ghost-1-0").unwrap();
    log.create_shard("later-99-0").unwrap();
    drop(log);
    engine.close().await.unwrap();
    let engine = open(directory.path()).await;
    let shards = engine.0.commit.log().await.unwrap().shards();
    let names: BTreeSet<&str> = shards.iter().map(polder_log::store::Shard::name).collect();
    assert_eq!(names, BTreeSet::from(["kept-1-0", "later-99-0", "main"]));
}

/// Only a client that says so has sent everything.
#[tokio::test]
async fn rows_of_a_client_that_goes_away_are_not_written() {
    let engine = Engine::builder().open().await.unwrap();
    run(&engine, "CREATE TOPIC t (n BIGINT, name TEXT)").await.unwrap();
    let copy = |sql: &'static str| {
        let session = engine.session();
        async move {
            match session.run(sql).await.unwrap() {
                Outcome::CopyIn(copy) => copy,
                other => panic!("COPY gave {other:?}"),
            }
        }
    };
    let mut gone = copy("COPY t FROM STDIN").await;
    gone.write("{\"n\": 1}\n{\"n\": 2}\n".into()).await.unwrap();
    drop(gone);
    let mut failed = copy("COPY t FROM STDIN").await;
    failed.write("{\"n\": 1}\n".into()).await.unwrap();
    assert_eq!(failed.fail("out of paper").await.state(), SqlState::CANCELLED);
    let mut wrong = copy("COPY t FROM STDIN").await;
    wrong.write("{\"n\": 1}\n{\"n\": \"x\"}\n".into()).await.unwrap();
    assert_eq!(wrong.finish().await.expect_err("x is no number").state(), SqlState::FORMAT);
    let mut empty = copy("COPY t FROM STDIN WITH (format csv)").await;
    empty.write("\n1,one\n".into()).await.unwrap();
    assert_eq!(empty.finish().await.expect_err("no column is named").state(), SqlState::FORMAT);
    assert_eq!(run(&engine, "SELECT count(*) FROM t").await.unwrap(), ["0"]);
    // In order, and with NULL told from an empty text.
    let mut good = copy("COPY t FROM STDIN WITH (format csv, null '\\N')").await;
    good.write("n,name\n".into()).await.unwrap();
    for n in 0..20_000 {
        good.write(format!("{n},{}\n", if n % 2 == 0 { "" } else { "\\N" }).into()).await.unwrap();
    }
    assert_eq!(good.finish().await.unwrap(), "COPY 20000");
    let wrong = "SELECT count(*) FROM t WHERE n <> _offset OR (name IS NULL) <> (n % 2 = 1)";
    assert_eq!(run(&engine, wrong).await.unwrap(), ["0"]);
}

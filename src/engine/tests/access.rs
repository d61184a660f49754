//! What users may do, in sessions of theirs.

use super::*;
use crate::session::Session;
use arrow::array::ArrayRef;

async fn told(session: &Session, sql: &str) -> Result<Vec<String>> {
    match session.run(sql).await? {
        Outcome::Done(tag) => Ok(vec![tag]),
        Outcome::CopyIn(copy) => Ok(vec![copy.finish().await?]),
        Outcome::Rows(rows) => {
            let mut lines = Vec::new();
            for batch in rows.collect().await? {
                for at in 0..batch.num_rows() {
                    let value = |column: &ArrayRef| arrow::util::display::array_value_to_string(column, at).unwrap();
                    lines.push(batch.columns().iter().map(value).collect::<Vec<_>>().join("|"));
                }
            }
            Ok(lines)
        }
    }
}

async fn state(session: &Session, sql: &str) -> SqlState {
    match told(session, sql).await {
        Ok(rows) => panic!("{sql} gave {rows:?}"),
        Err(error) => error.state(),
    }
}

async fn all(engine: &Engine, statements: &[&str]) {
    for sql in statements {
        run(engine, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// People and their salaries, an administrator, and `ana`, who may do nothing yet.
async fn people() -> Engine {
    let engine = Engine::builder().open().await.unwrap();
    let statements = [
        "CREATE USER root PASSWORD 'secret' SUPERUSER",
        "CREATE USER ana PASSWORD 'secret'",
        "CREATE TABLE people (id BIGINT PRIMARY KEY, name TEXT, region TEXT, salary BIGINT)",
        "INSERT INTO people VALUES (1, 'ana', 'eu', 10), (2, 'ben', 'us', 20), (3, 'cem', 'eu', 30)",
    ];
    all(&engine, &statements).await;
    engine
}

#[tokio::test]
async fn nothing_may_be_done_that_was_not_granted() {
    let engine = people().await;
    let statements = [
        "CREATE VIEW v AS SELECT name FROM people",
        "CREATE TOPIC clicks (id BIGINT)",
        "CREATE PROCEDURE add(id BIGINT) AS $$ INSERT INTO people (id) VALUES (id) $$",
    ];
    all(&engine, &statements).await;
    let ana = engine.session_of("ana".into());
    let denied = [
        "SELECT * FROM people",
        "SELECT * FROM PUBLIC.people",
        "SELECT 1 FROM polder.public.people",
        "SELECT (SELECT max(salary) FROM people)",
        "WITH p AS (SELECT * FROM people) SELECT * FROM p",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM people)",
        "SELECT count(*) FROM generate_series(1, (SELECT max(id) FROM people))",
        "SELECT * FROM people AS OF '2020-01-01T00:00:00Z'",
        "EXPLAIN SELECT * FROM people",
        "EXPLAIN ANALYZE SELECT * FROM people",
        "DESCRIBE people",
        "SELECT * FROM v",
        "SELECT * FROM clicks",
        "SELECT * FROM system.roles",
        "SELECT * FROM system.tokens",
        "SELECT * FROM system.requests",
        "SELECT * FROM query('shop', 'SELECT 1')",
        "INSERT INTO people VALUES (4, 'dan', 'eu', 1)",
        "INSERT INTO clicks VALUES (1)",
        "UPDATE people SET salary = 0",
        "DELETE FROM people",
        "DELETE FROM clicks WHERE id = 1",
        "TRUNCATE people",
        "MERGE INTO people USING (VALUES (1)) s(id) ON people.id = s.id WHEN MATCHED THEN DELETE",
        "COPY people FROM STDIN",
        "CALL add(9)",
        "CREATE TABLE t (id BIGINT)",
        "CREATE TABLE t AS SELECT 1 AS id",
        "CREATE VIEW w AS SELECT 1 AS one",
        "CREATE OR REPLACE VIEW v AS SELECT 1 AS one",
        "CREATE TOPIC t (id BIGINT)",
        "CREATE INDEX i ON people (name)",
        "ALTER TABLE people DROP COLUMN salary",
        "ALTER TABLE people RENAME TO folk",
        "DROP TABLE people",
        "DROP VIEW v",
        "DROP TOPIC clicks",
        "DROP PROCEDURE add",
        "CREATE PROCEDURE p() AS $$ DELETE FROM people $$",
        "REPLAY DEAD LETTERS",
        "CREATE CATALOG lake USING object_store WITH (location = '/')",
        "ALTER CATALOG lake SET (location = '/')",
        "DROP CATALOG lake",
        "CHECK CATALOG lake",
        "CREATE USER eve PASSWORD 'x' SUPERUSER",
        "ALTER USER ana SUPERUSER",
        "ALTER USER ana PASSWORD 'x' SUPERUSER",
        "ALTER USER root PASSWORD 'x'",
        "DROP USER root",
        "CREATE TOKEN t FOR root",
        "DROP TOKEN t",
        "GRANT SELECT ON people TO ana",
        "GRANT ALL ON CATALOG polder TO ana",
        "GRANT root TO ana",
        "REVOKE SELECT ON people FROM root",
        "CREATE POLICY p ON people USING (true)",
        "DROP POLICY p ON people",
    ];
    for sql in denied {
        assert_eq!(state(&ana, sql).await, SqlState::PRIVILEGE, "{sql}");
    }
    let names = |rows: Vec<String>| rows.into_iter().filter(|row| row.contains("people")).count();
    assert_eq!(names(told(&ana, "SHOW TABLES").await.unwrap()), 0);
    assert_eq!(told(&ana, "SELECT 1").await.unwrap(), ["1"]);
    assert_eq!(run(&engine, "SELECT count(*) FROM people").await.unwrap(), ["3"]);
    // What was prepared before is checked when it is run.
    let prepared = ana.prepare("SELECT * FROM people").unwrap();
    assert_eq!(ana.run_prepared(&prepared, &[]).await.unwrap_err().state(), SqlState::PRIVILEGE);
    let ghost = engine.session_of("ghost".into());
    assert_eq!(state(&ghost, "SELECT * FROM people").await, SqlState::LOGIN);
}

#[tokio::test]
async fn what_was_granted_may_be_done_until_it_is_revoked() {
    let engine = people().await;
    let ana = engine.session_of("ana".into());
    let pairs = [
        ("GRANT SELECT ON people TO ana", "SELECT name FROM people WHERE id = 1", "REVOKE SELECT ON people FROM ana"),
        ("GRANT INSERT ON people TO ana", "INSERT INTO people (id) VALUES (9)", "REVOKE INSERT ON people FROM ana"),
        (
            "GRANT SELECT, UPDATE ON people TO ana",
            "UPDATE people SET salary = 1 WHERE id = 9",
            "REVOKE ALL ON people FROM ana",
        ),
        (
            "GRANT SELECT, DELETE ON SCHEMA public TO ana",
            "DELETE FROM people WHERE id = 9",
            "REVOKE ALL ON SCHEMA public FROM ana",
        ),
        ("GRANT ALL ON CATALOG polder TO ana", "SELECT count(*) FROM people", "REVOKE ALL ON CATALOG polder FROM ana"),
        ("GRANT SELECT ON people TO PUBLIC", "SELECT count(*) FROM people", "REVOKE SELECT ON people FROM PUBLIC"),
        ("CREATE ROLE readers", "SELECT 1", "GRANT SELECT ON people TO readers"),
        ("GRANT readers TO ana", "SELECT count(*) FROM people", "REVOKE readers FROM ana"),
    ];
    for (grant, statement, revoke) in pairs {
        run(&engine, grant).await.unwrap();
        told(&ana, statement).await.unwrap_or_else(|error| panic!("after {grant}: {statement}: {error}"));
        run(&engine, revoke).await.unwrap();
        if statement.contains("people") {
            assert_eq!(state(&ana, statement).await, SqlState::PRIVILEGE, "after {revoke}: {statement}");
        }
    }
    run(&engine, "ALTER USER ana READ ONLY").await.unwrap();
    run(&engine, "GRANT ALL ON people TO ana").await.unwrap();
    told(&ana, "SELECT * FROM people").await.unwrap();
    for sql in ["INSERT INTO people (id) VALUES (9)", "CREATE VIEW v AS SELECT 1 AS one", "BEGIN; "] {
        if sql.starts_with("BEGIN") {
            continue;
        }
        assert_eq!(state(&ana, sql).await, SqlState::READ_ONLY, "{sql}");
    }
}

#[tokio::test]
async fn columns_that_were_not_granted_are_not_there() {
    let engine = people().await;
    run(&engine, "GRANT SELECT (id, name) ON people TO ana").await.unwrap();
    let ana = engine.session_of("ana".into());
    assert_eq!(told(&ana, "SELECT * FROM people WHERE id = 1").await.unwrap(), ["1|ana"]);
    assert_eq!(state(&ana, "SELECT salary FROM people").await, SqlState::NO_COLUMN);
    assert_eq!(state(&ana, "SELECT name FROM people ORDER BY salary").await, SqlState::NO_COLUMN);
    run(&engine, "GRANT UPDATE, INSERT ON people TO ana").await.unwrap();
    // It would tell what salaries are.
    assert_eq!(state(&ana, "UPDATE people SET name = 'x' WHERE salary = 10").await, SqlState::PRIVILEGE);
    assert_eq!(state(&ana, "INSERT INTO people (id) VALUES (1) ON CONFLICT DO NOTHING").await, SqlState::PRIVILEGE);
    assert_eq!(state(&ana, "INSERT INTO people (id) VALUES (7) RETURNING salary").await, SqlState::PRIVILEGE);
    told(&ana, "INSERT INTO people (id) VALUES (7)").await.unwrap();
}

#[tokio::test]
async fn policies_filter_rows_and_mask_columns() {
    let engine = people().await;
    let statements = [
        "CREATE TABLE regions (person TEXT, region TEXT)",
        "INSERT INTO regions VALUES ('ana', 'eu')",
        "GRANT SELECT ON people TO PUBLIC",
        "CREATE POLICY own_region ON people USING (region IN (SELECT region FROM regions WHERE person = current_user))",
        "CREATE POLICY pay ON people TO ana MASK salary USING (CASE WHEN name = current_user THEN salary END)",
        "CREATE USER ben PASSWORD 'x'",
        "CREATE VIEW pay AS SELECT name, salary FROM people",
        "GRANT SELECT ON pay TO ben",
    ];
    all(&engine, &statements).await;
    let (ana, ben) = (engine.session_of("ana".into()), engine.session_of("ben".into()));
    let rows = "SELECT name, salary FROM people ORDER BY name";
    assert_eq!(told(&ana, rows).await.unwrap(), ["ana|10", "cem|"]);
    assert_eq!(told(&ana, "SELECT count(*) FROM people WHERE salary = 30").await.unwrap(), ["0"]);
    assert_eq!(told(&ana, "SELECT count(*), sum(salary) FROM people p").await.unwrap(), ["2|10"]);
    assert_eq!(told(&ben, rows).await.unwrap(), Vec::<String>::new());
    assert_eq!(run(&engine, rows).await.unwrap(), ["ana", "ben", "cem"]);
    // A view reads with the rights of its owner.
    assert_eq!(told(&ben, "SELECT sum(salary) FROM pay").await.unwrap(), ["60"]);
    assert_eq!(state(&ben, "SELECT * FROM regions").await, SqlState::PRIVILEGE);
    run(&engine, "GRANT UPDATE, DELETE ON people TO ana").await.unwrap();
    assert_eq!(state(&ana, "UPDATE people SET salary = 1").await, SqlState::PRIVILEGE);
    assert_eq!(state(&ana, "DELETE FROM people").await, SqlState::PRIVILEGE);
    // What a policy names stays.
    let error = run(&engine, "ALTER TABLE people RENAME COLUMN region TO area").await.unwrap_err();
    assert_eq!(error.state(), SqlState::DEPENDENTS);
    let wrong = run(&engine, "CREATE POLICY wrong ON people USING (missing = 1)").await.unwrap_err();
    assert_eq!(wrong.state(), SqlState::NO_COLUMN);
    run(&engine, "DROP POLICY own_region ON people").await.unwrap();
    assert_eq!(told(&ben, "SELECT count(*) FROM people").await.unwrap(), ["3"]);
}

#[tokio::test]
async fn who_makes_something_owns_it() {
    let engine = people().await;
    run(&engine, "CREATE USER ben PASSWORD 'x'").await.unwrap();
    run(&engine, "GRANT CREATE ON SCHEMA public TO ana").await.unwrap();
    let (ana, ben) = (engine.session_of("ana".into()), engine.session_of("ben".into()));
    told(&ana, "CREATE TABLE notes (id BIGINT PRIMARY KEY, note TEXT)").await.unwrap();
    told(&ana, "INSERT INTO notes VALUES (1, 'x')").await.unwrap();
    assert_eq!(state(&ben, "SELECT * FROM notes").await, SqlState::PRIVILEGE);
    // A view of hers sees what she sees, and no more.
    assert_eq!(state(&ana, "CREATE VIEW all_pay AS SELECT salary FROM people").await, SqlState::PRIVILEGE);
    told(&ana, "CREATE VIEW mine AS SELECT note FROM notes").await.unwrap();
    told(&ana, "GRANT SELECT ON mine TO ben").await.unwrap();
    assert_eq!(told(&ben, "SELECT * FROM mine").await.unwrap(), ["x"]);
    told(&ana, "DROP VIEW mine").await.unwrap();
    told(&ana, "ALTER TABLE notes RENAME TO memos").await.unwrap();
    told(&ana, "SELECT * FROM memos").await.unwrap();
    assert_eq!(run(&engine, "DROP USER ana").await.unwrap_err().state(), SqlState::DEPENDENTS);
    told(&ana, "GRANT SELECT ON memos TO ben").await.unwrap();
    told(&ana, "DROP TABLE memos").await.unwrap();
    // Another one of the same name is another one.
    run(&engine, "CREATE TABLE memos (id BIGINT)").await.unwrap();
    for session in [&ana, &ben] {
        assert_eq!(state(session, "SELECT * FROM memos").await, SqlState::PRIVILEGE);
    }
    run(&engine, "DROP USER ana").await.unwrap();
    assert_eq!(state(&ana, "SELECT * FROM memos").await, SqlState::LOGIN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_ends_what_runs() {
    let engine = people().await;
    run(&engine, "GRANT SELECT ON people TO ana").await.unwrap();
    let ana = engine.session_of("ana".into());
    let endless = "SELECT sum(id % 7) FROM people, generate_series(1, 1000000000000)";
    let running = tokio::spawn(async move { told(&ana, endless).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!running.is_finished());
    run(&engine, "REVOKE SELECT ON people FROM ana").await.unwrap();
    assert_eq!(running.await.unwrap().unwrap_err().state(), SqlState::CANCELLED);
}

#[tokio::test]
async fn nobody_is_locked_out_by_a_statement() {
    let engine = Engine::builder().open().await.unwrap();
    for sql in ["CREATE USER ana PASSWORD 'x'", "CREATE USER local PASSWORD 'x' SUPERUSER", "CREATE ROLE public"] {
        run(&engine, sql).await.unwrap_err();
    }
    all(&engine, &["CREATE USER root PASSWORD 'x' SUPERUSER", "CREATE USER ana PASSWORD 'x'"]).await;
    for sql in ["DROP USER root", "ALTER USER root NOSUPERUSER", "ALTER USER root NOLOGIN", "GRANT ana TO ana"] {
        run(&engine, sql).await.unwrap_err();
    }
    all(&engine, &["DROP USER ana", "DROP USER root"]).await;
    assert!(!engine.0.access.roles().demand_login());
}

#[tokio::test]
async fn passwords_are_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    run(&engine, "CREATE USER root PASSWORD 'canary-password' SUPERUSER").await.unwrap();
    let token = run(&engine, "CREATE TOKEN t FOR root VALID UNTIL '2100-01-01T00:00:00Z'").await.unwrap().remove(0);
    let access = &engine.0.access;
    assert_eq!(access.by_password("root", "canary-password").await.unwrap().as_ref(), "root");
    assert_eq!(access.by_password("root", "canary").await.unwrap_err().state(), SqlState::PASSWORD);
    assert_eq!(access.by_password("ghost", "canary").await.unwrap_err().state(), SqlState::PASSWORD);
    assert_eq!(access.by_token(&token, 0).await.unwrap().as_ref(), "root");
    access.by_token(&token, i64::MAX).await.unwrap_err();
    access.by_token("polder_", 0).await.unwrap_err();
    engine.close().await.unwrap();
    let mut folders = vec![directory.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            for secret in ["canary-password", &token] {
                assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", path.display());
            }
        }
    }
    let error = open(directory.path()).await;
    assert!(error.0.access.roles().demand_login());
    let error = run(&error, "CREATE USER x PASSWORD canary-password").await.unwrap_err();
    assert!(!format!("{error:?}").contains("canary-password"), "{error:?}");
}

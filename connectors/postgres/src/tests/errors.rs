//! What can go wrong, and what the user is told.

use super::server::{Database, attach, context, run};
use polder_catalog::{CheckState, Kind, SqlState};

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_source_and_the_next_step() {
    let database = Database::create();
    database.psql("CREATE TABLE t (a int4, b int4); CREATE ROLE guest LOGIN; CREATE TABLE secret (a int4)");
    let port = database.server().port();
    let dead = polder_testing::free_port();
    let cases = [
        (format!("postgres://polder@127.0.0.1:{dead}/postgres"), SqlState::CONNECTION, "could not connect"),
        (format!("postgres://polder@127.0.0.1:{port}/nowhere"), SqlState::NO_CATALOG, "nowhere"),
        (format!("postgres://nobody@127.0.0.1:{port}/postgres"), SqlState::LOGIN, "nobody"),
    ];
    for (url, state, words) in cases {
        let source = attach(&[("url", &url)]).await.expect("attaching needs no server");
        let error = source.schemas(&context()).await.expect_err("it cannot be reached");
        assert_eq!(error.state(), state, "{error}");
        assert!(error.message().starts_with("source \"shop\": ") && error.message().contains(words), "{error}");
        assert!(error.hint().is_some());
        let checks = source.check(&context()).await;
        assert_eq!(checks[0].state, CheckState::Failed);
    }
    let guest = database.url.replace("polder@", "guest@");
    let source = attach(&[("url", &guest)]).await.expect("attached");
    let error = run(&source, &context(), &["secret"], "SELECT a FROM secret").await.expect_err("no right");
    assert_eq!(error.state(), SqlState::PRIVILEGE);
    let checks = source.check(&context()).await;
    let rights = checks.iter().find(|check| check.item == "rights on public").expect("checked");
    assert_eq!(rights.fix.as_deref(), Some("GRANT SELECT ON ALL TABLES IN SCHEMA \"public\" TO \"guest\""));
    database.psql(rights.fix.as_deref().expect("there"));
    run(&source, &context(), &["secret"], "SELECT a FROM secret").await.expect("the statement mends it");
}

// Protects against decoding what a column was: a change between planning and reading is an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_between_plan_and_scan_is_told() {
    let database = Database::create();
    database.psql("CREATE TABLE t (a int8, b int4); INSERT INTO t VALUES (1, 2)");
    let source = database.attach(&[]).await;
    for (change, state) in [
        ("ALTER TABLE t ALTER a TYPE float8", SqlState::TYPE),
        ("ALTER TABLE t DROP a", SqlState::NO_COLUMN),
        ("DROP TABLE t", SqlState::NO_TABLE),
    ] {
        let context = context();
        let session = super::server::session(&source, &context, &["t"]).await.expect("described");
        let column = if change.contains("TABLE t ALTER") || change.contains("DROP a") { "a" } else { "b" };
        let frame = session.sql(&format!("SELECT {column} FROM t")).await.expect("planned");
        database.psql(change);
        let error = polder_catalog::Error::from_datafusion(frame.collect().await.expect_err("the table changed"));
        assert_eq!(error.state(), state, "{change}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("again")), "{error}");
    }
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_at_once() {
    for (options, words) in [
        (vec![("url", "postgres://a:b@h/d")], "password in plain text"),
        (vec![("url", "postgres://a@h/d?password=x")], "password in plain text"),
        (vec![("url", "nonsense")], "cannot be read"),
        (vec![("user", "a")], "no server is named"),
        (vec![("url", "postgres://a@h/d?sslmode=sometimes")], "sslmode"),
        (vec![("url", "postgres://a@h/d"), ("password", "plain")], "reference"),
    ] {
        let error = attach(&options).await.expect_err("refused");
        assert_eq!((error.kind(), error.state()), (Kind::Fix, SqlState::PARAMETER));
        assert!(error.message().contains(words), "{error}");
        assert!(!error.message().contains("plain'") && !error.message().contains("a:b"), "{error}");
    }
}

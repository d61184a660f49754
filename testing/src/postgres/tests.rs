use super::Postgres;
use std::path::Path;

/// Protects every other test: a cluster answers, is alone, and leaves nothing behind.
#[test]
fn a_cluster_answers_and_leaves_nothing_behind() {
    let postgres = Postgres::start();
    assert_eq!(postgres.psql("SELECT 1, NULL, 'a'; SELECT 2"), "1||a\n2");
    let pid = postgres.pid().expect("it runs");
    let directory = postgres.directory.path().to_path_buf();
    drop(postgres);
    assert!(!directory.exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

/// A fault test needs the same address and data after the fault.
#[test]
fn data_and_port_survive_stop_and_crash() {
    let mut postgres = Postgres::start();
    postgres.psql("CREATE TABLE t AS SELECT 1 AS a");
    let url = postgres.url();
    postgres.stop();
    assert!(postgres.try_psql("postgres", "SELECT 1").is_err());
    postgres.restart();
    postgres.psql("INSERT INTO t VALUES (2); CHECKPOINT");
    postgres.crash();
    postgres.restart();
    assert_eq!(postgres.psql("SELECT sum(a) FROM t"), "3");
    assert_eq!(postgres.url(), url);
}

/// The default collation must disagree with byte order, or pushed text ranges are not tested.
#[test]
fn the_default_collation_is_not_byte_order() {
    let postgres = Postgres::start();
    assert_eq!(postgres.psql("SELECT 'a' < 'B', 'a' COLLATE \"C\" < 'B'"), "t|f");
}

/// The password is asked over TCP, and psql over the socket needs none.
#[test]
fn a_password_is_asked_over_tcp() {
    let postgres = Postgres::builder().password("open sesame").start();
    let try_password = |password: &str| {
        let mut psql = postgres.psql_command("postgres");
        psql.args(["-h", "127.0.0.1", "-w", "-c", "SELECT 1"]).env("PGPASSWORD", password);
        psql.output().expect("run psql").status.success()
    };
    assert!(try_password("open sesame"));
    assert!(!try_password("wrong"));
}

//! The guided tour, as a newcomer sees it.

use crate::program::{command, finish, run};
use polder_testing::Postgres;
use std::process::Stdio;

#[test]
fn the_tour_shows_query_plan_and_answer_and_leaves_nothing_behind() {
    let ran = run(&["demo"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    for wanted in [
        "CREATE CATALOG lake USING object_store",
        "1. Which categories sell best?",
        "2. Who are the five best customers in the Netherlands?",
        "3. What do people complain about, and how much of it did we sell?",
        "INSERT 0 20000",
        "COPY 240",
        "What each store is asked:",
        "(4 rows)",
        "(5 rows)",
        "What to try next, with your own data:",
    ] {
        assert!(ran.stdout.contains(wanted), "{wanted} is not in\n{}", ran.stdout);
    }
    let location = ran.stdout.split("location = '").nth(1).and_then(|rest| rest.split('\'').next());
    let location = location.expect("the tour names its folder");
    assert!(!std::path::Path::new(location).exists(), "{location} is still there");
}

/// The schemas of tours that were not cleared away.
fn left_behind(postgres: &Postgres) -> String {
    postgres.psql("SELECT string_agg(nspname, ', ') FROM pg_namespace WHERE nspname LIKE 'polder%'").trim().to_string()
}

/// The tables below the questions.
fn answers(tour: &str) -> Vec<&str> {
    tour.split("\nThe answer:\n")
        .skip(1)
        .map(|rest| rest.split_once(" rows)").map_or(rest, |(table, _)| table))
        .collect()
}

#[test]
fn the_tour_keeps_its_customers_in_a_postgresql_and_drops_them() {
    let postgres = Postgres::builder().password("tour").start();
    let url = format!("postgres://polder@127.0.0.1:{}/postgres", postgres.port());
    let with_url = |password| {
        let mut tour = command(&["demo", "--postgres", &url]);
        tour.env("PGPASSWORD", password).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(tour.spawn().expect("run polder"))
    };
    let ran = with_url("tour");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    for wanted in
        ["CREATE CATALOG crm USING postgres", "password = 'env:PGPASSWORD'", "COPY (", "(5 rows)", "is dropped now"]
    {
        assert!(ran.stdout.contains(wanted), "{wanted} is not in\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("= 'tour'"), "{}", ran.stdout);
    assert_eq!(left_behind(&postgres), "");
    let from_memory = run(&["demo"]).stdout;
    assert_eq!(answers(&from_memory).len(), 3, "{from_memory}");
    assert_eq!(answers(&ran.stdout), answers(&from_memory));
    let refused = with_url("wrong");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("28P01") && refused.stdout.is_empty(), "{}", refused.stderr);
}

//! What those who run a server see of it, and the limits that it keeps.

use crate::program::{command, finish_soon};
use crate::root;
use crate::server::Server;
use polder_testing::Postgres;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Generous: a loaded machine is slow, and a passing test does not wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// A query that computes for minutes and never gives way: its join has no row to show.
const LONG: &str = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.value + b.value < 0";

fn curl(server: &Server, path: &str, arguments: &[&str]) -> (u16, String) {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "120", "--write-out", "\n%{http_code}", "--user-agent", "operator"])
        .args(arguments)
        .arg(format!("http://{}{path}", server.http))
        .output()
        .expect("run curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("curl tells the status");
    (status.parse().expect("a status"), body.to_string())
}

fn sql(server: &Server, sql: &str) -> (u16, Value) {
    let body = json!({ "sql": sql }).to_string();
    let (status, body) =
        curl(server, "/v1/sql", &["--header", "Content-Type: application/json", "--data-binary", &body]);
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

fn done(server: &Server, text: &str) {
    let (status, body) = sql(server, text);
    assert_eq!(status, 200, "{text}: {body}");
}

fn rows(server: &Server, text: &str) -> Vec<Value> {
    let (status, body) = sql(server, text);
    assert_eq!(status, 200, "{text}: {body}");
    body.as_array().expect("rows").clone()
}

/// Asks until the answer is what it should become.
fn until<T: std::fmt::Debug>(mut ask: impl FnMut() -> T, is_so: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "it stays {answer:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn metric(server: &Server, sample: &str) -> Option<f64> {
    let (_, text) = curl(server, "/metrics", &[]);
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ').map(str::to_string));
    line.and_then(|value| value.parse().ok())
}

/// A statement that runs somewhere is seen from elsewhere, and ended from there, also while it computes without giving way.
#[test]
fn a_statement_is_listed_and_killed_from_another_session() {
    let server = Server::start(&[]);
    for protocol in ["http", "pgwire"] {
        let (http, pg) = (server.http.clone(), server.pg.clone());
        let asking = std::thread::spawn(move || ask_long(protocol, &http, &pg));
        let running = format!(
            "SELECT id, protocol, application, \"user\" FROM polder.system.queries WHERE state = 'running' AND protocol = \
             '{protocol}' AND text LIKE '%1000000) b WHERE a%' AND text NOT LIKE '%system%'"
        );
        let listed = until(|| rows(&server, &running), |rows| rows.len() == 1);
        let id = listed[0]["id"].as_str().expect("an id").to_string();
        assert_eq!(listed[0]["user"], "local", "{listed:?}");
        let application = if protocol == "http" { "asker" } else { "psql" };
        assert_eq!(listed[0]["application"], application, "{listed:?}");
        assert_eq!(sql(&server, &format!("KILL QUERY '{id}'")), (200, json!({"tag": "KILL QUERY"})));
        let answer = asking.join().expect("the client reads");
        assert!(answer.contains("57014") && answer.contains(&id), "{answer}");
        let ended = format!("SELECT state, sqlstate, error FROM polder.system.queries WHERE id = '{id}'");
        let ended = &rows(&server, &ended)[0];
        assert_eq!((&ended["state"], &ended["sqlstate"]), (&json!("cancelled"), &json!("57014")), "{ended}");
        let (status, again) = sql(&server, &format!("KILL QUERY '{id}'"));
        assert_eq!((status, &again["sqlstate"]), (400, &json!("42704")), "{again}");
    }
    server.stop();
}

fn ask_long(protocol: &str, http: &str, pg: &str) -> String {
    if protocol == "http" {
        let mut stream = TcpStream::connect(http).expect("connect");
        let body = json!({ "sql": LONG }).to_string();
        let head = "POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nUser-Agent: asker\r\nConnection: close\r\n";
        let head = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).expect("write");
        let mut text = String::new();
        drop(stream.read_to_string(&mut text));
        return text;
    }
    let url = format!("postgresql://{pg}/polder");
    let ran = Command::new(Postgres::psql_program()).args([&url, "-X", "-v", "VERBOSITY=verbose", "-c", LONG]).output();
    String::from_utf8_lossy(&ran.expect("run psql").stderr).into_owned()
}

#[test]
fn what_a_statement_gave_and_read_is_told_and_no_secret_is() {
    let postgres = Postgres::start();
    postgres.psql("CREATE TABLE numbers AS SELECT generate_series(1, 1000)::bigint AS n");
    let server = Server::start(&[]);
    done(
        &server,
        &format!("CREATE CATALOG shop USING postgres WITH (url = '{}', application_name = 'hunter2')", postgres.url()),
    );
    assert_eq!(rows(&server, "SELECT n FROM shop.numbers WHERE n <= 100").len(), 100);
    let read = "SELECT rows, bytes, sources, state FROM polder.system.queries WHERE text LIKE 'SELECT n FROM shop%'";
    let read = &rows(&server, read)[0];
    assert_eq!((&read["rows"], &read["bytes"], &read["state"]), (&json!(100), &json!(800), &json!("done")), "{read}");
    let sources: Value = serde_json::from_str(read["sources"].as_str().expect("sources")).expect("JSON");
    assert_eq!(sources["shop"]["rows"], 100, "{read}");
    let (status, _) =
        sql(&server, "CREATE CATALOG bad USING postgres WITH (url = 'postgres://x', password = 'hunter2')");
    assert_eq!(status, 400);
    assert_eq!(sql(&server, "CREATE CATALOG bad USING postgres WITH (pool_size = 'hunter2', x = 'hunter2").0, 400);
    let texts =
        rows(&server, "SELECT text, error FROM polder.system.queries WHERE text LIKE 'CREATE CATALOG%' ORDER BY 1");
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts.iter().all(|line| !line.to_string().contains("hunter2")), "{texts:?}");
    let shop = "CREATE CATALOG shop USING postgres WITH (url = '...', application_name = '...')";
    assert!(texts.iter().any(|line| line["text"] == shop), "{texts:?}");
    server.stop();
}

/// A dead source fails only what needs it, fast and by name, and is found again when it is back.
#[test]
fn a_dead_source_rests_and_is_tried_again() {
    let mut postgres = Postgres::start();
    postgres.psql("CREATE TABLE t AS SELECT 1 AS n");
    let server = Server::start(&[]);
    done(&server, &format!("CREATE CATALOG shop USING postgres WITH (url = '{}')", postgres.url()));
    done(&server, "CREATE CATALOG other USING memory");
    let select = "SELECT n FROM shop.t";
    assert_eq!(rows(&server, select), [json!({"n": 1})]);
    postgres.stop();
    let title = |(status, body): (u16, Value)| (status, body["title"].as_str().unwrap_or_default().to_string());
    let rests = until(|| title(sql(&server, select)), |(_, title)| title.contains("is not asked"));
    assert!(rests.0 == 503 && rests.1.contains("\"shop\""), "{rests:?}");
    // All else goes on, also listings in which the dead source has a line.
    done(&server, "SHOW TABLES FROM other");
    done(&server, "SHOW TABLES");
    let state = "SELECT state, requests > 0 AS asked, errors >= 3 AS failed, last_error, last_error_at IS NOT NULL AS told, \
                 p50_ms > 0 AS timed FROM polder.system.sources WHERE catalog = 'shop'";
    let state = &rows(&server, state)[0];
    assert_eq!(state["state"], "failing", "{state}");
    assert_eq!([&state["asked"], &state["failed"], &state["told"], &state["timed"]], [&json!(true); 4], "{state}");
    assert!(state["last_error"].as_str().is_some_and(|error| error.contains("\"shop\"")), "{state}");
    assert_eq!(metric(&server, "polder_source_failing{catalog=\"shop\"}"), Some(1.0));
    assert_eq!(metric(&server, "polder_source_failing{catalog=\"other\"}"), Some(0.0));
    postgres.restart();
    until(|| sql(&server, select).0, |status| *status == 200);
    assert_eq!(metric(&server, "polder_source_failing{catalog=\"shop\"}"), Some(0.0));
    assert_eq!(
        rows(&server, "SELECT state FROM polder.system.sources WHERE catalog = 'shop'"),
        [json!({"state": "ok"})]
    );
    // Whoever mended it need not wait.
    postgres.stop();
    until(|| title(sql(&server, select)), |(_, title)| title.contains("is not asked"));
    postgres.restart();
    until(|| sql(&server, "CHECK CATALOG shop").1.to_string(), |checks| !checks.contains("failed"));
    assert_eq!(rows(&server, select), [json!({"n": 1})]);
    server.stop();
}

/// The names in the reference and those that are told are the same, and promtool has nothing to say against the text.
#[test]
fn metrics_are_those_of_the_reference() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a path of UTF-8");
    let server = Server::start(&["--data", path, "--allow-location", path]);
    done(&server, "CREATE TABLE t (id BIGINT PRIMARY KEY)");
    done(&server, "INSERT INTO t VALUES (1), (2)");
    let indexes = folder.path().join("indexes");
    done(&server, &format!("CREATE CATALOG other USING search WITH (path = '{}')", indexes.display()));
    done(&server, "CREATE TABLE other.public.copy (id BIGINT PRIMARY KEY, name TEXT)");
    assert_eq!(rows(&server, "SELECT id FROM t").len(), 2);
    assert_eq!(sql(&server, "SELECT missing FROM t").0, 400);
    let stalled = "polder_follower_stalled{catalog=\"other\"}";
    until(|| metric(&server, stalled), |stalled| *stalled == Some(0.0));
    let (status, text) = curl(&server, "/metrics", &[]);
    assert_eq!(status, 200);
    let told: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let known = known_metrics();
    assert_eq!(told, known.iter().map(String::as_str).collect(), "docs/reference/metrics.md");
    for name in &told {
        let begins = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{', '_']));
        assert!(text.lines().any(begins), "{name} has no sample");
    }
    let sample = |sample: &str| metric(&server, sample);
    assert_eq!(sample("polder_statements_total{protocol=\"http\",outcome=\"failed\"}"), Some(1.0));
    assert_eq!(sample("polder_result_rows_total{protocol=\"http\"}"), Some(2.0));
    assert_eq!(sample("polder_statement_duration_seconds_count{protocol=\"http\"}"), Some(6.0));
    assert_eq!(sample("polder_connections{protocol=\"http\"}"), Some(1.0));
    assert!(sample("polder_log_entries_total{shard=\"main\"}").is_some_and(|entries| entries >= 3.0));
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("run promtool: scripts/install-test-tools installs it");
    promtool.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("write");
    let output = promtool.wait_with_output().expect("wait for promtool");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
    server.stop();
}

/// The first column of the reference.
pub(crate) fn known_metrics() -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("docs/reference/metrics.md")).expect("read the reference");
    let names = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_string));
    names.collect()
}

/// One place: the second client is served when the first one leaves.
#[test]
fn a_listener_serves_so_many_connections_and_no_more() {
    let server = Server::start(&["--connections", "1"]);
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut byte = [0];
    let connect = || {
        let mut stream = TcpStream::connect(&server.http).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        stream.write_all(request).expect("write");
        stream
    };
    let mut first = connect();
    first.read_exact(&mut byte).expect("the first is served");
    let mut second = connect();
    second.set_read_timeout(Some(Duration::from_millis(300))).expect("set a timeout");
    second.read_exact(&mut byte).expect_err("the second waits");
    drop(first);
    second.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    second.read_exact(&mut byte).expect("the second is served");
    drop(second);
    server.stop();
}

#[test]
fn statements_keep_to_their_limits() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("polder.toml");
    std::fs::write(&config, "[engine]\nmemory_limit = \"64MB\"\n[server]\nresult_limit = \"10KB\"\n").expect("write");
    let config = ["--config", config.to_str().expect("a path of UTF-8")];
    let server = Server::start(&[&config[..], &["--query-memory-percent", "5", "--statement-timeout", "2s"]].concat());
    let state = |text: &str| {
        let (status, body) = sql(&server, text);
        assert_ne!(status, 200, "{text}: {body}");
        (body["sqlstate"].as_str().unwrap_or_default().to_string(), body.to_string())
    };
    assert_eq!(rows(&server, "SELECT value FROM range(1000)").len(), 1000);
    let (large, said) = state("SELECT value FROM range(5000)");
    assert!(large == "53400" && said.contains("10240"), "{said}");
    let join = "SELECT count(*) AS n FROM range(300000) a JOIN range(300000) b ON a.value = b.value";
    let (memory, said) = state(join);
    assert!(memory == "53200" && said.contains("the query may use 3."), "{said}");
    let (late, said) = state(LONG);
    assert!(late == "57014" && said.contains("statement timeout"), "{said}");
    server.stop();
    // The defaults leave room for both.
    let server = Server::start(&config);
    assert_eq!(rows(&server, join), [json!({"n": 300000})]);
    assert_eq!(rows(&server, "SHOW statement_timeout"), [json!({"statement_timeout": "1h"})]);
    assert_eq!(
        rows(&server, "SHOW idle_in_transaction_session_timeout"),
        [json!({"idle_in_transaction_session_timeout": "10m"})]
    );
    server.stop();
    let ran = finish_soon(
        command(&["serve", "--result-limit", "much"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run"),
    );
    assert!(ran.code == Some(1) && ran.stderr.contains("server.result_limit"), "{}", ran.stderr);
}

/// Who begins a transaction and leaves it holds nothing for ever.
#[test]
fn a_transaction_that_waits_too_long_ends() {
    let server = Server::start(&[]);
    done(&server, "CREATE TABLE t (id BIGINT PRIMARY KEY)");
    let url = format!("postgresql://{}/polder", server.pg);
    let mut psql = Command::new(Postgres::psql_program());
    psql.args([&url, "-X", "-q", "-v", "VERBOSITY=verbose"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut psql = psql.stdout(Stdio::null()).spawn().expect("run psql");
    let mut stdin = psql.stdin.take().expect("it is piped");
    stdin
        .write_all(b"SET idle_in_transaction_session_timeout = 500;\nBEGIN;\nINSERT INTO t VALUES (1);\n")
        .expect("write to psql");
    // PostgreSQL's own unit, milliseconds. Its connection ends while psql waits for the next line.
    until(|| metric(&server, "polder_connections_total{protocol=\"pgwire\"}"), |opened| *opened == Some(1.0));
    until(|| metric(&server, "polder_connections{protocol=\"pgwire\"}"), |open| *open == Some(0.0));
    stdin.write_all(b"COMMIT;\n").expect("write to psql");
    drop(stdin);
    let said = psql.wait_with_output().expect("wait for psql").stderr;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("25P03"), "{said}");
    assert_eq!(rows(&server, "SELECT count(*) AS n FROM t"), [json!({"n": 0})]);
    server.stop();
}

/// Each line is an object, and each request to a source a span with its source and its query.
#[test]
fn logs_are_json_if_asked_for() {
    let postgres = Postgres::start();
    postgres.psql("CREATE TABLE t AS SELECT 1 AS n");
    let attach = format!("CREATE CATALOG shop USING postgres WITH (url = '{}')", postgres.url());
    let ran = command(&["sql", "--log-format", "json", "-c", &attach, "-c", "SELECT n FROM shop.t"])
        .env("POLDER_LOG", "polder=debug")
        .output()
        .expect("run polder");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let is_of = |line: &Value, what: &str| {
        line["fields"]["message"] == "close" && line["span"]["source"] == "shop" && line["span"]["what"] == what
    };
    for what in ["dataset", "scan"] {
        let spans: Vec<_> = lines.iter().filter(|line| is_of(line, what)).collect();
        assert!(spans.len() == 1 && spans[0]["span"]["query"].is_string(), "{what}: {said}");
    }
}

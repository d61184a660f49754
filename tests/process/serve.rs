//! `polder serve` over HTTP, by curl, and by raw sockets for what curl would not send.

use crate::interrupt::wait_for;
use crate::program::{Transcript, command, finish_soon, run, signal};
use polder_testing::Postgres;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server.
struct Server {
    /// None once it has ended in good order.
    child: Option<Child>,
    said: Transcript,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(&["serve", "--http", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--pg", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run polder serve");
        let mut said = Transcript::of(child.stderr.take().expect("standard error is piped"));
        let text = said.expect("ready\n");
        let address = text.split("http://").nth(1).and_then(|rest| rest.lines().next()).expect("an address");
        Self { child: Some(child), said, address: address.to_string() }
    }

    /// Status, headers and body of a request by curl; curl's own exit code stands for a status that never came.
    fn curl(&self, path: &str, arguments: &[&str]) -> Answer {
        let output = Command::new("curl")
            .args(["--silent", "--include", "--max-time", "60"])
            .args(arguments)
            .arg(format!("http://{}{path}", self.address))
            .output()
            .expect("run curl");
        Answer::read(&output.stdout, output.status.code())
    }

    fn sql(&self, body: &str, arguments: &[&str]) -> Answer {
        let json = ["--header", "Content-Type: application/json", "--data-binary", body];
        self.curl("/v1/sql", &[&json[..], arguments].concat())
    }

    /// Sends bytes as they are, and reads until the server closes.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set a timeout");
        // A server that refuses early closes early.
        drop(stream.write_all(bytes));
        let mut text = Vec::new();
        drop(stream.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Ends it as an administrator does.
    fn stop(mut self) {
        self.terminate();
        self.expect_end();
    }

    fn terminate(&self) {
        signal(self.child.as_ref().expect("it runs").id(), "TERM");
    }

    fn expect_end(&mut self) {
        let ran = finish_soon(self.child.take().expect("it runs"));
        assert_eq!(ran.code, Some(0));
    }
}

/// A test that failed leaves nothing behind.
impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
    /// curl's own.
    code: Option<i32>,
}

impl Answer {
    fn read(bytes: &[u8], code: Option<i32>) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_ascii_lowercase(), body: body.to_string(), code }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

/// A query that computes for minutes and never gives way: its join has no row to show.
const LONG: &str = r#"{"sql": "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.value + b.value < 0"}"#;

#[test]
fn statements_are_answered_in_each_format() {
    let server = Server::start(&[]);
    let sql = r#"{"sql": "SELECT $1 + 1 AS n, $2 AS t, NULL AS z", "params": [41, "it's"]}"#;
    let answer = server.sql(sql, &[]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "[{\"n\":42,\"t\":\"it's\",\"z\":null}]\n"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let answer = server.sql(sql, &["--header", "Accept: text/csv"]);
    assert_eq!(answer.body, "n,t,z\n42,it's,\n");
    let answer = server.sql(sql, &["--header", "Accept: application/x-ndjson"]);
    assert_eq!(answer.body, "{\"n\":42,\"t\":\"it's\",\"z\":null}\n");
    let answer = server.sql(sql, &["--header", "Accept: application/vnd.apache.arrow.stream"]);
    assert_eq!(answer.header("content-type"), Some("application/vnd.apache.arrow.stream"));
    let answer = server.sql(sql, &["--header", "Accept: image/png"]);
    assert_eq!(answer.status, 406, "{answer:?}");
    // An empty result has its columns in CSV, and is an array in JSON.
    let none = r#"{"sql": "SELECT 1 AS n WHERE false"}"#;
    assert_eq!(server.sql(none, &[]).body, "[]\n");
    assert_eq!(server.sql(none, &["--header", "Accept: text/csv"]).body, "n\n");
    server.stop();
}

/// Lines that tell names, types and the end, or why there is none.
#[test]
fn rows_tell_their_types_and_their_end() {
    let server = Server::start(&[]);
    let told = ["--header", "Accept: application/vnd.polder.rows+ndjson"];
    let sql = r#"{"sql": "SELECT a.value, b.value, NULL AS z FROM range(2) a JOIN range(2) b ON a.value = b.value ORDER BY 1"}"#;
    let answer = server.sql(sql, &told);
    assert_eq!(
        answer.body,
        "{\"columns\":[{\"name\":\"value\",\"nullable\":false,\"type\":\"Int64\"},\
         {\"name\":\"value\",\"nullable\":false,\"type\":\"Int64\"},{\"name\":\"z\",\"nullable\":true,\"type\":\"Null\"}]}\n\
         [0,0,null]\n[1,1,null]\n{\"end\":{\"notices\":[],\"rows\":2,\"sources\":[]}}\n"
    );
    let none = server.sql(r#"{"sql": "SELECT 1 AS n WHERE false"}"#, &told);
    assert!(none.body.starts_with("{\"columns\"") && none.body.contains("\"rows\":0"), "{none:?}");
    // What fails behind the first rows says why, and the body has an end.
    let late = r#"{"sql": "SELECT 1 / (value - 99999) AS n FROM range(200000)"}"#;
    let answer = server.sql(late, &told);
    assert_eq!((answer.status, answer.code), (200, Some(0)), "{}", answer.head);
    let last = answer.body.lines().last().unwrap_or_default();
    assert!(last.starts_with("{\"error\":") && last.contains("\"sqlstate\":\"22012\""), "{last}");
    // What fails at once has a status.
    assert_eq!(server.sql(r#"{"sql": "SELECT * FROM nothing"}"#, &told).status, 400);
    server.stop();
}

/// A plan for programs, in the shape of PostgreSQL's.
#[test]
fn a_plan_is_told_as_json() {
    let server = Server::start(&[]);
    let plan = |explain: &str| {
        let sql = format!("{explain} SELECT dataset FROM polder.system.datasets ORDER BY 1");
        let body = format!("{{\"sql\": \"{sql}\"}}");
        server.sql(&body, &[]).body
    };
    for explain in ["EXPLAIN (FORMAT JSON)", "EXPLAIN FORMAT JSON", "explain (costs off, verbose off, format 'json')"] {
        let body = plan(explain);
        assert!(body.contains(r#"\"Plan\": {\n      \"Node Type\": \"Sort\""#), "{body}");
        assert!(!body.contains("Actual Rows"), "{body}");
    }
    for analyze in
        ["EXPLAIN (ANALYZE, FORMAT JSON)", "EXPLAIN ANALYZE FORMAT JSON", "EXPLAIN (ANALYZE on, FORMAT json)"]
    {
        let body = plan(analyze);
        assert!(body.contains(r#"\"Actual Rows\": 0"#) && body.contains(r#"\"Execution Time\":"#), "{body}");
    }
    for (explain, state) in
        [("EXPLAIN (FORMAT XML)", "22023"), ("EXPLAIN (SPEED)", "42601"), ("EXPLAIN (ANALYZE maybe)", "22023")]
    {
        let body = plan(explain);
        assert!(body.contains(state), "{explain}: {body}");
    }
    // A query in parentheses is a query.
    assert!(server.sql(r#"{"sql": "EXPLAIN (SELECT 1)"}"#, &[]).body.contains("\"plan\""));
    server.stop();
}

/// pyarrow reads what we call Arrow, with texts of slices in it.
#[test]
fn arrow_is_read_by_pyarrow() {
    let server = Server::start(&[]);
    let program = format!(
        "import json, urllib.request, pyarrow as pa\n\
         sql = \"SELECT value AS n, 'text number ' || value AS t FROM range(100000)\"\n\
         request = urllib.request.Request('http://{}/v1/sql', json.dumps({{'sql': sql}}).encode(),\n\
             {{'Content-Type': 'application/json', 'Accept': 'application/vnd.apache.arrow.stream'}})\n\
         table = pa.ipc.open_stream(urllib.request.urlopen(request)).read_all()\n\
         t = table.column('t').cast(pa.string()).to_pylist()\n\
         print(table.num_rows, sum(table.column('n').to_pylist()), sorted(t)[0], len(set(t)))\n",
        server.address
    );
    let output = Command::new(polder_python()).args(["-c", &program]).output().expect("run python");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "100000 4999950000 text number 0 100000\n", "{}", String::from_utf8_lossy(&output.stderr));
    server.stop();
}

/// What a reader is told to type works, but for the server, which is there.
#[test]
fn every_command_of_the_http_document_runs() {
    let document = std::fs::read_to_string(crate::root().join("docs/http.md")).expect("read the document");
    let server = Server::start(&[]);
    for sql in [
        "CREATE TABLE customers (name TEXT PRIMARY KEY, country TEXT)",
        "CREATE TABLE orders (id BIGINT PRIMARY KEY, amount DECIMAL(10, 2))",
    ] {
        assert_eq!(server.sql(&format!("{{\"sql\": \"{sql}\"}}"), &[]).status, 200);
    }
    let blocks = document.split("```bash\n").skip(1).filter_map(|rest| rest.split("```").next());
    let commands: Vec<_> = blocks.filter(|block| block.starts_with("curl")).collect();
    assert!(commands.len() > 2, "the document has commands");
    for command in commands {
        let command =
            command.replace("127.0.0.1:8080", &server.address).replace("curl ", "curl --fail --silent --show-error ");
        let output = Command::new("bash").args(["-euc", &command]).output().expect("run bash");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    server.stop();
}

/// The Python that scripts/install-test-tools fills.
pub(crate) fn polder_python() -> std::path::PathBuf {
    tools().join("python/bin/python")
}

/// Where `scripts/install-test-tools` puts what tests need.
pub(crate) fn tools() -> std::path::PathBuf {
    let tools = std::env::var_os("POLDER_TOOLS").map(std::path::PathBuf::from);
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from).expect("HOME is set");
    tools.unwrap_or_else(|| home.join(".cache/polder/tools"))
}

#[test]
fn a_write_has_a_position_and_a_request_id() {
    let folder = tempfile();
    let server = Server::start(&["--data", &folder]);
    assert_eq!(server.sql(r#"{"sql": "CREATE TABLE t (id BIGINT PRIMARY KEY)"}"#, &[]).status, 200);
    let insert = r#"{"sql": "INSERT INTO t VALUES ($1)", "params": [7]}"#;
    let key = ["--header", "Idempotency-Key: first"];
    let answer = server.sql(insert, &key);
    assert_eq!((answer.status, answer.body.as_str()), (200, "{\"tag\":\"INSERT 0 1\"}\n"));
    let position = answer.header("polder-position").expect("a write has a position").to_string();
    // Sent again it has no second effect, and another statement may not take its id.
    let again = server.sql(insert, &key);
    assert_eq!((again.status, again.body), (200, answer.body));
    let other = server.sql(r#"{"sql": "INSERT INTO t VALUES ($1)", "params": [8]}"#, &key);
    assert_eq!(other.status, 422, "{other:?}");
    assert!(other.body.contains(r#""sqlstate":"PD001""#), "{other:?}");
    let duplicate = server.sql(insert, &[]);
    assert_eq!(duplicate.status, 409, "{duplicate:?}");
    assert!(duplicate.body.contains(r#""sqlstate":"23505""#), "{duplicate:?}");
    assert_eq!(duplicate.header("content-type"), Some("application/problem+json"));
    let after = format!("Polder-Read-After: {position}");
    let read = server.sql(r#"{"sql": "SELECT id FROM t"}"#, &["--header", &after]);
    assert_eq!(read.body, "[{\"id\":7}]\n");
    assert!(read.header("polder-position").is_some(), "{read:?}");
    // The same after a restart.
    server.stop();
    let server = Server::start(&["--data", &folder]);
    assert_eq!(server.sql(insert, &key).body, "{\"tag\":\"INSERT 0 1\"}\n");
    assert_eq!(server.sql(r#"{"sql": "SELECT count(*) AS n FROM t"}"#, &[]).body, "[{\"n\":1}]\n");
    server.stop();
    std::fs::remove_dir_all(folder).expect("remove the data directory");
}

fn tempfile() -> String {
    let output = Command::new("mktemp").arg("-d").output().expect("run mktemp");
    String::from_utf8(output.stdout).expect("a path of ASCII").trim().to_string()
}

#[test]
fn errors_are_problems_with_state_and_hint() {
    let server = Server::start(&[]);
    let cases = [
        (r#"{"sql": "SELECT * FROM nothing"}"#, 400, "42P01"),
        (r#"{"sql": "SELECT (1"}"#, 400, "42601"),
        (r#"{"sql": "SELECT 1; SELECT 2"}"#, 400, "42601"),
        (r#"{"sql": "SELECT $1"}"#, 400, "42P02"),
        (r#"{"sql": "SELECT $1", "params": [[1]]}"#, 400, "22023"),
        (r#"{"sql": "BEGIN"}"#, 400, "0A000"),
        (r#"{"sql": "SET pushdown = off"}"#, 400, "0A000"),
        (r#"{"sql": 1}"#, 400, "22P04"),
        (r#"{"sql": "SELECT 1", "values": []}"#, 400, "22P04"),
        (r#"{"sql": "SELECT * FROM 'Cargo.toml'"}"#, 400, "42501"),
        ("", 400, "22P04"),
        ("[[[[[[[[", 400, "22P04"),
    ];
    for (body, status, state) in cases {
        let answer = server.sql(body, &[]);
        let is_status = answer.status == status || (state == "42501" && answer.status == 403);
        assert!(is_status, "{body}: {answer:?}");
        assert!(answer.body.contains(&format!("\"sqlstate\":\"{state}\"")), "{body}: {answer:?}");
        assert!(answer.body.contains("\"title\":"), "{body}: {answer:?}");
    }
    // Deeply nested JSON is refused by depth, not by the stack.
    let deep = format!("{{\"sql\": \"SELECT $1\", \"params\": {}", "[".repeat(100_000));
    let answer = server.raw(request("POST", "/v1/sql", &deep).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(server.curl("/nothing", &[]).status, 404);
    assert_eq!(server.curl("/v1/sql", &[]).status, 405);
    server.stop();
}

fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// A page of elsewhere, in a browser of this machine, gets nothing done.
#[test]
fn a_page_of_elsewhere_is_refused() {
    let server = Server::start(&[]);
    let sql = r#"{"sql": "SELECT 1"}"#;
    let answer = server.sql(sql, &["--header", "Host: evil.example"]);
    assert_eq!(answer.status, 403, "{answer:?}");
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let kind = format!("Content-Type: {kind}");
        let answer = server.curl("/v1/sql", &["--header", &kind, "--data-binary", sql]);
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    // What a browser asks before it sends JSON elsewhere is not allowed.
    let asks = ["--request", "OPTIONS", "--header", "Origin: http://evil.example"];
    let answer = server.curl("/v1/sql", &[&asks[..], &["--header", "Access-Control-Request-Method: POST"]].concat());
    assert!(answer.header("access-control-allow-origin").is_none(), "{answer:?}");
    assert_ne!(answer.status, 200);
    server.stop();
}

#[test]
fn listings_and_health_are_told() {
    let server = Server::start(&[]);
    assert_eq!(server.curl("/healthz", &[]).body, "ok\n");
    assert_eq!(server.curl("/readyz", &[]).body, "ready\n");
    assert_eq!(server.sql(r#"{"sql": "CREATE CATALOG \"a\"\"b\" USING memory"}"#, &[]).status, 200);
    let answer = server.curl("/v1/catalogs", &[]);
    assert!(answer.body.contains(r#""a\"b""#), "{answer:?}");
    let answer = server.curl("/v1/catalogs/a%22b/tables", &[]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "[]\n"));
    for unknown in [
        "/v1/catalogs/none/tables",
        "/v1/catalogs/none/schemas",
        "/v1/catalogs/polder/schemas/public/tables/none",
        "/console/none.js",
    ] {
        let answer = server.curl(unknown, &[]);
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(server.curl("/v1/catalogs/%ff/tables", &[]).status, 400);
    let answer = server.curl("/v1/catalogs/polder/schemas", &[]);
    assert!(answer.body.contains(r#"{"catalog":"polder","schema":"system"}"#), "{answer:?}");
    let answer = server.curl("/v1/catalogs/polder/schemas/system/tables/datasets", &[]);
    assert!(answer.body.contains(r#""column":"lag_entries","type":"Utf8""#), "{answer:?}");
    let answer = server.curl("/v1/words", &[]);
    assert!(answer.body.contains(r#""SELECT""#) && answer.body.contains(r#""date_trunc""#), "{answer:?}");
    server.stop();
}

/// Hostile and broken requests end in an error or a closed connection, and the server goes on.
#[test]
fn broken_requests_harm_nobody() {
    let server = Server::start(&[]);
    let huge = format!("POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", u64::MAX);
    let large = format!("POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", 64 << 20);
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let broken: [&[u8]; 9] = [
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        huge.as_bytes(),
        large.as_bytes(),
        long.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in broken {
        let answer = server.raw(bytes);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(server.sql(r#"{"sql": "SELECT 1 AS n"}"#, &[]).body, "[{\"n\":1}]\n");
    server.stop();
}

/// Clients that never finish their head are sent away, and others are served meanwhile.
#[test]
fn slow_clients_are_sent_away() {
    let server = Server::start(&[]);
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.address).expect("connect");
            stream.write_all(b"POST /v1/sql HT").expect("write");
            stream
        })
        .collect();
    assert_eq!(server.sql(r#"{"sql": "SELECT 1 AS n"}"#, &[]).body, "[{\"n\":1}]\n");
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set a timeout");
        let mut text = Vec::new();
        // Closed in order or not: it must be closed.
        if let Err(error) = stream.read_to_end(&mut text) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }
    server.stop();
}

/// A client that goes away takes its query with it, also at the source.
#[test]
fn a_client_that_leaves_cancels_its_query() {
    let postgres = Postgres::start();
    let server = Server::start(&["--grace", "60"]);
    let attach = format!("{{\"sql\": \"CREATE CATALOG shop USING postgres WITH (url = '{}')\"}}", postgres.url());
    assert_eq!(server.sql(&attach, &[]).status, 200);
    // Longer than the test waits.
    let sleep = r#"{"sql": "SELECT * FROM query('shop', 'SELECT pg_sleep(600)')"}"#;
    let mut stream = TcpStream::connect(&server.address).expect("connect");
    stream.write_all(request("POST", "/v1/sql", sleep).as_bytes()).expect("write");
    wait_for(&postgres, "1");
    drop(stream);
    wait_for(&postgres, "0");
    server.stop();
}

/// What fails after the first rows breaks the answer off: no part is presented as the whole.
#[test]
fn an_answer_that_fails_in_the_middle_has_no_end() {
    let server = Server::start(&[]);
    let sql = r#"{"sql": "SELECT 1 / (500000 - value) AS n FROM range(1000000)"}"#;
    let answer = server.sql(sql, &["--header", "Accept: application/x-ndjson"]);
    assert_eq!(answer.status, 200, "{}", answer.body.len());
    assert_eq!(answer.code, Some(18), "curl takes it for the whole");
    assert!(answer.body.starts_with("{\"n\":0}\n"), "{}", answer.body.len());
    server.stop();
}

#[test]
fn statements_that_outlast_the_grace_are_told() {
    let mut server = Server::start(&["--grace", "1"]);
    let address = server.address.clone();
    let asking = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.write_all(request("POST", "/v1/sql", LONG).as_bytes()).expect("write");
        let mut text = String::new();
        drop(stream.read_to_string(&mut text));
        text
    });
    std::thread::sleep(Duration::from_millis(500));
    server.terminate();
    server.said.expect("shutting down");
    let answer = asking.join().expect("the client reads");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("57P01"), "{answer}");
    server.expect_end();
}

/// Whoever asks twice does not wait for the grace.
#[test]
fn a_second_signal_ends_the_server_at_once() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut server = Server::start(&["--grace", "600"]);
        let mut stream = TcpStream::connect(&server.address).expect("connect");
        stream.write_all(request("POST", "/v1/sql", LONG).as_bytes()).expect("write");
        std::thread::sleep(Duration::from_millis(500));
        let child = server.child.take().expect("it runs");
        signal(child.id(), name);
        server.said.expect("shutting down");
        signal(child.id(), name);
        assert_eq!(finish_soon(child).code, Some(code), "{name}");
    }
}

#[test]
fn beyond_loopback_it_must_be_asked_for() {
    let ran = run(&["serve", "--http", "0.0.0.0:0"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("--without-tls"), "{}", ran.stderr);
}

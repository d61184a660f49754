//! `polder sql --connect`: whoever runs a statement, it is answered alike.

use crate::interrupt::wait_for;
use crate::program::{Ran, command, finish, finish_soon, run, run_with_input, signal};
use crate::server::Server;
use polder_testing::Postgres;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a statement can give: tags, rows of all types, no rows, plans, and at last an error.
const SCRIPT: &str = "
CREATE TABLE things (id BIGINT PRIMARY KEY, name TEXT, price DECIMAL(10, 2), CHECK (price >= 0));
INSERT INTO things VALUES (1, 'one', 1.50), (2, NULL, 20), (3, 'a, \"b\"
c', NULL);
UPDATE things SET price = price + 1 WHERE id = 2 RETURNING id, price;
SELECT * FROM things ORDER BY id;
SELECT name FROM things WHERE id > 100;
SELECT true AS yes, 1::smallint AS small, 2::int AS four, 9007199254740993 AS eight, 0.25::real AS real,
    1e100::double AS double, 'NaN'::double AS nan, '' AS empty, NULL AS nothing;
SELECT 123456789012345678901234567890.12345678::decimal(38, 8) AS many, -0.5 AS half,
    arrow_cast(18446744073709551615::decimal(20, 0), 'UInt64') AS unsigned;
SELECT DATE '2024-02-29' AS day, TIME '12:34:56.789' AS hour, TIMESTAMP '2024-02-29 12:34:56.789' AS moment,
    TIMESTAMPTZ '2024-02-29T12:34:56+02' AS instant, INTERVAL '1 month 2 days 3 seconds' AS span;
SELECT X'00ff' AS bytes, uuid() IS NOT NULL AS has_id, make_array(1, NULL, 3) AS numbers,
    make_array('a', 'b \"c\"', NULL) AS words;
SELECT value, value * 2 AS twice FROM generate_series(1, 20000) ORDER BY value LIMIT 3 OFFSET 19000;
EXPLAIN SELECT name FROM things WHERE id = 1;
SHOW TABLES;
DESCRIBE things;
DELETE FROM things WHERE id = 3;
DROP TABLE things;
SELECT * FROM things;
SELECT 'never' AS reached;
";

fn at(url: &str, arguments: &[&str]) -> Ran {
    run(&[&["sql", "--connect", url], arguments].concat())
}

#[test]
fn one_script_is_answered_alike_here_and_over_three_protocols() {
    let server = Server::start(&[]);
    for format in ["table", "csv", "json", "ndjson"] {
        let here = run_with_input(&["sql", "--format", format], SCRIPT);
        assert_eq!(here.code, Some(1), "{}", here.stderr);
        assert!(here.stderr.contains("[42P01]\nhint: ") && here.stdout.contains("2024-02-29T10:34:56Z"));
        for url in server.urls() {
            let there = run_with_input(&["sql", "--connect", &url, "--format", format], SCRIPT);
            assert_eq!((there.code, there.stderr), (Some(1), here.stderr.clone()), "{url} {format}");
            let lines = here.stdout.lines().zip(there.stdout.lines());
            lines.for_each(|(here, there)| assert_eq!(there, here, "{url} {format}"));
            assert_eq!(there.stdout.len(), here.stdout.len(), "{url} {format}");
        }
    }
    server.stop();
}

/// An error has its SQLSTATE, message, detail and hint, whether it comes before the first row or behind many.
#[test]
fn errors_are_the_same_everywhere() {
    let server = Server::start(&[]);
    let statements = [
        "SELECT FROM WHERE",
        "SELECT missing FROM (SELECT 1 AS there) t",
        "CREATE CATALOG shop USING postgres WITH (url = 'postgres://localhost', colour = 'red')",
        "SELECT 1 / (value - 1) FROM generate_series(1, 2)",
        "SELECT 'x'::int",
    ];
    for statement in statements {
        let here = run(&["sql", "-c", statement]);
        assert!(here.code == Some(1) && here.stderr.starts_with("error: "), "{statement}: {}", here.stderr);
        for url in server.urls() {
            let there = at(&url, &["-c", statement]);
            assert_eq!((there.code, &there.stderr), (Some(1), &here.stderr), "{url}: {statement}");
        }
    }
    server.stop();
}

/// A result that fails at its end is no result: over HTTP the reason is lost with the connection, but not that it failed.
#[test]
fn a_result_that_fails_late_is_told_by_all() {
    let server = Server::start(&[]);
    let statement = "SELECT 1 / (value - 300000) FROM generate_series(1, 300001)";
    for (url, state) in server.urls().iter().zip(["08001", "22012", "22012"]) {
        let ran = at(url, &["--format", "csv", "-c", statement]);
        assert_eq!(ran.code, Some(1), "{url}");
        assert!(ran.stderr.contains(&format!("[{state}]")), "{url}: {}", ran.stderr);
    }
    server.stop();
}

/// Settings and transactions last from statement to statement where the protocol has sessions; HTTP says that it has none.
#[test]
fn a_session_lasts_where_the_protocol_has_one() {
    let server = Server::start(&[]);
    let [http, flight, pg] = server.urls();
    for (number, url) in [flight, pg].iter().enumerate() {
        let script = format!(
            "CREATE TABLE kept_{number} (id BIGINT PRIMARY KEY);
             SET statement_timeout = '7s';
             SHOW statement_timeout;
             BEGIN;
             INSERT INTO kept_{number} VALUES (1);
             SELECT count(*) AS inside FROM kept_{number};
             ROLLBACK;
             SELECT count(*) AS after FROM kept_{number}"
        );
        let ran = at(url, &["--format", "csv", "-c", &script]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.contains("7s") && ran.stdout.ends_with("inside\n1\nafter\n0\n"), "{url}: {}", ran.stdout);
        assert!(ran.stderr.contains("BEGIN\nINSERT 0 1\nROLLBACK\n"), "{url}: {}", ran.stderr);
    }
    let ran = at(&http, &["-c", "BEGIN"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("error: each request has a session of its own [0A000]\nhint: "), "{}", ran.stderr);
    server.stop();
}

/// Beside the rows, as when they are made here.
#[test]
fn notices_travel_beside_the_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&["--allow-location", folder.path().to_str().expect("a path of UTF-8")]);
    let [http, flight, pg] = server.urls();
    let made = format!(
        "CREATE CATALOG docs USING search WITH (path = '{}');
         CREATE TABLE docs.public.mails (id BIGINT PRIMARY KEY, body TEXT WITH (analyzer = 'english'));
         INSERT INTO docs.public.mails VALUES (1, 'You will receive Receipts'), (2, 'nothing')",
        folder.path().join("docs").display()
    );
    let ran = at(&pg, &["-c", &made]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let query = "SELECT id FROM docs.public.mails WHERE match(body, 'recieve') ORDER BY _score DESC LIMIT 3";
    for url in [http, flight, pg] {
        let ran = at(&url, &["--format", "csv", "-c", query]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "id\n"), "{url}: {}", ran.stderr);
        let notice = "notice: no row of \"mails\" has the word \"reciev\"; did you mean \"receive\"?\n";
        assert_eq!(ran.stderr, notice, "{url}");
    }
    server.stop();
}

/// The rows of a COPY travel by the protocol that has it.
#[test]
fn rows_are_copied_over_the_protocol_of_postgres() {
    let server = Server::start(&[]);
    let url = &server.urls()[2];
    let script = "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT);
COPY t FROM STDIN WITH (FORMAT csv, HEADER false);
1,one
2,\"two, too\"
\\.
SELECT * FROM t ORDER BY id;
";
    let ran = run_with_input(&["sql", "--connect", url, "--format", "csv"], script);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "id,name\n1,one\n2,\"two, too\"\n"), "{}", ran.stderr);
    assert_eq!(ran.stderr, "CREATE TABLE\nCOPY 2\n");
    server.stop();
}

/// The server would go on computing for nobody.
#[test]
fn an_interrupt_here_ends_the_query_at_the_server_and_its_source() {
    let postgres = Postgres::start();
    let server = Server::start(&["--grace", "60"]);
    let attach = format!("CREATE CATALOG shop USING postgres WITH (url = '{}')", postgres.url());
    let attached = at(&server.urls()[0], &["-c", &attach]);
    assert_eq!(attached.code, Some(0), "{}", attached.stderr);
    for url in server.urls() {
        let query = "SELECT * FROM query('shop', 'SELECT pg_sleep(600)')";
        let child =
            command(&["sql", "--connect", &url, "-c", query]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.expect("run polder");
        wait_for(&postgres, "1");
        signal(child.id(), "INT");
        assert_eq!(finish_soon(child).code, Some(130), "{url}");
        wait_for(&postgres, "0");
    }
    server.stop();
}

#[test]
fn what_cannot_be_reached_or_said_is_told() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address");
    for scheme in ["http", "grpc", "postgresql"] {
        let ran = at(&format!("{scheme}://{nobody}"), &["-c", "SELECT 1"]);
        assert_eq!(ran.code, Some(1));
        assert!(
            ran.stderr.starts_with(&format!("error: could not reach {scheme}://{nobody} [08001]")),
            "{}",
            ran.stderr
        );
    }
    let usage = run(&["sql", "--connect", "http://127.0.0.1", "--data", "/nowhere"]);
    assert_eq!(usage.code, Some(2), "{}", usage.stderr);
    let ran = at("postgresql://ada:sesame@127.0.0.1", &["-c", "SELECT 1"]);
    assert!(ran.code == Some(1) && !ran.stderr.contains("sesame"), "{}", ran.stderr);
    let exposed = command(&["sql", "--connect", "http://192.0.2.1", "-c", "SELECT 1"])
        .env("POLDER_PASSWORD", "sesame")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let ran = finish(exposed.expect("run polder"));
    assert!(ran.stderr.starts_with("error: a secret would travel in the clear [28000]"), "{}", ran.stderr);
}

/// What stands in the head of the request that a client makes.
fn head_of(arguments: &[&str], password: Option<&str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut client = command(&["sql", "--connect", &url, "-c", "SELECT 1"]);
    client.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    client.envs(password.map(|password| ("POLDER_PASSWORD", password)));
    let client = client.spawn().expect("run polder");
    let (mut stream, _) = listener.accept().expect("accept");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("read the head");
        head.push(byte[0]);
    }
    let body = r#"{"title": "who are you?", "sqlstate": "28P01", "hint": "log in"}"#;
    let answer = format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).expect("answer");
    let ran = finish(client);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), "error: who are you? [28P01]\nhint: log in\n"));
    String::from_utf8(head).expect("the head is text").to_lowercase()
}

#[test]
fn a_login_is_shown_as_http_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "sesame\n").expect("write a file");
    let file = file.to_str().expect("a plain path");
    let basic = "authorization: basic ywrhonnlc2ftzq==\r\n";
    assert!(head_of(&["--user", "ada", "--password-file", file], None).contains(basic));
    assert!(head_of(&["--user", "ada"], Some("sesame")).contains(basic));
    assert!(head_of(&["--token-file", file], Some("other")).contains("authorization: bearer sesame\r\n"));
    assert!(!head_of(&["--user", "ada"], None).contains("authorization"));
}

/// A certificate for 127.0.0.1, and its key.
fn certificate(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("run openssl").success());
    (certificate, key)
}

/// The client's half of TLS and SCRAM, at a server that has both: PostgreSQL itself.
#[test]
fn a_login_by_scram_over_tls_is_done_as_postgres_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, key) = certificate(folder.path());
    let postgres = Postgres::builder().password("sesame").tls(&authority, &key).start();
    let url = format!("postgresql://polder@127.0.0.1:{}/postgres?sslmode=require", postgres.port());
    let authority = authority.to_str().expect("a plain path");
    let asked = |url: &str, password: &str, arguments: &[&str]| {
        let query = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let mut client = command(&["sql", "--connect", url, "--format", "csv", "-c", query]);
        client.args(arguments).env("POLDER_PASSWORD", password).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(client.spawn().expect("run polder"))
    };
    let ran = asked(&url, "sesame", &["--ca", authority]);
    assert_eq!(ran.stdout, "ssl,version\ntrue,TLSv1.3\n", "{}", ran.stderr);
    let ran = asked(&url, "wrong", &["--ca", authority]);
    assert!(ran.stderr.contains("[28P01]"), "{}", ran.stderr);
    let ran = asked(&url, "sesame", &[]);
    assert!(ran.stderr.contains("hint: --ca FILE"), "nobody vouches for it: {}", ran.stderr);
    let ran = asked(&url.replace("127.0.0.1", "localhost"), "sesame", &["--ca", authority]);
    assert!(ran.stderr.contains("hint: --ca FILE"), "it has another name: {}", ran.stderr);
    let ran = asked(&url.replace("require", "disable"), "sesame", &[]);
    assert_eq!(ran.stdout, "ssl,version\nfalse,\n", "{}", ran.stderr);
}

//! The shell on a terminal, which `script` of util-linux provides.

use crate::polder;
use crate::program::{FOREIGN, Transcript, signal, wait_soon};
use crate::server::Server;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use tempfile::TempDir;

struct Shell {
    child: Child,
    keys: ChildStdin,
    screen: Transcript,
    state: TempDir,
}

impl Shell {
    fn start() -> Self {
        Self::start_with("")
    }

    fn start_with(arguments: &str) -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let inside = format!("stty cols 80 rows 24; exec '{}' sql {arguments}", polder().display());
        let mut script = Command::new("script");
        for variable in FOREIGN {
            script.env_remove(variable);
        }
        let mut child = script
            .args(["--quiet", "--flush", "--return", "--command", &inside, "/dev/null"])
            .env("XDG_STATE_HOME", state.path())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run script; apt-get install bsdutils");
        let keys = child.stdin.take().expect("standard input is piped");
        let screen = Transcript::of(child.stdout.take().expect("standard output is piped"));
        Self { child, keys, screen, state }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("send keys");
        self.keys.flush().expect("send keys");
    }

    /// Waits until the line editor takes keys: it asks the terminal to bracket what is pasted, once per line that it reads.
    /// Gives what came before.
    fn ready(&mut self) -> String {
        self.screen.expect("\u{1b}[?2004h")
    }

    /// Leaves as a user does.
    fn leave(mut self) -> TempDir {
        self.press("\\q\r");
        let status = self.ended();
        assert!(status.success(), "{status}");
        self.state
    }

    /// Ends without a key.
    fn ended(&mut self) -> ExitStatus {
        wait_soon(&mut self.child)
    }

    /// The program behind the terminal: `script` waits for this one child.
    fn process(&self) -> u32 {
        let script = self.child.id();
        let children = fs::read_to_string(format!("/proc/{script}/task/{script}/children")).expect("script runs");
        children.split_whitespace().next().expect("script has a child").parse().expect("a process id")
    }

    /// The progress line says that a query runs.
    fn expect_progress(&mut self) {
        self.screen.expect("\r\u{1b}[2K");
        self.screen.expect(" s");
    }
}

/// Nobody waits for its end.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b;\r";

#[test]
fn the_shell_answers_goes_on_after_errors_and_keeps_its_history() {
    let mut shell = Shell::start();
    let banner = shell.ready();
    assert!(banner.contains("Polder ") && banner.contains("ephemeral"), "{banner}");
    shell.press("SELECT 40 +\r2 AS answer;\r");
    shell.screen.expect(" answer");
    shell.screen.expect("     42");
    shell.screen.expect("(1 row)");
    shell.ready();
    shell.press("SELECT * FROM nowhere;\r");
    shell.screen.expect("error: ");
    shell.ready();
    shell.press("\\frobnicate\r");
    shell.screen.expect("hint: type \\? for the list of commands");
    shell.ready();
    shell.press("\\timing\r");
    shell.screen.expect("Timing is on.");
    shell.ready();
    shell.press("\\x\r");
    shell.screen.expect("Expanded display is on.");
    shell.ready();
    shell.press("SELECT 1 AS one;\r");
    shell.screen.expect("-[ RECORD 1 ]");
    shell.screen.expect("Time: ");
    shell.ready();
    shell.press("SELECT 'typed and taken back");
    shell.screen.expect("taken back");
    shell.press("\x03");
    shell.ready();
    shell.press("SELECT 'after' AS word;\r");
    shell.screen.expect("| after");
    shell.ready();
    let state = shell.leave();
    let history = state.path().join("polder/history");
    let text = fs::read_to_string(&history).expect("the history is kept");
    assert!(text.contains("AS answer"), "{text}");
    let mode = fs::metadata(&history).expect("the history is a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only its owner reads what was typed");
}

#[test]
fn ctrl_c_cancels_the_query_and_keeps_the_shell() {
    let mut shell = Shell::start();
    shell.ready();
    shell.press(ENDLESS);
    shell.expect_progress();
    shell.press("\x03");
    shell.screen.expect("error: the query was cancelled [57014]");
    shell.ready();
    shell.press("SELECT 'still ' || 'here' AS state;\r");
    shell.screen.expect(" still here");
    shell.ready();
    shell.leave();
}

/// The shell is the same wherever its statements run: it completes what the server has, cancels there, and goes on.
#[test]
fn a_shell_at_a_server_completes_cancels_and_goes_on() {
    let server = Server::start(&[]);
    for (number, url) in server.urls().iter().enumerate() {
        let mut shell = Shell::start_with(&format!("--connect {url}"));
        let banner = shell.ready();
        assert!(banner.contains("connected to "), "{banner}");
        shell.press(&format!("CREATE VIEW seen_by_{number} AS SELECT 7 AS number;\r"));
        shell.screen.expect("CREATE VIEW");
        shell.ready();
        shell.press(&format!("SELECT number FROM seen_by_{number}\t;\r"));
        shell.screen.expect(&format!("polder.public.seen_by_{number}"));
        shell.screen.expect("      7");
        shell.ready();
        shell.press(ENDLESS);
        shell.expect_progress();
        shell.press("\x03");
        shell.screen.expect("error: the query was cancelled [57014]");
        shell.ready();
        shell.press("SELECT 'still ' || 'here' AS state;\r");
        shell.screen.expect(" still here");
        shell.ready();
        shell.leave();
    }
    server.stop();
}

#[test]
fn sigterm_ends_an_idle_shell_in_good_order() {
    let mut shell = Shell::start();
    shell.ready();
    shell.press("SELECT 1 AS one;\r");
    shell.screen.expect("(1 row)");
    shell.ready();
    signal(shell.process(), "TERM");
    assert_eq!(shell.ended().code(), Some(143));
    let history = fs::read_to_string(shell.state.path().join("polder/history")).expect("the history is kept");
    assert!(history.contains("AS one"), "{history}");
}

#[test]
fn sigterm_ends_a_shell_that_runs_a_query() {
    let mut shell = Shell::start();
    shell.ready();
    shell.press(ENDLESS);
    shell.expect_progress();
    signal(shell.process(), "TERM");
    assert_eq!(shell.ended().code(), Some(143));
}

#[test]
fn tab_completes_keywords_and_names() {
    let mut shell = Shell::start();
    shell.ready();
    shell.press("CREATE VIEW customers_of_test AS SELECT 7 AS number;\r");
    shell.screen.expect("CREATE VIEW");
    shell.ready();
    shell.press("SELECT number FROM customers_of_t\t;\r");
    shell.screen.expect("polder.public.customers_of_test");
    shell.screen.expect("      7");
    shell.ready();
    shell.leave();
}

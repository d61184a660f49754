//! The shell on a terminal, which `script` of util-linux provides.

use crate::polder;
use crate::program::Transcript;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use tempfile::TempDir;

struct Shell {
    child: Child,
    keys: ChildStdin,
    screen: Transcript,
    state: TempDir,
}

impl Shell {
    fn start() -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let inside = format!("stty cols 80 rows 24; exec '{}' sql", polder().display());
        let mut child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &inside, "/dev/null"])
            .env("XDG_STATE_HOME", state.path())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .env_remove("POLDER_DATA")
            .env_remove("POLDER_HISTORY")
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

    /// Leaves as a user does.
    fn leave(mut self) -> TempDir {
        self.press("\\q\r");
        let status = self.child.wait().expect("wait for the shell");
        assert!(status.success(), "{status}");
        self.state
    }
}

#[test]
fn the_shell_answers_goes_on_after_errors_and_keeps_its_history() {
    let mut shell = Shell::start();
    let banner = shell.screen.expect("polder=> ");
    assert!(banner.contains("Polder ") && banner.contains("ephemeral"), "{banner}");
    shell.press("SELECT 40 +\r2 AS answer;\r");
    shell.screen.expect(" answer");
    shell.screen.expect("     42");
    shell.screen.expect("(1 row)");
    shell.press("SELECT * FROM nowhere;\r");
    shell.screen.expect("error: ");
    shell.press("\\frobnicate\r");
    shell.screen.expect("hint: type \\? for the list of commands");
    shell.press("\\timing\r");
    shell.screen.expect("Timing is on.");
    shell.press("\\x\r");
    shell.screen.expect("Expanded display is on.");
    shell.press("SELECT 1 AS one;\r");
    shell.screen.expect("-[ RECORD 1 ]");
    shell.screen.expect("Time: ");
    shell.press("SELECT 'typed and taken back\x03");
    shell.press("SELECT 'after' AS word;\r");
    shell.screen.expect("| after");
    let state = shell.leave();
    let history = state.path().join("polder/history");
    let text = std::fs::read_to_string(&history).expect("the history is kept");
    assert!(text.contains("AS answer"), "{text}");
    let mode = std::fs::metadata(&history).expect("the history is a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only its owner reads what was typed");
}

#[test]
fn ctrl_c_cancels_the_query_and_keeps_the_shell() {
    let mut shell = Shell::start();
    shell.screen.expect("polder=> ");
    shell.press("SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b;\r");
    // The progress line says that it runs.
    shell.screen.expect(" s");
    shell.screen.expect("\u{1b}[2K");
    shell.press("\x03");
    shell.screen.expect("error: the query was cancelled [57014]");
    shell.press("SELECT 'still ' || 'here' AS state;\r");
    shell.screen.expect(" still here");
    shell.leave();
}

#[test]
fn tab_completes_keywords_and_names() {
    let mut shell = Shell::start();
    shell.screen.expect("polder=> ");
    shell.press("CREATE VIEW customers_of_test AS SELECT 7 AS number;\r");
    shell.screen.expect("CREATE VIEW");
    shell.screen.expect("polder=> ");
    shell.press("SELECT number FROM customers_of_t\t;\r");
    shell.screen.expect("polder.public.customers_of_test");
    shell.screen.expect("      7");
    shell.leave();
}

//! `polder serve` in a process of its own, on free ports.

use crate::program::{Transcript, command, finish_soon, signal};
use crate::root;
use crate::serve::polder_python;
use std::process::{Child, Command, Output, Stdio};

/// A running server.
pub(crate) struct Server {
    /// None once it has ended in good order.
    child: Option<Child>,
    pub(crate) said: Transcript,
    /// Where HTTP is served.
    pub(crate) http: String,
    /// Where Flight SQL is served.
    pub(crate) flight: String,
    /// Where PostgreSQL's protocol is served.
    pub(crate) pg: String,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = command(&["serve", "--http", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--pg", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run polder serve");
        let mut said = Transcript::of(child.stderr.take().expect("standard error is piped"));
        let text = said.expect("ready\n");
        let address = |what: &str| {
            let after = text.split(what).nth(1).and_then(|rest| rest.split("://").nth(1));
            after.and_then(|rest| rest.split(['/', '\n']).next()).expect("an address").to_string()
        };
        let [http, flight, pg] = ["HTTP on ", "Flight SQL on ", "PostgreSQL protocol on "].map(address);
        Self { child: Some(child), said, http, flight, pg }
    }

    /// Runs a statement that must do.
    pub(crate) fn sql(&self, sql: &str) {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60"])
            .args(["--header", "Content-Type: application/json"])
            .args(["--data-binary", &format!("{{\"sql\": {sql:?}}}")])
            .arg(format!("http://{}/v1/sql", self.http))
            .output()
            .expect("run curl");
        assert_ran(&output);
    }

    /// Its addresses, as `polder sql --connect` takes them.
    pub(crate) fn urls(&self) -> [String; 3] {
        let pg = format!("postgresql://{}/polder", self.pg);
        [format!("http://{}", self.http), format!("grpc://{}", self.flight), pg]
    }

    /// A program of `tests/process/clients`, with the address of a server and a part of it to run.
    pub(crate) fn client(file: &str, address: &str, part: &str, arguments: &[&str]) -> Command {
        let mut python = Command::new(polder_python());
        python.arg("-W").arg("error::UserWarning").arg(root().join("tests/process/clients").join(file));
        python.arg(address).arg(part).args(arguments);
        python
    }

    /// Ends it as an administrator does.
    pub(crate) fn stop(mut self) {
        self.terminate();
        self.expect_end();
    }

    /// Of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub(crate) fn terminate(&self) {
        signal(self.id(), "TERM");
    }

    pub(crate) fn expect_end(&mut self) {
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

pub(crate) fn assert_ran(output: &Output) {
    let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
}

/// The programs of a document do what it says, in order, against the server at `address` in place of the one they name.
pub(crate) fn run_python_blocks(document: &str, named: &str, address: &str) {
    let document = std::fs::read_to_string(root().join(document)).expect("read the document");
    let blocks: Vec<_> = document.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 1, "the document has programs");
    for block in blocks {
        let program = block.replace(named, address);
        assert_ran(&Command::new(polder_python()).args(["-c", &program]).output().expect("run python"));
    }
}

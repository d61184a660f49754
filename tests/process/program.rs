//! The program, run to its end or held open, with an environment of its own.

use crate::polder;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a run left.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// What a developer's environment may say to the program.
pub(crate) const FOREIGN: [&str; 8] = [
    "POLDER_DATA",
    "POLDER_CONFIG",
    "POLDER_LOG",
    "POLDER_LOG_FORMAT",
    "POLDER_HISTORY",
    "POLDER_PASSWORD",
    "POLDER_DEMO_POSTGRES",
    "PGPASSWORD",
];

/// `polder` without what the developer's own environment says.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(polder());
    command.args(arguments).stdin(Stdio::null());
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    command
}

pub(crate) fn run(arguments: &[&str]) -> Ran {
    finish(command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run polder"))
}

/// Runs with a text on standard input.
pub(crate) fn run_with_input(arguments: &[&str], input: &str) -> Ran {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run polder");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    // A program that fails early may leave before it has read everything.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    finish(child)
}

pub(crate) fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().expect("wait for polder");
    let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// As [`finish`], for a program that must end by itself.
pub(crate) fn finish_soon(mut child: Child) -> Ran {
    wait_soon(&mut child);
    finish(child)
}

/// Waits for the end of a program that must end by itself; one that does not is killed.
pub(crate) fn wait_soon(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("wait for polder") {
            return status;
        }
        if Instant::now() > deadline {
            drop(child.kill());
            panic!("it still runs after {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends `SIGINT`, given as `INT`, or another signal.
pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().expect("run kill");
    assert!(sent.success(), "process {process} cannot be signalled");
}

/// Something that is written while the program runs, and can be waited for.
pub(crate) struct Transcript {
    text: Arc<Mutex<String>>,
    seen: usize,
}

/// Generous: a loaded machine is slow, and a passing test does not wait.
const PATIENCE: Duration = Duration::from_secs(60);

impl Transcript {
    /// Reads along on a thread.
    pub(crate) fn of(mut source: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&text);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut bytes) {
                written
                    .lock()
                    .expect("nobody panics while writing")
                    .push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { text, seen: 0 }
    }

    /// Waits until this text appears after what was expected before; gives what came up to its end.
    pub(crate) fn expect(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text.lock().expect("nobody panics while writing").clone();
            if let Some(at) = text[self.seen..].find(wanted) {
                let start = self.seen;
                self.seen = start + at + wanted.len();
                return text[start..self.seen].to_string();
            }
            assert!(Instant::now() < deadline, "waited for {wanted:?} in {:?}", &text[self.seen..]);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

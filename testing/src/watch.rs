//! A server that cannot outlive the test that started it.
//!
//! Between the test and its server stands a small shell that waits on a pipe. A word in the pipe is the
//! signal to send; the end of the pipe means that the test is gone, killed or not, so the shell kills the
//! server and removes its directory. (Linux's parent death signal would not do: it fires when the *thread*
//! that started the child ends, and every test has its own thread.)

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `$1` is the server's directory, the rest is the server's command line.
const SCRIPT: &str = r#"
directory=$1; shift
"$@" >>"$directory/server.log" 2>&1 &
server=$!
echo $server >"$directory/server.pid.new" && mv "$directory/server.pid.new" "$directory/server.pid"
if read -r signal; then
    kill -s "$signal" $server
    wait $server
else
    kill -s KILL $server
    wait $server
    rm -rf "$directory"
fi
"#;

/// How long a server may take to start or to stop before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server under its watchdog.
pub(crate) struct Watched {
    shell: Child,
    directory: PathBuf,
}

impl Watched {
    /// Starts a command line whose output goes to `server.log` in the server's own directory.
    pub(crate) fn start(directory: &Path, command: &[String]) -> Self {
        let _ = fs::remove_file(directory.join("server.pid"));
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "watch"])
            .arg(directory)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group: a Ctrl-C in the terminal reaches the test, and the watchdog by the end of the pipe.
            .process_group(0)
            .spawn()
            .expect("start sh");
        Self { shell, directory: directory.to_path_buf() }
    }

    /// Waits until `ready` says so. False if the server ended before that: its log tells why.
    pub(crate) fn wait_until(&self, ready: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if ready() {
                return true;
            }
            if self.ended() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the server is not ready after {PATIENCE:?}; its log:\n{}", self.log());
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.directory.join("server.pid")).ok()?.trim().parse().ok()
    }

    /// What the server wrote so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.join("server.log")).unwrap_or_default()).into_owned()
    }

    /// Forgets what the server wrote so far.
    pub(crate) fn clear_log(&self) {
        // The server appends, so cutting the file under it is safe.
        let _ = File::create(self.directory.join("server.log"));
    }

    /// Sends a signal (`INT`, `KILL`, ...) and waits until the server has ended.
    pub(crate) fn end(mut self, signal: &str) {
        self.send(signal);
        let start = Instant::now();
        while self.shell.try_wait().expect("wait for the watchdog").is_none() {
            assert!(start.elapsed() < PATIENCE, "the server does not stop; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn send(&mut self, signal: &str) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            let _ = writeln!(pipe, "{signal}");
        }
    }

    /// Whether the server's process is gone, or a zombie that the watchdog has not waited for.
    fn ended(&self) -> bool {
        let Some(pid) = self.pid() else { return false };
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.rsplit(") ").next().is_some_and(|state| state.starts_with('Z')),
            Err(_) => Path::new("/proc/self").exists(),
        }
    }
}

impl Drop for Watched {
    /// The end of the pipe makes the watchdog kill the server; waiting for it leaves no process behind.
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

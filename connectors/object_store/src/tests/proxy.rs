//! What stands between the connector and a real server: it counts requests, and breaks those that a test names.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The server is not asked; this status is the answer.
    Status(u16),
    /// The answer breaks off after so many bytes of its body: the connection is reset.
    Cut(usize),
    /// No answer at all, until the client gives up.
    Silence,
    /// The body comes in pieces of so many bytes, each after a pause.
    Slow(usize, Duration),
}

/// A proxy on a port of its own. Its requests have no bodies, as a reader's have none.
pub(super) struct Proxy {
    port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    server: String,
    heads: Mutex<Vec<String>>,
    /// A part of a request's first line, and what becomes of the next requests that hold it.
    faults: Mutex<Vec<(String, Vec<Fault>)>>,
    active: AtomicUsize,
}

impl Proxy {
    /// Stands before a server at `http://host:port`.
    pub(super) async fn before(endpoint: &str) -> Self {
        let server = endpoint.trim_start_matches("http://").to_string();
        let state = Arc::new(State {
            server,
            heads: Mutex::default(),
            faults: Mutex::default(),
            active: AtomicUsize::default(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { port, state, accepting }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next requests whose first line holds `part` fare so, one after the other.
    pub(super) fn fail(&self, part: &str, faults: &[Fault]) {
        let faults = faults.iter().rev().copied().collect();
        lock(&self.state.faults).push((part.to_string(), faults));
    }

    /// From now on nothing fails.
    pub(super) fn heal(&self) {
        lock(&self.state.faults).clear();
    }

    /// The heads of the requests so far whose first line holds `part`.
    pub(super) fn requests(&self, part: &str) -> Vec<String> {
        let holds = |head: &&String| head.lines().next().is_some_and(|line| line.contains(part));
        lock(&self.state.heads).iter().filter(holds).cloned().collect()
    }

    /// How many requests are being answered.
    pub(super) fn active(&self) -> usize {
        self.state.active.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            state.active.fetch_add(1, Ordering::SeqCst);
            // A client that goes away is what some tests are about.
            let _ = state.serve(client).await;
            state.active.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

impl State {
    /// Serves one request on a connection of its own.
    async fn serve(&self, mut client: TcpStream) -> Result<()> {
        let mut start = Vec::new();
        let end = read_head(&mut client, &mut start).await?;
        let head = String::from_utf8_lossy(&start[..end]).into_owned();
        let fault = self.note(&head);
        match fault {
            Some(Fault::Status(status)) => {
                let answer =
                    format!("HTTP/1.1 {status} Broken\r\nContent-Length: 6\r\nConnection: close\r\n\r\nbroken");
                client.write_all(answer.as_bytes()).await
            }
            Some(Fault::Silence) => client.read(&mut [0]).await.map(drop),
            Some(Fault::Cut(_) | Fault::Slow(..)) | None => self.forward(client, &head, fault).await,
        }
    }

    fn note(&self, head: &str) -> Option<Fault> {
        lock(&self.heads).push(head.to_string());
        let line = head.lines().next().unwrap_or_default();
        let mut faults = lock(&self.faults);
        faults.iter_mut().filter(|(part, _)| line.contains(part.as_str())).find_map(|(_, faults)| faults.pop())
    }

    async fn forward(&self, mut client: TcpStream, head: &str, fault: Option<Fault>) -> Result<()> {
        let mut server = TcpStream::connect(&self.server).await?;
        // Not a signed header, so the server may be asked to close.
        let asked = format!("{}\r\nConnection: close\r\n\r\n", head.trim_end());
        server.write_all(asked.as_bytes()).await?;
        let mut answer = Vec::new();
        let end = read_head(&mut server, &mut answer).await?;
        client.write_all(&answer[..end]).await?;
        let (most, pause) = match fault {
            Some(Fault::Slow(bytes, pause)) => (bytes, pause),
            _ => (64 * 1024, Duration::ZERO),
        };
        let mut left = if let Some(Fault::Cut(bytes)) = fault { bytes } else { usize::MAX };
        let mut piece = answer.split_off(end);
        loop {
            for part in piece[..piece.len().min(left)].chunks(most) {
                tokio::time::sleep(pause).await;
                client.write_all(part).await?;
            }
            left -= piece.len().min(left);
            if left == 0 {
                break;
            }
            piece.resize(most, 0);
            let count = server.read(&mut piece).await?;
            if count == 0 {
                return client.shutdown().await;
            }
            piece.truncate(count);
        }
        // What was sent is on its way before the reset overtakes it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.set_zero_linger()
    }
}

/// Reads at least to the end of the headers, and tells where that is.
async fn read_head(stream: &mut TcpStream, start: &mut Vec<u8>) -> Result<usize> {
    loop {
        if let Some(at) = start.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(at + 4);
        }
        if stream.read_buf(start).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

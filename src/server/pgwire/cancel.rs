//! Cancel requests: they come on a connection of their own, with the secret of the one that they are about.

use rustls::crypto::ring;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The connections that can be asked to cancel what they run.
#[derive(Debug, Default)]
pub(super) struct Cancels(Mutex<HashMap<i32, Entry>>);

#[derive(Debug)]
struct Entry {
    secret: i32,
    /// Of the statement that runs.
    running: Arc<Mutex<CancellationToken>>,
}

impl Cancels {
    /// A new connection.
    pub(super) fn register(self: &Arc<Self>) -> Registered {
        let mut entries = lock(&self.0);
        let running = Arc::new(Mutex::new(CancellationToken::new()));
        let mut process = random() & i32::MAX;
        while process == 0 || entries.contains_key(&process) {
            process = random() & i32::MAX;
        }
        let secret = random();
        entries.insert(process, Entry { secret, running: Arc::clone(&running) });
        Registered { cancels: Arc::clone(self), process, secret, running }
    }

    /// Cancels what a connection runs, if the secret is its own. Nobody is told whether it was.
    pub(super) fn cancel(&self, process: i32, secret: i32) {
        if let Some(entry) = lock(&self.0).get(&process).filter(|entry| entry.secret == secret) {
            lock(&entry.running).cancel();
        }
    }
}

/// A connection, until it is dropped.
pub(super) struct Registered {
    cancels: Arc<Cancels>,
    pub(super) process: i32,
    pub(super) secret: i32,
    running: Arc<Mutex<CancellationToken>>,
}

impl Registered {
    /// A statement begins: requests that came before are not about it.
    pub(super) fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *lock(&self.running) = token.clone();
        token
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.cancels.0).remove(&self.process);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that nobody can guess.
fn random() -> i32 {
    let mut bytes = [0; 4];
    ring::default_provider().secure_random.fill(&mut bytes).expect("the system gives random bytes");
    i32::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_cancels_and_only_what_runs() {
        let cancels = Arc::new(Cancels::default());
        let connection = cancels.register();
        let first = connection.begin();
        cancels.cancel(connection.process, connection.secret.wrapping_add(1));
        cancels.cancel(connection.process.wrapping_add(1), connection.secret);
        assert!(!first.is_cancelled());
        cancels.cancel(connection.process, connection.secret);
        assert!(first.is_cancelled() && !connection.begin().is_cancelled());
        let process = connection.process;
        drop(connection);
        assert!(!lock(&cancels.0).contains_key(&process));
    }
}

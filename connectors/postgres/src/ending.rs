//! Work at the server that nobody waits for any more, and that is not over yet: scans that were given up, requests to cancel
//! a statement, rollbacks. Whoever closes the catalog waits for these, or a process that ends would leave them running.

use polder_catalog::ReadContext;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long closing waits: a request to cancel is one small message to a server that is near or not there.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// All such work of one pool.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    scans: Mutex<Scans>,
    /// Told of each scan that is over.
    over: Notify,
    /// Cancels and rollbacks.
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct Scans {
    next: u64,
    /// What tells that a running scan was given up: its query was, or its own rows.
    running: HashMap<u64, [CancellationToken; 2]>,
}

/// A scan that is running; dropped when it is over.
pub(crate) struct Running {
    endings: Arc<Endings>,
    number: u64,
}

impl Endings {
    /// Notes a scan until the answer is dropped. `closed` says that nobody wants its rows.
    pub(crate) fn running(self: &Arc<Self>, context: &ReadContext, closed: &CancellationToken) -> Running {
        let mut scans = self.scans();
        let number = scans.next;
        scans.next += 1;
        scans.running.insert(number, [context.cancellation().clone(), closed.clone()]);
        Running { endings: Arc::clone(self), number }
    }

    /// Runs a task that ends with its one request.
    pub(crate) fn spawn(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, runtime);
    }

    /// Waits until all that was given up is over, for a while. Scans that somebody still reads are not waited for.
    pub(crate) async fn wait(&self) {
        self.tasks.close();
        let over = async {
            self.given_up_are_over().await;
            self.tasks.wait().await;
        };
        if tokio::time::timeout(WAIT_MAX, over).await.is_err() {
            tracing::warn!("statements that were given up may still run at the server");
        }
    }

    async fn given_up_are_over(&self) {
        loop {
            let over = self.over.notified();
            tokio::pin!(over);
            // From here on nothing is missed.
            over.as_mut().enable();
            if !self.scans().running.values().flatten().any(CancellationToken::is_cancelled) {
                return;
            }
            over.await;
        }
    }

    fn scans(&self) -> MutexGuard<'_, Scans> {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.endings.scans().running.remove(&self.number);
        self.endings.over.notify_waiters();
    }
}

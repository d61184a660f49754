//! The answer to an append that is on its way.

use super::writer::Appended;
use super::{Error, Kind, Result};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use tokio::sync::oneshot;

/// Resolves when the entry is durable, or is certainly not going to be acknowledged.
///
/// Await it, or [`wait`](Self::wait) in a thread that may block. Dropping it does not take the append back.
#[must_use = "an append is durable only once its answer has come"]
pub struct Pending<T = Appended>(pub(crate) oneshot::Receiver<Result<T>>);

impl<T> Pending<T> {
    /// Blocks the thread until the answer is there. Not for use in async code.
    pub fn wait(self) -> Result<T> {
        block_on(self)
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(closed())))
    }
}

pub(crate) fn closed() -> Error {
    Error::new(Kind::Reopen, "the log is closed").with_hint("open the log anew")
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread. It works within a runtime and without one, unlike the blocking calls of tokio's
/// channels.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

//! Ctrl-C and SIGTERM, as something to wait for.
//!
//! They are heard on a thread of their own. A runtime hears signals only while one of its workers rests, and the engine's
//! may all be deep in a query: exactly then the user must be heard.

use nix::sys::signal::kill;
use nix::unistd::Pid;
use polder_catalog::{Error, Kind, Result, SqlState};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Hears SIGINT and SIGTERM instead of dying of them, from its creation to the end of the process.
///
/// The first signal asks to stop in good order. A second one, before [`forget`](Self::forget), means that good order takes
/// too long: the process exits on the spot.
#[derive(Debug)]
pub(crate) struct Interrupt {
    heard: Arc<watch::Sender<Heard>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// Stop what runs.
    Interrupt,
    /// Stop what runs, and end.
    Terminate,
}

impl Heard {
    /// As a shell reports a process that the signal ended.
    fn code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

impl Interrupt {
    /// Starts to listen.
    pub(crate) fn listen() -> Result<Self> {
        let ears = Ears::open().map_err(|error| {
            Error::new(Kind::Retry, SqlState::IO, "could not listen for signals").with_detail(error.to_string())
        })?;
        Ok(Self { heard: ears })
    }

    /// Completes once a signal was heard that is not forgotten. Cancel-safe.
    pub(crate) async fn next(&self) {
        let mut heard = self.heard.subscribe();
        let waited = heard.wait_for(|heard| *heard != Heard::Nothing).await;
        waited.expect("the sender lives as long as self");
    }

    /// Forgets a Ctrl-C: what it was meant for has ended.
    pub(crate) fn forget(&self) {
        self.heard.send_if_modified(|heard| {
            let is_over = *heard == Heard::Interrupt;
            if is_over {
                *heard = Heard::Nothing;
            }
            is_over
        });
    }

    /// Whether the process was asked to end.
    pub(crate) fn is_terminated(&self) -> bool {
        *self.heard.borrow() == Heard::Terminate
    }

    /// How a process ends that was stopped by what was heard.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.heard.borrow().code())
    }
}

/// How often a terminated shell is woken until it has noticed.
const NUDGE: Duration = Duration::from_millis(100);

struct Ears {
    interrupt: Signal,
    terminate: Signal,
    heard: Arc<watch::Sender<Heard>>,
}

impl Ears {
    /// Once this returns, no signal is missed.
    fn open() -> io::Result<Arc<watch::Sender<Heard>>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let heard = Arc::new(watch::Sender::new(Heard::Nothing));
        let ears = Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            heard: Arc::clone(&heard),
        };
        drop(inside);
        // Its owner is the process: it listens to the end.
        std::thread::Builder::new().name("signals".to_string()).spawn(move || runtime.block_on(ears.listen()))?;
        Ok(heard)
    }

    async fn listen(mut self) {
        let mut nudges = interval(NUDGE);
        nudges.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = *self.heard.borrow();
            tokio::select! {
                _ = self.interrupt.recv() => match heard {
                    Heard::Nothing => drop(self.heard.send_replace(Heard::Interrupt)),
                    Heard::Interrupt => exit_now(heard),
                    // One of our own nudges.
                    Heard::Terminate => {}
                },
                _ = self.terminate.recv() => match heard {
                    Heard::Nothing | Heard::Interrupt => drop(self.heard.send_replace(Heard::Terminate)),
                    Heard::Terminate => exit_now(heard),
                },
                _ = nudges.tick(), if heard == Heard::Terminate => nudge(),
            }
        }
    }
}

/// A shell that waits for a key hears nothing but SIGINT: its line editor listens for that one itself, and gives the
/// terminal back in good order.
fn nudge() {
    // To the process, not to this thread: the one that reads keys is to be woken. If that fails, a second SIGTERM still ends
    // the process.
    let _ = kill(Pid::this(), nix::sys::signal::Signal::SIGINT);
}

fn exit_now(heard: Heard) -> ! {
    std::process::exit(i32::from(heard.code()))
}

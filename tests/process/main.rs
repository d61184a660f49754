//! The built program, from outside: commands, documents, and what a machine can check of the source tree. Nothing here
//! links the engine.

// Real programs take real time.
#![expect(clippy::disallowed_methods)]

mod commands;
mod console;
mod connect;
mod demo;
mod documents;
mod drivers;
mod examples;
mod faults;
mod flight;
mod interrupt;
mod killed;
mod log;
mod deploy;
mod operation;
mod login;
mod openapi;
mod pgwire;
mod program;
mod serve;
mod server;
mod shell;
mod sql;
mod tidy;

use std::path::Path;

/// The root of the checkout.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program under test.
fn polder() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_polder"))
}

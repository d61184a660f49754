//! The `polder` program: the command line over the engine with the connectors that come with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    polder::cli::main(polder::Engine::builder())
}

//! `polder sql`: the shell on a terminal, a script otherwise.

use crate::cli::connect::ConnectArguments;
use crate::cli::input::{Input, Statement};
use crate::cli::{CopyData, EngineArguments, Interrupt, Screen, Stop, UNREAD, execute};
use crate::client::{Client, Server};
use crate::engine::{Engine, EngineBuilder};
use crate::render::{Expanded, Format, Layout};
use crate::repl::{self, Clients};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};
use polder_catalog::{Error, Result, SqlState};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Runtime;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    engine: EngineArguments,
    #[command(flatten)]
    server: ConnectArguments,
    /// Runs these statements and ends. May be given several times, also mixed with -f: they run in this order.
    #[arg(short = 'c', long = "command", value_name = "SQL", allow_hyphen_values = true)]
    commands: Vec<String>,
    /// Runs the statements of this file and ends; - is standard input.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Arguments {
    /// An engine of one's own has no place beside a server. A data directory that the environment names is not meant.
    pub(super) fn check(&self, matches: &ArgMatches) {
        let is_said = |id: &&&str| matches.value_source(id) == Some(ValueSource::CommandLine);
        if let Some(id) = ["data", "config"].iter().find(is_said)
            && self.server.is_given()
        {
            let message = format!("the argument '--{id}' cannot be used with '--connect'");
            super::Arguments::command().error(ErrorKind::ArgumentConflict, message).exit();
        }
    }

    /// The inputs in the order in which they were given.
    pub(super) fn inputs(&self, matches: &ArgMatches) -> Vec<Input> {
        let places = |id: &str| matches.indices_of(id).into_iter().flatten();
        let texts = self.commands.iter().map(|text| Input::Text(text.clone()));
        let files = self
            .files
            .iter()
            .map(|path| if path == Path::new("-") { Input::Standard } else { Input::File(path.clone()) });
        let mut inputs: Vec<_> = places("commands").zip(texts).chain(places("files").zip(files)).collect();
        inputs.sort_by_key(|(place, _)| *place);
        inputs.into_iter().map(|(_, input)| input).collect()
    }
}

/// Runs at a server, if one is named, or at an engine of its own.
pub(super) fn run(
    runtime: &Runtime,
    builder: EngineBuilder,
    arguments: &Arguments,
    inputs: Vec<Input>,
) -> Result<ExitCode> {
    match arguments.server.server()? {
        Some(server) => run_elsewhere(runtime, &server, arguments, inputs),
        None => run_here(runtime, builder, arguments, inputs),
    }
}

fn run_elsewhere(runtime: &Runtime, server: &Server, arguments: &Arguments, inputs: Vec<Input>) -> Result<ExitCode> {
    // The clients of some protocols live in tasks from the start.
    let _inside = runtime.enter();
    let typed = server.client()?;
    if is_shell(&inputs) {
        let place = format!("connected to {}", server.address());
        return repl::run(runtime, Clients { typed, asked: server.client()?, place }, arguments.format);
    }
    let interrupt = Interrupt::listen()?;
    let ended = runtime.block_on(Box::pin(script(&typed, &interrupt, arguments.format, inputs)));
    exit_code(ended, &interrupt)
}

/// Without anything to run, on a terminal.
fn is_shell(inputs: &[Input]) -> bool {
    inputs.is_empty() && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Opens the engine, runs, closes.
fn run_here(runtime: &Runtime, builder: EngineBuilder, arguments: &Arguments, inputs: Vec<Input>) -> Result<ExitCode> {
    let engine = runtime.block_on(arguments.engine.apply(builder)?.open())?;
    if is_shell(&inputs) {
        let clients =
            Clients { typed: Arc::new(engine.session()), asked: Arc::new(engine.session()), place: place(&engine) };
        let ended = repl::run(runtime, clients, arguments.format)?;
        runtime.block_on(engine.close())?;
        return Ok(ended);
    }
    let interrupt = Interrupt::listen()?;
    let session: Arc<dyn Client> = Arc::new(engine.session());
    runtime.block_on(async {
        let ended = Box::pin(script(&session, &interrupt, arguments.format, inputs)).await;
        engine.close().await?;
        exit_code(ended, &interrupt)
    })
}

fn place(engine: &Engine) -> String {
    match engine.is_ephemeral() {
        true => "ephemeral: definitions go with this shell; --data DIR keeps them".to_string(),
        false => format!("data directory {}", engine.data_dir().display()),
    }
}

fn exit_code(ended: Result<(), Stop>, interrupt: &Interrupt) -> Result<ExitCode> {
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Interrupted) => Ok(interrupt.exit_code()),
        Err(Stop::Unread) => Ok(ExitCode::from(UNREAD)),
    }
}

/// Runs statement after statement; the first that fails ends it.
async fn script(
    client: &Arc<dyn Client>,
    interrupt: &Interrupt,
    format: Format,
    inputs: Vec<Input>,
) -> Result<(), Stop> {
    let inputs = if inputs.is_empty() { vec![Input::Standard] } else { inputs };
    let layout = Layout { width: repl::terminal_width(), expanded: Expanded::Auto };
    let mut screen = Screen::new(format, layout);
    for input in &inputs {
        let mut statements = input.open()?;
        loop {
            let statement = tokio::select! {
                biased;
                () = interrupt.next() => return Err(Stop::Interrupted),
                statement = statements.next() => statement?,
            };
            let Some(Statement { text, place }) = statement else { break };
            check_is_sql(&text)?;
            let data = match input {
                Input::Standard => CopyData::Statements(&mut statements),
                Input::Text(_) | Input::File(_) => CopyData::StandardInput,
            };
            execute(client, &text, &mut screen, interrupt, data).await.map_err(|stop| match (stop, place) {
                (Stop::Failed(error), Some(place)) => Stop::Failed(error.at(place)),
                (stop, _) => stop,
            })?;
        }
    }
    Ok(())
}

fn check_is_sql(text: &str) -> Result<()> {
    if text.starts_with('\\') {
        return Err(Error::fix(SqlState::SYNTAX, "backslash commands work in the shell only")
            .with_hint("use SHOW TABLES, SHOW CATALOGS or DESCRIBE instead"));
    }
    Ok(())
}

//! `polder sql`: the shell on a terminal, a script otherwise.

use crate::cli::input::{Input, Statement};
use crate::cli::{CopyData, EngineArguments, Interrupt, Screen, Stop, UNREAD, execute};
use crate::engine::{Engine, EngineBuilder};
use crate::render::{Expanded, Format, Layout};
use crate::repl;
use clap::ArgMatches;
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

/// Opens the engine, runs, closes.
pub(super) fn run(
    runtime: &Runtime,
    builder: EngineBuilder,
    arguments: &Arguments,
    inputs: Vec<Input>,
) -> Result<ExitCode> {
    let engine = runtime.block_on(arguments.engine.apply(builder)?.open())?;
    let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if inputs.is_empty() && on_terminal {
        return repl::run(runtime, engine, arguments.format);
    }
    let inputs = if inputs.is_empty() { vec![Input::Standard] } else { inputs };
    let interrupt = Interrupt::listen()?;
    runtime.block_on(async {
        let ended = Box::pin(script(&engine, &interrupt, arguments.format, &inputs)).await;
        engine.close().await?;
        match ended {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Interrupted) => Ok(interrupt.exit_code()),
            Err(Stop::Unread) => Ok(ExitCode::from(UNREAD)),
        }
    })
}

/// Runs statement after statement; the first that fails ends it.
async fn script(engine: &Engine, interrupt: &Interrupt, format: Format, inputs: &[Input]) -> Result<(), Stop> {
    let session = Arc::new(engine.session());
    let layout = Layout { width: repl::terminal_width(), expanded: Expanded::Auto };
    let mut screen = Screen::new(format, layout);
    for input in inputs {
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
            execute(&session, &text, &mut screen, interrupt, data).await.map_err(|stop| match (stop, place) {
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

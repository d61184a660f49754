//! The command line: arguments, exit codes, and how an error looks.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 all well, 1 a statement failed, 2 usage,
//! 130 interrupted by Ctrl-C, 141 the reader of the output went away, 143 ended by SIGTERM (as a shell reports these signals).

mod sql;
mod limits;
mod connect;
mod serve;
mod run;
mod input;
mod log;
mod signals;
mod progress;
mod report;

pub(crate) use progress::ProgressLine;
pub(crate) use report::report;
pub(crate) use run::{CopyData, Screen, Stop, UNREAD, execute};
pub(crate) use signals::Interrupt;

use crate::config::Config;
use crate::demo;
use crate::engine::EngineBuilder;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use polder_catalog::{Error, Kind, Result, SqlState};
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Runtime;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::format::FmtSpan;

/// One SQL engine over the systems a company already runs.
#[derive(Debug, Parser)]
#[command(name = "polder", version, arg_required_else_help = true, subcommand_required = true)]
struct Arguments {
    /// How what is logged is written to standard error: as text, or as JSON, one object for each line.
    #[arg(long, value_enum, value_name = "FORMAT", env = "POLDER_LOG_FORMAT", default_value_t = LogFormat::Text, global = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A guided tour on embedded stores, in a temporary data directory.
    Demo(demo::Arguments),
    /// A shell on a terminal; runs -c, -f or standard input otherwise.
    Sql(sql::Arguments),
    /// Serves clients over HTTP until SIGTERM or Ctrl-C.
    Serve(serve::Arguments),
    /// Looks into the log of a data directory, also while it is in use.
    Log(log::Arguments),
}

/// Where an engine keeps its definitions and reads its settings.
#[derive(Debug, clap::Args)]
struct EngineArguments {
    /// The data directory. A temporary one that goes with the engine, if not given.
    #[arg(long, value_name = "DIR", env = "POLDER_DATA", value_parser = path())]
    data: Option<PathBuf>,
    /// The configuration file, polder.toml.
    #[arg(long, value_name = "FILE", env = "POLDER_CONFIG", value_parser = path())]
    config: Option<PathBuf>,
}

/// A path that may be empty: an empty variable is the same as none.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl EngineArguments {
    /// The builder, told what was given.
    fn apply(&self, builder: EngineBuilder) -> Result<EngineBuilder> {
        let config = self
            .config
            .as_deref()
            .filter(|path| !path.as_os_str().is_empty())
            .map(Config::load)
            .transpose()?
            .unwrap_or_default();
        let data = self.data.clone().filter(|path| !path.as_os_str().is_empty());
        Ok(builder.data_dir(data).config(config).allow_local_files(true))
    }
}

/// Runs the command line of this process with an engine yet to be opened. An embedder adds its connectors to `builder`
/// and gets every command.
pub fn main(builder: EngineBuilder) -> ExitCode {
    // The order of -c and -f counts, which only the matches know.
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    install_logging(arguments.log_format);
    let done = start_runtime(&arguments.command).and_then(|runtime| {
        let done = match arguments.command {
            Command::Log(log) => log::run(&log),
            Command::Serve(serve) => serve::run(&runtime, builder, &serve),
            Command::Demo(demo) => demo::run(&runtime, builder, &demo),
            Command::Sql(sql) => {
                let matches = matches.subcommand().map(|(_, matches)| matches);
                matches.into_iter().for_each(|matches| sql.check(matches));
                let inputs = matches.map(|matches| sql.inputs(matches)).unwrap_or_default();
                sql::run(&runtime, builder, &sql, inputs)
            }
        };
        runtime.shutdown_timeout(LEAVE_TIME);
        done
    });
    done.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &Error) -> ExitCode {
    report(error, &mut io::stderr());
    ExitCode::FAILURE
}

/// How long the process waits for workers that compute for an interrupted query. Idle ones end at once.
const LEAVE_TIME: Duration = Duration::from_millis(500);

/// Workers of a server for each core: statements that compute without giving way hold theirs, and others must be heard.
const SERVING_WORKERS: usize = 4;

/// One worker per core, for a server more. Their stacks fit the planner's recursion in a build without optimization.
fn start_runtime(command: &Command) -> Result<Runtime> {
    const STACK_BYTES: usize = 8 << 20;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = if matches!(command, Command::Serve(_)) { SERVING_WORKERS } else { 1 };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().worker_threads(cores * workers).thread_stack_size(STACK_BYTES);
    runtime.build().map_err(|error| {
        Error::new(Kind::Retry, SqlState::IO, "could not start the threads of the engine")
            .with_detail(error.to_string())
    })
}

/// Warnings and errors go to standard error; `POLDER_LOG=info` or `POLDER_LOG=polder_postgres=debug` says more. A request to a
/// source is a span, and told when it is over.
fn install_logging(format: LogFormat) {
    let filter = match std::env::var("POLDER_LOG") {
        Ok(filter) => EnvFilter::builder().parse_lossy(filter),
        Err(_) => EnvFilter::default().add_directive(LevelFilter::WARN.into()),
    };
    let log =
        tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter).with_span_events(FmtSpan::CLOSE);
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

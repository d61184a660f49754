//! The shell on a terminal: reads statements and backslash commands, runs them, and goes on after errors.
//!
//! It runs them by a [`Client`]: the engine here, or a server. A statement is one editing buffer however many lines it has, so an earlier
//! line can still be mended, and history gives it back whole.

mod command;
mod complete;
mod history;

use crate::cli::{CopyData, Interrupt, Screen, Stop, execute, report};
use crate::client::Client;
use crate::render::{Expanded, Format, Layout};
use crate::sql::split::Splitter;
use command::{Command, Settings};
use complete::{Completion, Helper};
use polder_catalog::{Error, Kind, Result, SqlState};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

const PROMPT: &str = "polder=> ";

/// What a shell needs of who runs its statements.
pub(crate) struct Clients {
    /// Runs what is typed.
    pub(crate) typed: Arc<dyn Client>,
    /// Asked for names, in a session of its own.
    pub(crate) asked: Arc<dyn Client>,
    /// What the user is told of it at the start.
    pub(crate) place: String,
}

/// Runs the shell until `\q`, Ctrl-D or SIGTERM.
pub(crate) fn run(runtime: &Runtime, clients: Clients, format: Format) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let completion = Arc::new(Completion::new(runtime.handle().clone(), clients.asked));
    let mut shell = Shell {
        runtime,
        client: clients.typed,
        screen: Screen::new(format, Layout { width: None, expanded: Expanded::Auto }),
        interrupt,
        settings: Settings::default(),
        completion: Arc::clone(&completion),
    };
    let done = banner(&clients.place).lines().try_for_each(|line| shell.screen.say(line));
    let mut editor = editor(Helper::new(completion))?;
    let ended = match done {
        Ok(()) => shell.read(&mut editor),
        Err(error) => Err(error.into()),
    };
    history::save(&mut editor);
    match ended {
        // Zero, unless SIGTERM ended it.
        Ok(()) | Err(Stop::Interrupted) => Ok(shell.interrupt.exit_code()),
        Err(Stop::Unread) => Ok(ExitCode::SUCCESS),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// The width of the terminal behind standard output, if there is one.
pub(crate) fn terminal_width() -> Option<usize> {
    use std::io::IsTerminal;
    if !io::stdout().is_terminal() {
        return None;
    }
    let mut editor = Editor::<(), FileHistory>::new().ok()?;
    editor.dimensions().map(|(columns, _)| usize::from(columns)).filter(|columns| *columns > 0)
}

type LineEditor = Editor<Helper, FileHistory>;

fn editor(helper: Helper) -> Result<LineEditor> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(history::ENTRIES_MAX)
        .and_then(|config| config.history_ignore_dups(true))
        .map_err(|error| unusable(&error))?
        .build();
    let mut editor = LineEditor::with_config(config).map_err(|error| unusable(&error))?;
    editor.set_helper(Some(helper));
    history::load(&mut editor);
    Ok(editor)
}

fn unusable(error: &ReadlineError) -> Error {
    Error::new(Kind::Fix, SqlState::IO, "could not use this terminal")
        .with_detail(error.to_string())
        .with_hint("give statements with -c, -f or on standard input")
}

fn banner(place: &str) -> String {
    format!("Polder {}, {place}\nEnd a statement with ; and type \\? for help.", env!("CARGO_PKG_VERSION"))
}

struct Shell<'a> {
    runtime: &'a Runtime,
    client: Arc<dyn Client>,
    screen: Screen,
    interrupt: Interrupt,
    settings: Settings,
    completion: Arc<Completion>,
}

impl Shell<'_> {
    fn read(&mut self, editor: &mut LineEditor) -> Result<(), Stop> {
        loop {
            self.interrupt.forget();
            if self.interrupt.is_terminated() {
                return Ok(());
            }
            match editor.readline(PROMPT) {
                Ok(text) => {
                    if !text.trim().is_empty() {
                        drop(editor.add_history_entry(text.trim_end()));
                    }
                    self.screen.layout.width = editor.dimensions().map(|(columns, _)| usize::from(columns));
                    if self.accept(&text)?.is_break() {
                        return Ok(());
                    }
                }
                // Ctrl-C takes back what was typed. It also wakes us to notice SIGTERM.
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(Stop::Failed(unusable(&error))),
            }
        }
    }

    /// Runs what was typed: one backslash command, or any number of statements.
    fn accept(&mut self, text: &str) -> Result<std::ops::ControlFlow<()>, Stop> {
        if text.trim_start().starts_with('\\') {
            return self.command(text.trim());
        }
        let mut splitter = Splitter::new();
        splitter.push(text);
        while let Some(statement) = splitter.next_statement().or_else(|| splitter.finish()) {
            self.statement(&statement)?;
        }
        Ok(std::ops::ControlFlow::Continue(()))
    }

    fn command(&mut self, text: &str) -> Result<std::ops::ControlFlow<()>, Stop> {
        match command::parse(text) {
            Ok(Command::Quit) => return Ok(std::ops::ControlFlow::Break(())),
            Ok(Command::Help) => self.screen.say(command::HELP)?,
            Ok(Command::Run(statement)) => self.statement(&statement)?,
            Ok(Command::Set(change)) => {
                let said = change.apply(&mut self.settings, &mut self.screen);
                self.screen.say(&said)?;
            }
            Err(error) => report(&error, &mut io::stderr()),
        }
        Ok(std::ops::ControlFlow::Continue(()))
    }

    /// Runs one statement; what goes wrong with it is told, and the shell goes on.
    fn statement(&mut self, sql: &str) -> Result<(), Stop> {
        self.interrupt.forget();
        let running = execute(&self.client, sql, &mut self.screen, &self.interrupt, CopyData::Nowhere);
        let ended = self.runtime.block_on(running);
        self.completion.outdate(sql);
        match ended {
            Ok(elapsed) if self.settings.timing => self.screen.say(&timing(elapsed))?,
            Ok(_) => {}
            Err(Stop::Failed(error)) => report(&error, &mut io::stderr()),
            Err(Stop::Interrupted) if self.interrupt.is_terminated() => return Err(Stop::Interrupted),
            Err(Stop::Interrupted) => report(&Error::cancelled(), &mut io::stderr()),
            Err(Stop::Unread) => return Err(Stop::Unread),
        }
        Ok(())
    }
}

fn timing(elapsed: Duration) -> String {
    format!("Time: {:.3} ms", elapsed.as_secs_f64() * 1000.0)
}

//! The ways to reach an engine: in this process, and over the wire at a server of the built program.

mod flight;
mod pgwire;
mod server;

use crate::render;
use flight::Flight;
use pgwire::Pgwire;
use polder::{Engine, Error, Outcome, Result, Session, SqlState};

/// A way to reach an engine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The library, in this process.
    Embedded,
    /// PostgreSQL's protocol.
    Pgwire,
    /// Flight SQL.
    Flight,
}

/// What a statement gave, as text.
pub(crate) enum Answer {
    /// Rows.
    Rows { columns: usize, rows: Vec<Vec<String>> },
    /// Nothing but that it is done.
    Done,
}

/// One session, however it is reached.
pub(crate) enum Client {
    /// The library, in this process.
    Embedded(Session),
    Pgwire(Pgwire),
    Flight(Flight),
}

/// Files that run embedded alone.
const EMBEDDED_ONLY: [(&str, &str); 2] = [
    ("federation/local_files", "a server reads no file that a query names"),
    ("federation/four_stores", "its last query names a file"),
];

/// Files that a protocol cannot bring as they are written down.
const NOT_OVER: [(Kind, &str, &str); 1] =
    [(Kind::Pgwire, "select/basics", "two statements in one text are two statements there, and no error")];

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Embedded, Self::Pgwire, Self::Flight];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Pgwire => "pgwire",
            Self::Flight => "flight",
        }
    }

    /// Whether a file, named without its ending, runs this way.
    pub(crate) fn runs(self, file: &str) -> bool {
        let is_local = EMBEDDED_ONLY.iter().any(|(name, _)| *name == file);
        let is_lost = NOT_OVER.iter().any(|(kind, name, _)| *kind == self && *name == file);
        self == Self::Embedded || !(is_local || is_lost)
    }

    /// An engine of its own with one session, whose catalogs may lead to these locations.
    pub(crate) async fn connect(self, locations: &[String]) -> Result<Client> {
        Ok(match self {
            Self::Embedded => Client::Embedded(engine().await?.session()),
            Self::Pgwire => Client::Pgwire(Pgwire::connect(locations).await),
            Self::Flight => Client::Flight(Flight::connect(locations).await),
        })
    }
}

impl Client {
    pub(crate) async fn run(&mut self, sql: &str) -> Result<Answer> {
        match self {
            Self::Embedded(session) => match session.run(sql).await? {
                Outcome::Done(_) => Ok(Answer::Done),
                Outcome::CopyIn(copy) => copy.finish().await.map(|_| Answer::Done),
                Outcome::Rows(rows) => {
                    let columns = rows.schema().fields().len();
                    Ok(Answer::Rows { columns, rows: render::rows(&rows.collect().await?) })
                }
            },
            Self::Pgwire(client) => client.run(sql).await,
            Self::Flight(client) => client.run(sql).await,
        }
    }
}

/// What every engine of these tests is told: as many threads as EXPLAIN is pinned with.
const CONFIG: &str = "[engine]\ntarget_partitions = 2\n";

/// An engine in a temporary directory.
pub(crate) async fn engine() -> Result<Engine> {
    let config = polder::config::Config::parse(CONFIG)?;
    Engine::builder().config(config).allow_local_files(true).open().await
}

/// An error that came over the wire.
fn told(state: &str, message: &str, detail: Option<&str>, hint: Option<&str>) -> Error {
    let error = Error::fix(SqlState::parse(state).expect("an SQLSTATE"), message);
    let error = detail.into_iter().fold(error, |error, detail| error.with_detail(detail));
    hint.into_iter().fold(error, |error, hint| error.with_hint(hint))
}

/// An error as a person sees it.
pub(crate) fn error_text(error: &Error) -> String {
    let mut text = error.message().to_string();
    for (name, part) in [("detail", error.detail()), ("hint", error.hint())] {
        if let Some(part) = part {
            text.push_str(&format!("\n{name}: {part}"));
        }
    }
    text
}

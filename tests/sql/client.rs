//! The ways to reach an engine. Wire protocols join here.

use crate::render;
use polder::{Engine, Error, Outcome, Result, Session};

/// A way to reach an engine.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// The library, in this process.
    Embedded,
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
}

impl Kind {
    pub(crate) const ALL: [Self; 1] = [Self::Embedded];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
        }
    }

    /// An engine of its own with one session.
    pub(crate) async fn connect(self) -> Result<Client> {
        match self {
            Self::Embedded => Ok(Client::Embedded(engine().await?.session())),
        }
    }
}

impl Client {
    pub(crate) async fn run(&self, sql: &str) -> Result<Answer> {
        match self {
            Self::Embedded(session) => match session.run(sql).await? {
                Outcome::Done(_) => Ok(Answer::Done),
                Outcome::CopyIn(copy) => copy.finish().await.map(|_| Answer::Done),
                Outcome::Rows(rows) => {
                    let columns = rows.schema().fields().len();
                    Ok(Answer::Rows { columns, rows: render::rows(&rows.collect().await?) })
                }
            },
        }
    }
}

/// An engine in a temporary directory, on as many threads as EXPLAIN is pinned with.
pub(crate) async fn engine() -> Result<Engine> {
    let config = polder::config::Config::parse("[engine]\ntarget_partitions = 2\n")?;
    Engine::builder().config(config).allow_local_files(true).open().await
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

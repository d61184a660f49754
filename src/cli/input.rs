//! Statements from texts, files and standard input, one at a time as they arrive.

use crate::sql::split::Splitter;
use polder_catalog::{Error, Result, SqlState};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Where statements come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// `-c`.
    Text(String),
    /// `-f`.
    File(PathBuf),
    /// `-f -`, or neither of both.
    Standard,
}

/// One statement and, where that helps to find it, its place.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) place: Option<String>,
}

/// The statements of one input.
///
/// Bytes are read on a thread of their own, so that a statement that arrives runs although more may follow, and Ctrl-C
/// is heard while nothing arrives. At most two pieces are read ahead.
pub(super) struct Statements {
    pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
    splitter: Splitter,
    /// Bytes of a character whose end has not arrived.
    partial: Vec<u8>,
    name: Option<String>,
    ended: bool,
}

const PIECES_AHEAD: usize = 2;
const PIECE_BYTES: usize = 64 * 1024;

impl Input {
    /// Opens it.
    ///
    /// # Errors
    /// 58P01 if a file cannot be opened.
    pub(super) fn open(&self) -> Result<Statements> {
        Ok(match self {
            Self::Text(text) => Statements::read(io::Cursor::new(text.clone().into_bytes()), None),
            Self::Standard => Statements::read(io::stdin(), None),
            Self::File(path) => {
                let file = File::open(path).map_err(|error| unreadable(path, &error))?;
                Statements::read(file, Some(path.display().to_string()))
            }
        })
    }
}

impl Statements {
    fn read(source: impl Read + Send + 'static, name: Option<String>) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        // Nobody waits for this thread: it may sit in a read for as long as the other side likes.
        std::thread::spawn(move || read_pieces(source, &sender));
        Self { pieces, splitter: Splitter::new(), partial: Vec::new(), name, ended: false }
    }

    /// The next statement; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// If the input cannot be read, or is not UTF-8.
    pub(super) async fn next(&mut self) -> Result<Option<Statement>> {
        loop {
            let statement = if self.ended { self.splitter.finish() } else { self.splitter.next_statement() };
            if statement.is_some() || self.ended {
                return Ok(statement.map(|text| self.placed(text)));
            }
            match self.pieces.recv().await {
                Some(Ok(piece)) => self.push(&piece)?,
                Some(Err(error)) => return Err(self.failed(&error)),
                None if self.partial.is_empty() => self.ended = true,
                None => return Err(self.not_text()),
            }
        }
    }

    fn placed(&self, text: String) -> Statement {
        let place = self.name.as_ref().map(|name| format!("{name}:{}", self.splitter.statement_line()));
        Statement { text, place }
    }

    fn push(&mut self, piece: &[u8]) -> Result<()> {
        self.partial.extend_from_slice(piece);
        let whole = match std::str::from_utf8(&self.partial) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(self.not_text()),
        };
        let rest = self.partial.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut self.partial, rest)).expect("checked above");
        self.splitter.push(&text);
        Ok(())
    }

    fn source(&self) -> &str {
        self.name.as_deref().unwrap_or("standard input")
    }

    fn not_text(&self) -> Error {
        Error::fix(SqlState::CHARACTER, format!("{} is not valid UTF-8", self.source()))
            .with_hint("statements are read as UTF-8; convert the text, for example with iconv")
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::fix(SqlState::IO, format!("could not read {}", self.source())).with_detail(error.to_string())
    }
}

fn read_pieces(mut source: impl Read, sender: &mpsc::Sender<io::Result<Vec<u8>>>) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = match source.read(&mut piece) {
            Ok(0) => return,
            Ok(bytes) => Ok(piece[..bytes].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if sender.blocking_send(read).is_err() || failed {
            return;
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::fix(SqlState::NO_FILE, format!("could not open {}", path.display())).with_detail(error.to_string())
}

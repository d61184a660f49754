//! Statements from texts, files and standard input, one at a time as they arrive.

use crate::sql::split::Splitter;
use bytes::Bytes;
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
pub(crate) struct Statements {
    pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
    splitter: Splitter,
    /// Bytes of a character whose end has not arrived.
    partial: Vec<u8>,
    name: Option<String>,
    ended: bool,
    /// Data of a COPY that is being read, from its first byte that was not handed out.
    data: Option<Vec<u8>>,
}

/// The line that ends the data of `COPY ... FROM STDIN` among statements, as in psql.
const END_OF_DATA: &[u8] = b"\\.";

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
        Self { pieces, splitter: Splitter::new(), partial: Vec::new(), name, ended: false, data: None }
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

    /// The next piece of the data that follows a `COPY ... FROM STDIN`: whole lines, up to the line `\.` or the end of the
    /// input; `None` after the last. Cancel-safe.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>> {
        if self.data.is_none() {
            let mut rest = self.splitter.take_rest().into_bytes();
            rest.append(&mut self.partial);
            self.data = Some(rest);
        }
        loop {
            let data = self.data.get_or_insert_default();
            let (lines, is_end, after) = whole_lines(data, self.ended);
            if lines > 0 || is_end {
                let piece = Bytes::copy_from_slice(&data[..lines]);
                let rest = data.split_off(after);
                self.data = Some(rest);
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
                let rest = self.data.take().unwrap_or_default();
                self.push(&rest)?;
                return Ok(None);
            }
            match self.pieces.recv().await {
                Some(Ok(piece)) => self.data.get_or_insert_default().extend_from_slice(&piece),
                Some(Err(error)) => return Err(self.failed(&error)),
                None => self.ended = true,
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

/// The length of the whole lines before the one that ends the data, whether that one is next, and where what follows them
/// begins. At the end of the input, the last line is whole and nothing follows.
fn whole_lines(data: &[u8], at_end: bool) -> (usize, bool, usize) {
    let mut start = 0;
    while let Some(length) = data[start..].iter().position(|byte| *byte == b'\n') {
        let line = &data[start..start + length];
        if line.strip_suffix(b"\r").unwrap_or(line) == END_OF_DATA {
            return if start > 0 { (start, false, start) } else { (0, true, length + 1) };
        }
        start += length + 1;
    }
    match (at_end, &data[start..]) {
        (true, rest) if rest == END_OF_DATA && start == 0 => (0, true, data.len()),
        (true, rest) if rest == END_OF_DATA => (start, false, start),
        (true, _) => (data.len(), data.is_empty(), data.len()),
        (false, _) => (start, false, start),
    }
}

/// Standard input as bytes, for a COPY whose statement came another way.
pub(super) fn standard_input() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    std::thread::spawn(move || read_pieces(io::stdin(), &sender));
    pieces
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

#[cfg(test)]
mod tests {
    //! Data among statements ends where psql ends it.

    use super::whole_lines;

    #[test]
    fn data_ends_at_a_line_of_its_own() {
        assert_eq!(whole_lines(b"a\nb\n\\.\nSELECT", false), (4, false, 4));
        assert_eq!(whole_lines(b"\\.\r\nSELECT", false), (0, true, 4));
        assert_eq!(whole_lines(b"a\\.\nb", false), (4, false, 4));
        assert_eq!(whole_lines(b"a\nb", false), (2, false, 2));
        assert_eq!(whole_lines(b"a\nb", true), (3, false, 3));
        assert_eq!(whole_lines(b"", true), (0, true, 0));
        assert_eq!(whole_lines(b"\\.", true), (0, true, 2));
    }
}

//! One error for the whole store. Its [`Kind`] says what to do; damage also says where.

use super::{EntryNumber, Offset};
use std::fmt;
use std::io;
use std::sync::Arc;

/// The result of every fallible function of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Try again later: the disk was full, or the file table; nothing of the failed call is in the log.
    Retry,
    /// Change the argument: the same call fails again.
    Fix,
    /// Open the log anew: this handle is of no more use, and what the failed call wrote may or may not be there.
    Reopen,
    /// Bytes on disk are damaged, missing, or of a newer version.
    Repair,
    /// A defect of Polder: please report it.
    Report,
}

/// Where damage was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The shard.
    pub shard: String,
    /// The file in the folder of the shard.
    pub file: String,
    /// The byte position in that file at which what is damaged begins.
    pub position: u64,
    /// The first entry that cannot be read.
    pub entry: EntryNumber,
    /// Its first record.
    pub offset: Offset,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, file, position, entry, offset } = self;
        write!(f, "shard \"{shard}\", file {file}, byte {position}, entry {entry}, offset {offset}")
    }
}

/// An error that speaks to a person. Cheap to clone, because all waiters of a failed group get the same one.
#[derive(Clone, Debug)]
pub struct Error(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
    damage: Option<Damage>,
    source: Option<Arc<io::Error>>,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), hint: None, damage: None, source: None }))
    }

    /// The argument must change.
    pub(crate) fn fix(message: impl Into<String>) -> Self {
        Self::new(Kind::Fix, message)
    }

    /// For a caller that decides under the writer and does not want to append after all.
    pub fn declined(message: impl Into<String>) -> Self {
        Self::fix(message)
    }

    /// A system call failed while doing `what` (verb and object).
    pub(crate) fn io(what: impl fmt::Display, error: io::Error) -> Self {
        let message = format!("could not {what}: {error}");
        Self::new(Kind::Retry, message).with_source(error)
    }

    /// Bytes that were acknowledged, or that a healthy log must have, are not as they were written.
    pub(crate) fn damaged(damage: Damage, why: impl fmt::Display) -> Self {
        let mut error = Self::new(Kind::Repair, format!("the log is damaged at {damage}: {why}"));
        error.inner().damage = Some(damage);
        error.with_hint(
            "nothing was changed; restore the file from a backup or a replica, and run \"polder log verify\" to see \
             whether more is damaged",
        )
    }

    /// A file that a newer Polder has written.
    pub(crate) fn newer(file: impl fmt::Display, found: u32, known: u32) -> Self {
        let message = format!("{file} has format version {found}, this Polder reads up to version {known}");
        Self::new(Kind::Repair, message).with_hint("open the log with the newer Polder that wrote it")
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner().hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with_source(mut self, source: io::Error) -> Self {
        self.inner().source = Some(Arc::new(source));
        self
    }

    /// Puts the place before the message.
    #[must_use]
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        let inner = self.inner();
        inner.message = format!("{place}: {}", inner.message);
        self
    }

    fn inner(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    /// What the caller can do.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The factual sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The next step, if there is one.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Where the damage is, if this error is about damage.
    pub fn damage(&self) -> Option<&Damage> {
        self.0.damage.as_ref()
    }
}

/// Prints the message alone; the hint is for the edges to lay out.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|error| error as _)
    }
}

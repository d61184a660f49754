//! Secrets are references: where to read a password, never the password itself.

use crate::{Error, Result, SqlState};
use std::fmt;
use std::path::PathBuf;

#[cfg(test)]
mod tests;

/// Where a secret is kept: `env:NAME` or `file:PATH`. Read at each connect, so a rotated secret is picked up.
///
/// A reference is no secret: it may be printed, persisted and explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// An environment variable of the Polder process.
    Env(String),
    /// A file, whose trailing line end is not part of the secret.
    File(PathBuf),
}

/// A secret that has been read. It has no `Debug`, `Display` or `Clone`, so it cannot leak by accident.
pub struct Revealed(String);

impl Revealed {
    /// The secret itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Secret {
    /// Reads a reference. A text that is neither `env:` nor `file:` is refused, and not repeated in the error.
    pub fn parse(option: &str, text: &str) -> Result<Self> {
        if let Some(name) = text.strip_prefix("env:").filter(|name| !name.is_empty()) {
            return Ok(Self::Env(name.to_string()));
        }
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            return Ok(Self::File(PathBuf::from(path)));
        }
        Err(Error::fix(SqlState::PARAMETER, format!("option \"{option}\" is a secret and must be a reference"))
            .with_hint(format!("write {option} = 'env:NAME' or {option} = 'file:PATH'")))
    }

    /// Reads the secret from where it is kept.
    pub fn reveal(&self) -> Result<Revealed> {
        match self {
            Self::Env(name) => std::env::var(name).map(Revealed).map_err(|_| {
                Error::fix(SqlState::PARAMETER, format!("environment variable {name} holds no secret"))
                    .with_hint(format!("set {name} in the environment of the Polder process"))
            }),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Revealed(text.trim_end_matches(['\r', '\n']).to_string())),
                Err(error) => {
                    Err(Error::fix(SqlState::NO_FILE, format!("could not read secret file {}", path.display()))
                        .with_detail(error.to_string()))
                }
            },
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

//! The beginning of a connection: what it wants to be, and who asks.

use super::Server;
use super::connection::{Connection, Wire};
use super::log_in::log_in;
use super::message::{Broken, Codec, Message, violation};
use super::notice::{self, Severity};
use crate::server::tls::{Stream, Tls};
use futures::{SinkExt, StreamExt};
use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::response::{GssEncResponse, SslResponse};
use polder_catalog::{Error, Result, SqlState};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_util::codec::Framed;
use tokio_util::either::Either;

/// What may be asked before the start: TLS, and GSSAPI.
const QUESTIONS_MAX: usize = 2;

/// Serves one connection to its end.
pub(super) async fn serve(stream: TcpStream, server: Server) {
    let beginning = Beginning { wire: framed(Either::Left(stream), &server), is_secured: false };
    let starting = tokio::time::timeout(server.options.patience, beginning.start(&server));
    let started = tokio::select! {
        started = starting => started,
        () = server.shutdown.draining() => return,
    };
    if let Ok(Some(Started { wire, parameters, user })) = started {
        Connection::open(wire, server, user).serve(&parameters).await;
    }
}

fn framed(stream: Stream, server: &Server) -> Wire {
    Framed::new(stream, Codec::new(server.options.message_bytes))
}

/// A connection that says what it wants to be.
struct Beginning {
    wire: Wire,
    is_secured: bool,
}

/// A connection that has begun.
struct Started {
    wire: Wire,
    parameters: BTreeMap<String, String>,
    user: Arc<str>,
}

/// What a connection wants next.
enum Wanted {
    Tls(Tls),
    Start(BTreeMap<String, String>, Arc<str>),
    /// It has been answered, or has gone.
    Nothing,
}

impl Beginning {
    /// None for a connection that wanted something else, or was refused.
    async fn start(mut self, server: &Server) -> Option<Started> {
        loop {
            match self.wanted(server).await {
                Ok(Wanted::Tls(tls)) => self = self.secure(&tls, server).await?,
                Ok(Wanted::Start(parameters, user)) => return Some(Started { wire: self.wire, parameters, user }),
                Ok(Wanted::Nothing) => return None,
                Err(broken) => {
                    refuse(&mut self.wire, &broken).await;
                    return None;
                }
            }
        }
    }

    async fn wanted(&mut self, server: &Server) -> Result<Wanted, Broken> {
        for _ in 0..=QUESTIONS_MAX {
            match self.wire.next().await.transpose()? {
                Some(Message::Tls) if self.is_secured => return Err(violation("TLS was asked for under TLS").into()),
                Some(Message::Tls) => match &server.door.tls {
                    Some(tls) => {
                        self.wire.send(Reply::SslResponse(SslResponse::Accept)).await?;
                        return Ok(Wanted::Tls(tls.clone()));
                    }
                    None => self.wire.send(Reply::SslResponse(SslResponse::Refuse)).await?,
                },
                Some(Message::Gss) => self.wire.send(Reply::GssEncResponse(GssEncResponse::Refuse)).await?,
                Some(Message::Cancel { process, secret }) => {
                    server.cancels.cancel(process, secret);
                    return Ok(Wanted::Nothing);
                }
                Some(Message::Startup(parameters)) => {
                    if server.door.tls.is_some() && !self.is_secured {
                        let error = Error::fix(SqlState::LOGIN, "connections without TLS are not taken");
                        return Err(error.with_hint("connect with sslmode=require, or verify-full").into());
                    }
                    let user = log_in(&mut self.wire, server, &parameters).await?;
                    return Ok(user.map_or(Wanted::Nothing, |user| Wanted::Start(parameters, user)));
                }
                Some(other) => return Err(violation(format!("{other:?} before the start")).into()),
                None => return Ok(Wanted::Nothing),
            }
        }
        Err(violation("nothing but questions before the start").into())
    }

    /// What came before TLS was not said under it, so there must be nothing (CVE-2021-23222).
    async fn secure(self, tls: &Tls, server: &Server) -> Option<Self> {
        let parts = self.wire.into_parts();
        let Either::Left(stream) = parts.io else { return None };
        if !parts.read_buf.is_empty() {
            return None;
        }
        let stream = tls.accept(stream, "postgresql", server.options.patience).await.ok()?;
        Some(Self { wire: framed(stream, server), is_secured: true })
    }
}

async fn refuse(wire: &mut Wire, broken: &Broken) {
    match broken {
        Broken::Protocol(error) => {
            let _ = wire.send(Reply::ErrorResponse(notice::error(error, Severity::Fatal))).await;
        }
        Broken::Gone(error) => tracing::debug!(%error, "a connection ended early"),
    }
}

/// What a connection was started with, as settings of its session.
///
/// # Errors
/// 3D000 for a database that does not exist, 0A000 for what is not offered, 22023 for a setting that cannot be.
pub(super) fn settings(parameters: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
    let database = parameters.get("database").or_else(|| parameters.get("user"));
    if let Some(database) = database.filter(|database| !database.is_empty() && *database != POLDER) {
        return Err(Error::fix(SqlState::NO_CATALOG, format!("database \"{database}\" does not exist"))
            .with_hint(format!("connect to \"{POLDER}\": it shows all catalogs as schemas")));
    }
    let mut settings = Vec::new();
    for (name, value) in parameters {
        match name.as_str() {
            "database" | "user" => {}
            // Asks of a later minor version, which may be left unanswered.
            name if name.starts_with("_pq_.") => {}
            // Drivers send the zone of their machine unasked; rows say their offset, so they mean the same instants.
            "TimeZone" | "timezone" => {}
            "replication" if matches!(value.as_str(), "false" | "off" | "0" | "no") => {}
            "replication" => {
                return Err(Error::fix(SqlState::NOT_SUPPORTED, "replication connections are not offered"));
            }
            "options" => settings.extend(options(value)?),
            name => settings.push((name.to_lowercase(), value.clone())),
        }
    }
    Ok(settings)
}

const POLDER: &str = "polder";

/// `-c name=value --other=value`; a backslash keeps the space after it.
fn options(text: &str) -> Result<Vec<(String, String)>> {
    let mut words = vec![String::new()];
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let last = words.last_mut().expect("there is always a word");
        match letter {
            '\\' => last.extend(letters.next()),
            letter if letter.is_whitespace() => words.push(String::new()),
            letter => last.push(letter),
        }
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let pair = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c").filter(|rest| !rest.is_empty())) {
            Some(pair) => Some(pair.to_string()),
            None if word == "-c" => words.next(),
            None => None,
        };
        let pair = pair.as_deref().and_then(|pair| pair.split_once('='));
        let (name, value) = pair.ok_or_else(|| {
            Error::fix(SqlState::PARAMETER, format!("\"{word}\" is no option of a connection"))
                .with_hint("options are -c name=value")
        })?;
        settings.push((name.to_lowercase().replace('-', "_"), value.to_string()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_settings() {
        let pairs = options(r"-c statement_timeout=5s --pushdown=off -cread_after=main\ 1").unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("statement_timeout", "5s"), ("pushdown", "off"), ("read_after", "main 1")]);
        assert_eq!(options("-x").unwrap_err().state(), SqlState::PARAMETER);
        assert_eq!(options("-c").unwrap_err().state(), SqlState::PARAMETER);
    }
}

//! The beginning of a connection: what it wants to be, and who asks.

use super::Server;
use super::connection::{Connection, Wire};
use super::message::{Broken, Codec, Message, violation};
use super::notice::{self, Severity};
use futures::{SinkExt, StreamExt};
use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::response::{GssEncResponse, SslResponse};
use polder_catalog::{Error, Result, SqlState};
use std::collections::BTreeMap;
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

/// What may be asked before the start: TLS, and GSSAPI.
const QUESTIONS_MAX: usize = 2;

/// Serves one connection to its end.
pub(super) async fn serve(stream: TcpStream, server: Server) {
    let mut wire = Framed::new(stream, Codec::new(server.options.message_bytes));
    let starting = tokio::time::timeout(server.options.patience, start(&mut wire, &server));
    let parameters = tokio::select! {
        started = starting => match started {
            Ok(Ok(Some(parameters))) => parameters,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(broken)) => return refuse(&mut wire, &broken).await,
        },
        () = server.shutdown.draining() => return,
    };
    let connection = Connection::open(wire, server);
    connection.serve(&parameters).await;
}

/// The parameters of the start; None for a connection that wanted something else.
async fn start(wire: &mut Wire, server: &Server) -> Result<Option<BTreeMap<String, String>>, Broken> {
    for _ in 0..=QUESTIONS_MAX {
        match wire.next().await.transpose()? {
            Some(Message::Tls) => wire.send(Reply::SslResponse(SslResponse::Refuse)).await?,
            Some(Message::Gss) => wire.send(Reply::GssEncResponse(GssEncResponse::Refuse)).await?,
            Some(Message::Cancel { process, secret }) => {
                server.cancels.cancel(process, secret);
                return Ok(None);
            }
            Some(Message::Startup(parameters)) => return Ok(Some(parameters)),
            Some(other) => return Err(violation(format!("{other:?} before the start")).into()),
            None => return Ok(None),
        }
    }
    Err(violation("nothing but questions before the start").into())
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

//! Logins by SCRAM-SHA-256 (PostgreSQL's documentation, 55.3, "SASL Authentication").

use super::Server;
use super::connection::Wire;
use super::message::{Broken, Message, violation};
use crate::access::{Exchange, LOCAL, new_nonce};
use bytes::{Buf, Bytes};
use futures::{SinkExt, StreamExt};
use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::startup::Authentication;
use polder_catalog::{Error, SqlState};
use std::collections::BTreeMap;
use std::sync::Arc;

const MECHANISM: &str = "SCRAM-SHA-256";

/// The user of a connection; None if it has gone. Where nobody has to log in, it is who sits at the machine.
///
/// # Errors
/// 28000 without a name, 28P01 for a wrong password, 08P01 for what is no login.
pub(super) async fn log_in(
    wire: &mut Wire,
    server: &Server,
    parameters: &BTreeMap<String, String>,
) -> Result<Option<Arc<str>>, Broken> {
    if !server.door.demands_login(&server.engine) {
        return Ok(Some(LOCAL.into()));
    }
    let user = parameters.get("user").filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| Error::fix(SqlState::LOGIN, "no user name was given"))?;
    let access = &server.engine.0.access;
    wire.send(Reply::Authentication(Authentication::SASL(vec![MECHANISM.to_string()]))).await?;
    let Some(first) = password(wire).await? else { return Ok(None) };
    let (exchange, answer) = Exchange::begin(&first_of(first)?, access.verifier(user), &new_nonce()?)?;
    wire.send(Reply::Authentication(Authentication::SASLContinue(answer.into()))).await?;
    let Some(last) = password(wire).await? else { return Ok(None) };
    match exchange.end(&last)? {
        Some(proof) => {
            wire.send(Reply::Authentication(Authentication::SASLFinal(proof.into()))).await?;
            Ok(Some(access.succeeded(user)))
        }
        None => Err(access.failed(user).await.into()),
    }
}

async fn password(wire: &mut Wire) -> Result<Option<Bytes>, Broken> {
    match wire.next().await.transpose()? {
        Some(Message::Password(bytes)) => Ok(Some(bytes)),
        Some(_) => Err(violation("a login was expected").into()),
        None => Ok(None),
    }
}

/// The name of the mechanism, the length of its message, the message.
fn first_of(mut bytes: Bytes) -> Result<Bytes, Error> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or_else(|| violation("a mechanism has no end"))?;
    if &bytes[..end] != MECHANISM.as_bytes() {
        return Err(
            Error::fix(SqlState::PROTOCOL, "the client chose another mechanism").with_hint("SCRAM-SHA-256 is offered")
        );
    }
    bytes.advance(end + 1);
    if bytes.len() < 4 || bytes.get_u32() as usize != bytes.len() {
        return Err(violation("a login lies about its length"));
    }
    Ok(bytes)
}

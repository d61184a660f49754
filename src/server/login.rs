//! The door of a server: who may come in, and as whom.

use crate::access::LOCAL;
use crate::engine::Engine;
use crate::server::tls::{Stream, Tls};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use polder_catalog::{Error, Result, SqlState};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::either::Either;

/// How an `Authorization` header says who sends a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credentials<'a> {
    Nobody,
    Basic(&'a str),
    Bearer(&'a str),
}

/// # Errors
/// 28000 for a scheme that is not known here.
pub(crate) fn credentials(authorization: Option<&str>) -> Result<Credentials<'_>> {
    let Some(value) = authorization else { return Ok(Credentials::Nobody) };
    match value.trim().split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => Ok(Credentials::Basic(rest.trim())),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Credentials::Bearer(rest.trim())),
        _ => Err(Error::fix(SqlState::LOGIN, "the header Authorization is not understood")
            .with_hint("send Basic with user and password, or Bearer with a token")),
    }
}

/// How clients come in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door {
    pub(crate) tls: Option<Tls>,
    /// Whether nobody has to log in, although there are users.
    pub(crate) without_login: bool,
}

impl Door {
    /// A connection of a protocol that begins with TLS, if there is any.
    ///
    /// # Errors
    /// If the client does not go along.
    pub(crate) async fn enter(&self, stream: TcpStream, protocol: &str, patience: Duration) -> io::Result<Stream> {
        match &self.tls {
            Some(tls) => tls.accept(stream, protocol, patience).await,
            None => Ok(Either::Left(stream)),
        }
    }

    /// Whether clients have to say who they are.
    pub(crate) fn demands_login(&self, engine: &Engine) -> bool {
        !self.without_login && engine.0.access.roles().demand_login()
    }

    /// The user of a request. Where nobody has to log in, it is who sits at the machine.
    ///
    /// # Errors
    /// 28000 without a login, 28P01 for a wrong password.
    pub(crate) async fn user(&self, engine: &Engine, credentials: Credentials<'_>) -> Result<Arc<str>> {
        let access = &engine.0.access;
        if !self.demands_login(engine) {
            return Ok(LOCAL.into());
        }
        match credentials {
            Credentials::Nobody => Err(Error::fix(SqlState::LOGIN, "a login is needed")
                .with_hint("send the header Authorization: Basic with user and password, or Bearer with a token")),
            Credentials::Bearer(token) => access.by_token(token, engine.0.env.now()).await,
            Credentials::Basic(pair) => {
                let (user, password) = pair_of(pair)?;
                access.by_password(&user, &password).await
            }
        }
    }
}

/// With the padding of RFC 7617 or without it, as the drivers of Go send it.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn pair_of(text: &str) -> Result<(String, String)> {
    let decoded = BASIC.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
    let (user, password) =
        pair.ok_or_else(|| Error::fix(SqlState::LOGIN, "the header Authorization is not understood"))?;
    Ok((user.to_string(), password.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_who_asks() {
        assert_eq!(credentials(None).unwrap(), Credentials::Nobody);
        assert_eq!(credentials(Some("bearer  abc")).unwrap(), Credentials::Bearer("abc"));
        assert_eq!(credentials(Some("Basic YTpiOmM=")).unwrap(), Credentials::Basic("YTpiOmM="));
        assert_eq!(pair_of("YTpiOmM=").unwrap(), ("a".to_string(), "b:c".to_string()));
        assert_eq!(pair_of("YTpiYg").unwrap(), pair_of("YTpiYg==").unwrap());
        for wrong in ["", "Basic", "Digest abc"] {
            credentials(Some(wrong)).unwrap_err();
        }
        pair_of("€").unwrap_err();
    }
}

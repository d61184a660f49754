//! The beginning of a connection: TLS if it is wanted, who asks, and the proof.

use super::super::dial::{self, Stream};
use super::super::login::Login;
use super::super::target::{Target, Tls};
use super::super::unreachable;
use super::unreadable;
use super::wire::Wire;
use fallible_iterator::FallibleIterator;
use polder_catalog::{Error, Result, SqlState};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

/// Opens connections to one server.
pub(super) struct Dialer {
    target: Target,
    login: Login,
    tls: Option<TlsConnector>,
}

impl Dialer {
    pub(super) fn new(target: Target, login: Login) -> Result<Self> {
        let tls = (target.tls != Tls::Never).then(|| dial::tls(&login)).transpose()?;
        Ok(Self { target, login, tls })
    }

    /// A connection whose login is done.
    pub(super) async fn open(&self) -> Result<Wire> {
        let opening = async {
            let (stream, is_secured) = self.stream().await?;
            let mut wire = Wire::new(stream);
            self.start(&mut wire).await?;
            self.prove(&mut wire, is_secured).await?;
            Self::greeted(&mut wire).await?;
            Ok(wire)
        };
        let opened = tokio::time::timeout(2 * dial::PATIENCE, opening).await;
        opened.unwrap_or_else(|_| Err(unreachable(&self.target, "the login took too long")))
    }

    /// The stream, and whether it is encrypted.
    async fn stream(&self) -> Result<(Box<dyn Stream>, bool)> {
        let mut stream = dial::tcp(&self.target).await?;
        let Some(tls) = &self.tls else { return Ok((Box::new(stream), false)) };
        let mut question = bytes::BytesMut::new();
        frontend::ssl_request(&mut question);
        let failed = |error: std::io::Error| unreachable(&self.target, error);
        stream.write_all(&question).await.map_err(failed)?;
        match (stream.read_u8().await.map_err(failed)?, self.target.tls) {
            (b'S', _) => Ok((dial::secured(stream, &self.target, tls).await?, true)),
            (_, Tls::Always) => Err(unreachable(&self.target, "the server has no TLS")
                .with_hint("sslmode=disable goes without, if the network keeps others out")),
            _ => Ok((Box::new(stream), false)),
        }
    }

    async fn start(&self, wire: &mut Wire) -> Result<()> {
        let user = self.login.user(&self.target);
        let mut parameters = vec![
            ("user", user.as_str()),
            ("database", &self.target.database),
            ("application_name", "polder sql"),
            ("client_encoding", "UTF8"),
        ];
        parameters.extend(self.target.options.as_deref().map(|options| ("options", options)));
        wire.send(|out| frontend::startup_message(parameters, out)).await
    }

    async fn prove(&self, wire: &mut Wire, is_secured: bool) -> Result<()> {
        match wire.granted().await? {
            Message::AuthenticationOk => return Ok(()),
            Message::AuthenticationSasl(offered) => self.prove_by_scram(wire, &offered).await?,
            Message::AuthenticationMd5Password(salt) => {
                let user = self.login.user(&self.target);
                let hash = md5_hash(user.as_bytes(), self.password()?.as_bytes(), salt.salt());
                wire.send(|out| frontend::password_message(hash.as_bytes(), out)).await?;
            }
            Message::AuthenticationCleartextPassword if is_secured || self.target.is_loopback() => {
                let password = self.password()?;
                wire.send(|out| frontend::password_message(password.as_bytes(), out)).await?;
            }
            Message::AuthenticationCleartextPassword => {
                return Err(Error::fix(SqlState::LOGIN, "the server asks for the password in the clear")
                    .with_hint("use sslmode=require"));
            }
            _ => return Err(Error::fix(SqlState::LOGIN, "the server asks for a proof that is not known here")),
        }
        match wire.granted().await? {
            Message::AuthenticationOk => Ok(()),
            _ => Err(unreadable("the login has no end")),
        }
    }

    async fn prove_by_scram(&self, wire: &mut Wire, offered: &AuthenticationSaslBody) -> Result<()> {
        if !offered.mechanisms().any(|mechanism| Ok(mechanism == SCRAM_SHA_256)).map_err(unreadable)? {
            return Err(Error::fix(SqlState::LOGIN, "the server does not offer SCRAM-SHA-256"));
        }
        let mut scram = ScramSha256::new(self.password()?.as_bytes(), ChannelBinding::unsupported());
        wire.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out)).await?;
        let Message::AuthenticationSaslContinue(next) = wire.granted().await? else {
            return Err(unreadable("SCRAM was broken off"));
        };
        scram.update(next.data()).map_err(unreadable)?;
        wire.send(|out| frontend::sasl_response(scram.message(), out)).await?;
        let Message::AuthenticationSaslFinal(last) = wire.granted().await? else {
            return Err(unreadable("SCRAM was broken off"));
        };
        let is_not_who_it_says = |error: std::io::Error| {
            Error::fix(SqlState::LOGIN, "the server could not prove that it knows the password")
                .with_detail(error.to_string())
        };
        scram.finish(last.data()).map_err(is_not_who_it_says)
    }

    fn password(&self) -> Result<&str> {
        self.login.password().ok_or_else(|| {
            Error::fix(SqlState::PASSWORD, "the server asks for a password")
                .with_hint("set POLDER_PASSWORD, or say --password-file FILE")
        })
    }

    async fn greeted(wire: &mut Wire) -> Result<()> {
        loop {
            match wire.granted().await? {
                Message::BackendKeyData(key) => (wire.process, wire.secret) = (key.process_id(), key.secret_key()),
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ParameterStatus(_) => {}
                _ => return Err(unreadable("the greeting has no end")),
            }
        }
    }

    /// Asks the server to cancel what a connection runs.
    pub(super) async fn cancel(&self, process: i32, secret: i32) -> Result<()> {
        let (mut stream, _) = self.stream().await?;
        let mut request = bytes::BytesMut::new();
        frontend::cancel_request(process, secret, &mut request);
        let failed = |error: std::io::Error| unreachable(&self.target, error);
        stream.write_all(&request).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        // The server closes it once it has heard; how it does so tells nothing.
        let _ = stream.read_u8().await;
        Ok(())
    }
}

//! Flight SQL: one session for all statements, rows as they come.

use super::dial::{self, PATIENCE};
use super::login::Login;
use super::target::{Target, Tls};
use super::{Answer, Client, Results, broken_off, told, unreachable};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, Ticket};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use polder_catalog::{Error, Result, SqlState};
use prost::Message;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

/// What the server says beside its answers.
const SQLSTATE: &str = "polder-sqlstate";
const TAG: &str = "polder-tag";
/// Asks for notices as the last message of rows, which other clients do not know.
const NOTICES: &str = "polder-notices";

pub(super) struct Flight {
    target: Target,
    login: Login,
    client: FlightServiceClient<Channel>,
    session: tokio::sync::Mutex<Option<Session>>,
}

/// What each call shows: a bearer, and the cookie of the session if the bearer is no session itself.
#[derive(Clone)]
struct Session {
    authorization: MetadataValue<Ascii>,
    cookie: Option<MetadataValue<Ascii>>,
}

impl Flight {
    pub(super) fn new(target: &Target, login: Login) -> Result<Self> {
        let (target, scheme) = (target.clone(), if target.tls == Tls::Always { "https" } else { "http" });
        let address = target.to_string();
        let address = address.split_once("://").map_or(address.as_str(), |(_, address)| address);
        let failed = |error: tonic::transport::Error| unreachable(&target, causes(&error));
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(failed)?;
        if target.tls == Tls::Always {
            let tls = ClientTlsConfig::new().trust_anchors(dial::authorities(&login)?.roots);
            endpoint = endpoint.tls_config(tls).map_err(failed)?;
        }
        let channel = endpoint.connect_timeout(PATIENCE).tcp_nodelay(true).connect_lazy();
        let client = FlightServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        Ok(Self { target, login, client, session: tokio::sync::Mutex::default() })
    }

    /// The session of this client, begun when it is first needed.
    async fn session(&self) -> Result<Session> {
        let mut session = self.session.lock().await;
        if let Some(session) = session.as_ref() {
            return Ok(session.clone());
        }
        let begun = match self.login.token() {
            Some(token) => self.with_token(token).await?,
            None => self.log_in().await?,
        };
        *session = Some(begun.clone());
        Ok(begun)
    }

    /// By user and password: the server gives a bearer for them.
    async fn log_in(&self) -> Result<Session> {
        let mut request = Request::new(futures::stream::iter([HandshakeRequest::default()]));
        request.metadata_mut().insert("authorization", ascii(&self.login.basic(&self.target))?);
        let response = self.client.clone().handshake(request).await.map_err(|status| self.error(&status))?;
        let bearer = response.metadata().get("authorization").cloned();
        response.into_inner().try_collect::<Vec<_>>().await.map_err(|status| self.error(&status))?;
        let authorization =
            bearer.ok_or_else(|| told(None, "the server took the login and gave no session", None, None))?;
        Ok(Session { authorization, cookie: None })
    }

    /// By a token: a session is kept for whoever asks about its options.
    async fn with_token(&self, token: &str) -> Result<Session> {
        let authorization = ascii(&format!("Bearer {token}"))?;
        let mut request = Request::new(Action::new("SetSessionOptions", ""));
        request.metadata_mut().insert("authorization", authorization.clone());
        let response = self.client.clone().do_action(request).await.map_err(|status| self.error(&status))?;
        let cookie = response.metadata().get("set-cookie").and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.split(';').next()).map(ascii).transpose()?;
        Ok(Session { authorization, cookie })
    }

    fn request<T>(session: &Session, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", session.authorization.clone());
        if let Some(cookie) = &session.cookie {
            metadata.insert("cookie", cookie.clone());
        }
        metadata.insert(NOTICES, MetadataValue::from_static("last"));
        request
    }

    async fn info(&self, session: &Session, sql: &str) -> Result<(MetadataMap, FlightInfo), Status> {
        let command = CommandStatementQuery { query: sql.to_string(), transaction_id: None };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let response = self.client.clone().get_flight_info(Self::request(session, descriptor)).await?;
        let (metadata, info, _) = response.into_parts();
        Ok((metadata, info))
    }

    async fn rows(&self, session: &Session, ticket: Ticket) -> Result<Rows, Status> {
        let pieces = self.client.clone().do_get(Self::request(session, ticket)).await?.into_inner();
        let notices: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&notices);
        let pieces = pieces.try_filter(move |piece| std::future::ready(!takes_notices(piece, &heard)));
        let stream = FlightRecordBatchStream::new_from_flight_data(pieces.map_err(FlightError::from));
        Ok(Rows { stream, first: None, schema: Arc::new(Schema::empty()), notices })
    }

    /// What a status says. A session that is gone is forgotten, so that the next statement begins another.
    fn error(&self, status: &Status) -> Error {
        if let Some(error) = ours(status) {
            return error;
        }
        match status.code() {
            Code::Unavailable | Code::Unknown => unreachable(&self.target, causes(status)),
            code => told(None, status.message(), Some(&format!("gRPC's {code:?}")), None),
        }
    }

    async fn failed(&self, status: &Status) -> Error {
        let error = self.error(status);
        if error.state() == SqlState::LOGIN {
            *self.session.lock().await = None;
        }
        error
    }
}

#[async_trait]
impl Client for Flight {
    async fn run(&self, sql: &str) -> Result<Answer> {
        let session = self.session().await?;
        let (metadata, info) = match self.info(&session, sql).await {
            Ok(info) => info,
            Err(status) => return Err(self.failed(&status).await),
        };
        let ticket = info.endpoint.into_iter().find_map(|endpoint| endpoint.ticket);
        let Some(ticket) = ticket else {
            let tag = metadata.get(TAG).and_then(|tag| tag.to_str().ok()).unwrap_or("DONE");
            return Ok(Answer::Done { tag: tag.to_string(), notices: Vec::new() });
        };
        let mut rows = match self.rows(&session, ticket).await {
            Ok(rows) => rows,
            Err(status) => return Err(self.failed(&status).await),
        };
        rows.first = rows.batch().await?;
        rows.schema = rows.stream.schema().cloned().unwrap_or_else(|| Arc::clone(&rows.schema));
        Ok(Answer::Rows(Box::new(rows)))
    }
}

struct Rows {
    stream: FlightRecordBatchStream,
    first: Option<RecordBatch>,
    schema: SchemaRef,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Rows {
    async fn batch(&mut self) -> Result<Option<RecordBatch>> {
        self.stream.next().await.transpose().map_err(|error| match &error {
            FlightError::Tonic(status) => ours(status).unwrap_or_else(|| broken_off(causes(status.as_ref()))),
            _ => broken_off(&error),
        })
    }
}

#[async_trait]
impl Results for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.batch().await,
        }
    }

    fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes the message that is nothing but notices.
fn takes_notices(piece: &FlightData, notices: &Mutex<Vec<String>>) -> bool {
    let is_told = piece.data_header.is_empty() && !piece.app_metadata.is_empty();
    if is_told {
        let told: Vec<String> = serde_json::from_slice(&piece.app_metadata).unwrap_or_default();
        notices.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
    }
    is_told
}

/// The error of a server of Polder: its message has detail and hint on lines of their own.
fn ours(status: &Status) -> Option<Error> {
    let state = status.metadata().get(SQLSTATE)?.to_str().ok()?;
    let (message, hint) = split_last(status.message(), "\nhint: ");
    let (message, detail) = split_last(message, "\ndetail: ");
    Some(told(Some(state), message, detail, hint))
}

fn split_last<'a>(text: &'a str, label: &str) -> (&'a str, Option<&'a str>) {
    text.rsplit_once(label).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn ascii(text: &str) -> Result<MetadataValue<Ascii>> {
    MetadataValue::try_from(text)
        .map_err(|_| Error::fix(SqlState::PARAMETER, "a user, password or token holds what no header can"))
}

/// An error with what caused it, which gRPC's own texts leave out.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_polder_is_the_error_it_was() {
        let mut metadata = MetadataMap::new();
        metadata.insert(SQLSTATE, MetadataValue::from_static("42P01"));
        let status = Status::with_metadata(Code::NotFound, "no table\nx\ndetail: a\nb\nhint: c", metadata);
        let error = ours(&status).unwrap();
        assert_eq!((error.state(), error.message()), (SqlState::NO_TABLE, "no table\nx"));
        assert_eq!((error.detail(), error.hint()), (Some("a\nb"), Some("c")));
        assert!(ours(&Status::new(Code::NotFound, "x")).is_none());
    }
}

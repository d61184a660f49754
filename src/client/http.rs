//! HTTP: a request and a connection for each statement, rows as a stream of Arrow.

use super::dial::{self, Stream};
use super::login::Login;
use super::target::{Target, Tls};
use super::{Answer, Client, Results, broken_off, told, unreachable};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamDecoder;
use async_trait::async_trait;
use axum::body::{Body, BodyDataStream, Bytes};
use futures::StreamExt;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use polder_catalog::{Error, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

const ARROW: &str = "application/vnd.apache.arrow.stream";
const NOTICE: &str = "polder-notice";

/// The greatest answer that is no rows.
const ANSWER_BYTES: usize = 1 << 20;

pub(super) struct Http {
    target: Target,
    login: Login,
    tls: Option<TlsConnector>,
}

/// The connection, as long as somebody reads from it: the server cancels what nobody waits for.
type Held = AbortOnDropHandle<()>;

impl Http {
    pub(super) fn new(target: Target, login: Login) -> Result<Self> {
        let tls = (target.tls == Tls::Always).then(|| dial::tls(&login)).transpose()?;
        Ok(Self { target, login, tls })
    }

    async fn post(&self, sql: &str) -> Result<(Response<Body>, Held)> {
        let stream = dial::tcp(&self.target).await?;
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => dial::secured(stream, &self.target, tls).await?,
            None => Box::new(stream),
        };
        let failed = |error: hyper::Error| unreachable(&self.target, error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let held = AbortOnDropHandle::new(tokio::spawn(async move {
            // Whoever reads the answer is told of it.
            let _ = connection.await;
        }));
        let response = sender.send_request(self.request(sql)?).await.map_err(failed)?;
        Ok((response.map(Body::new), held))
    }

    fn request(&self, sql: &str) -> Result<Request<Body>> {
        let host = match self.target.host.contains(':') {
            true => format!("[{}]:{}", self.target.host, self.target.port),
            false => format!("{}:{}", self.target.host, self.target.port),
        };
        let mut request = Request::post("/v1/sql")
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, ARROW);
        if let Some(authorization) = self.login.authorization(&self.target) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let body = Body::from(json!({ "sql": sql }).to_string());
        request.body(body).map_err(|error| Error::report("the request cannot be written").with_source(error))
    }
}

#[async_trait]
impl Client for Http {
    async fn run(&self, sql: &str) -> Result<Answer> {
        let (response, held) = self.post(sql).await?;
        let (head, body) = response.into_parts();
        let notices = head.headers.get_all(NOTICE).iter();
        let notices: Vec<_> = notices.map(|notice| String::from_utf8_lossy(notice.as_bytes()).into_owned()).collect();
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if head.status == StatusCode::OK && kind == ARROW {
            let rows = Rows::open(body.into_data_stream(), notices, held).await?;
            return Ok(Answer::Rows(Box::new(rows)));
        }
        let body = axum::body::to_bytes(body, ANSWER_BYTES).await.map_err(broken_off)?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        match answer["tag"].as_str() {
            Some(tag) if head.status == StatusCode::OK => Ok(Answer::Done { tag: tag.to_string(), notices }),
            _ => Err(problem(head.status, &answer)),
        }
    }
}

/// The error of a problem document (RFC 9457).
fn problem(status: StatusCode, document: &Value) -> Error {
    let text = |name: &str| document[name].as_str();
    match text("title") {
        Some(title) => told(text("sqlstate"), title, text("detail"), text("hint")),
        None => told(None, &format!("the server answered {status}"), None, Some("is this a server of Polder?")),
    }
}

struct Rows {
    body: BodyDataStream,
    decoder: StreamDecoder,
    /// What came and is not decoded.
    rest: Buffer,
    first: Option<RecordBatch>,
    schema: SchemaRef,
    notices: Vec<String>,
    _held: Held,
}

impl Rows {
    /// Reads up to the schema, and the first rows.
    async fn open(body: BodyDataStream, notices: Vec<String>, held: Held) -> Result<Self> {
        let (decoder, rest) = (StreamDecoder::new(), Buffer::from(Vec::<u8>::new()));
        let schema = Arc::new(Schema::empty());
        let mut rows = Self { body, decoder, rest, first: None, schema, notices, _held: held };
        rows.first = rows.batch().await?;
        rows.schema = rows.decoder.schema().unwrap_or_else(|| Arc::clone(&rows.schema));
        Ok(rows)
    }

    async fn batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if !self.rest.is_empty()
                && let Some(batch) = self.decoder.decode(&mut self.rest).map_err(broken_off)?
            {
                return Ok(Some(batch));
            }
            match self.body.next().await {
                Some(piece) => self.rest = buffer(piece.map_err(broken_off)?),
                None => {
                    self.decoder.finish().map_err(broken_off)?;
                    return Ok(None);
                }
            }
        }
    }
}

fn buffer(piece: Bytes) -> Buffer {
    Buffer::from(piece)
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
        self.notices.clone()
    }
}

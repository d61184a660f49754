//! HTTP below the store: how long a server may be silent, and which answers are asked for again.
//!
//! object_store's own client bounds a request as a whole, with its body. An object that takes longer to read than the
//! bound, or to be taken by a client that reads slowly, would then be an error however well the bytes flow. Here the
//! bound is on the silence of the server, and the time that the reader takes does not count.
//!
//! The store goes on reading where the body of an object broke off, but takes a listing whose body breaks off for failed.
//! So a listing counts as answered once it is here as a whole; until then the store's retries apply to it.

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::redirect::Policy;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// Makes clients that wait for a server this long.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) silence_max: Duration,
    pub(crate) connect_max: Duration,
}

impl HttpConnector for Transport {
    /// Redirects are answers like others: they lead where nobody has allowed the catalog to lead, with its signature.
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(self.connect_max)
            .https_only(allow_http.as_deref() != Some("true"))
            .http1_only()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .build()
            .map_err(|error| object_store::Error::Generic { store: "HTTP client", source: Box::new(error) })?;
        Ok(HttpClient::new(Client { client: HttpClient::new(client), silence_max: self.silence_max }))
    }
}

#[derive(Debug)]
struct Client {
    client: HttpClient,
    silence_max: Duration,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_listing = request.uri().query().is_some_and(|query| query.contains("list-type="));
        let answer = tokio::time::timeout(self.silence_max, self.client.execute(request)).await;
        let (head, body) = answer.map_err(|_| silent(self.silence_max))??.into_parts();
        let body = HttpResponseBody::new(Awaited { body, silence_max: self.silence_max, silence: None });
        if !is_listing {
            return Ok(HttpResponse::from_parts(head, body));
        }
        let whole = body.bytes().await.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
        Ok(HttpResponse::from_parts(head, whole.into()))
    }
}

/// A body that breaks off when nothing of it arrives for too long.
struct Awaited {
    body: HttpResponseBody,
    silence_max: Duration,
    /// Runs from the moment when somebody waits and nothing is there.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Body for Awaited {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.silence = None;
            return Poll::Ready(frame);
        }
        let silence_max = self.silence_max;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(silence_max)));
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(silent(silence_max))))
    }
}

fn silent(time: Duration) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, Silent(time))
}

#[derive(Debug, thiserror::Error)]
#[error("the server was silent for {0:?}")]
struct Silent(Duration);

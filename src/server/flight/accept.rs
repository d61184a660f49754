//! Connections: how many, how long they may be silent at first, and how they end.

use super::service::Flight;
use super::{FlightOptions, Server};
use crate::activity::{Activity, Connected as Counted, Protocol};
use crate::engine::Engine;
use crate::server::tls::Stream as Secured;
use crate::server::{Door, Shutdown};
use arrow_flight::flight_service_server::FlightServiceServer;
use futures::{Stream, StreamExt};
use polder_catalog::{Error, Kind, Result, SqlState};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::{Connected, Server as Tonic};

/// After a failed accept, usually for want of file descriptors: time for others to end.
const BREATH: Duration = Duration::from_millis(50);
/// How often it is looked what nobody uses any more.
const SWEEP: Duration = Duration::from_secs(10);
/// Calls at once on one connection.
const CALLS: u32 = 128;
/// A connection whose other end is silent is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Serves until `shutdown` drains, then until every call that runs is answered. Statements run on `workers`, connections
/// where this is awaited.
///
/// # Errors
/// If the connections cannot be served at all.
pub(crate) async fn serve(
    listener: TcpListener,
    engine: Engine,
    options: FlightOptions,
    door: Door,
    shutdown: Shutdown,
    workers: Handle,
) -> Result<()> {
    let activity = Arc::clone(&engine.0.activity);
    let server = Arc::new(Server::new(engine, &options, door.clone(), shutdown.clone(), workers)?);
    let _sweeping = AbortOnDropHandle::new(tokio::spawn(sweep(Arc::clone(&server))));
    let service = FlightServiceServer::new(Flight::new(server))
        .max_decoding_message_size(options.message_bytes)
        .max_encoding_message_size(usize::MAX);
    Tonic::builder()
        .max_concurrent_streams(CALLS)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .add_service(service)
        .serve_with_incoming_shutdown(connections(listener, options, door, activity), async move {
            shutdown.draining().await
        })
        .await
        .map_err(|error| Error::new(Kind::Retry, SqlState::IO, "could not serve Flight SQL").with_source(error))
}

async fn sweep(server: Arc<Server>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        server.sweep();
    }
}

/// The connections that come, as many at once as there are places.
fn connections(
    listener: TcpListener,
    options: FlightOptions,
    door: Door,
    activity: Arc<Activity>,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(options.connections));
    let FlightOptions { patience, connections, .. } = options;
    let accepted = futures::stream::unfold((listener, places, activity), |(listener, places, activity)| async move {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let stream = accept(&listener).await;
        let counted = activity.connect(Protocol::Flight);
        Some(((stream, (place, counted)), (listener, places, activity)))
    });
    // Nobody waits for the greeting of another one.
    let entered = accepted.map(move |(stream, place)| {
        let door = door.clone();
        async move { (door.enter(stream, "h2", patience).await, place) }
    });
    entered.buffer_unordered(connections).filter_map(move |(stream, place)| async move {
        match stream {
            Ok(stream) => Some(Ok(Connection::new(stream, place, patience))),
            Err(error) => {
                tracing::debug!(%error, "a connection ended before it began");
                None
            }
        }
    })
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers must not wait for more; one that cannot be told so is only slower.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// What every client of HTTP/2 sends first has so many bytes.
const PREFACE_BYTES: usize = 24;

/// A connection in its place.
struct Connection {
    stream: Secured,
    /// Until the client has spoken.
    patience: Option<Pin<Box<Sleep>>>,
    read: usize,
    _place: Place,
}

type Place = (OwnedSemaphorePermit, Counted);

impl Connection {
    fn new(stream: Secured, place: Place, patience: Duration) -> Self {
        Self { stream, patience: Some(Box::pin(tokio::time::sleep(patience))), read: 0, _place: place }
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.read = self.read.saturating_add(buf.filled().len() - before);
        if self.read >= PREFACE_BYTES {
            self.patience = None;
        }
        match &mut self.patience {
            Some(patience) if polled.is_pending() => {
                patience.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
            _ => polled,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

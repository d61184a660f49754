//! Connections: how many, how long they may take, and how they end.

use super::{HttpOptions, router};
use crate::activity::Protocol;
use crate::engine::Engine;
use crate::server::{Door, Shutdown};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use polder_catalog::{Error, Kind, Result, SqlState};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// After a failed accept, usually for want of file descriptors: time for others to end.
const BREATH: Duration = Duration::from_millis(50);

/// Serves until `shutdown` drains, then until every request that runs is answered. Statements run on `workers`, connections
/// where this is awaited.
///
/// # Errors
/// If the listener has no address.
pub(crate) async fn serve(
    listener: TcpListener,
    engine: Engine,
    options: HttpOptions,
    door: Door,
    shutdown: Shutdown,
    workers: Handle,
) -> Result<()> {
    let address = listener.local_addr().map_err(|error| {
        Error::new(Kind::Retry, SqlState::IO, "the listener has no address").with_detail(error.to_string())
    })?;
    let places = Arc::new(Semaphore::new(options.connections));
    let patience = options.patience;
    let activity = Arc::clone(&engine.0.activity);
    let router = router(engine, shutdown.clone(), options, door.clone(), address, workers);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            () = shutdown.draining() => break,
            accepted = accepted => accepted,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        // Small answers must not wait for more; one that cannot be told so is only slower.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let (door, watcher) = (door.clone(), graceful.watcher());
        let connected = activity.connect(Protocol::Http);
        tokio::spawn(async move {
            let stream = match door.enter(stream, "http/1.1", patience).await {
                Ok(stream) => stream,
                Err(error) => return tracing::debug!(%error, "a connection ended before it began"),
            };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(patience)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop((place, connected));
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

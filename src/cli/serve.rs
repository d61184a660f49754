//! `polder serve`: the engine for clients elsewhere.

use crate::cli::limits::Limits;
use crate::cli::{EngineArguments, Interrupt};
use crate::engine::{Engine, EngineBuilder};
use crate::server::{
    Door, FlightOptions, HttpOptions, PgOptions, Shutdown, Tls, TlsFiles, serve_flight, serve_http, serve_pgwire,
};
use polder_catalog::{Error, Kind, Result, SqlState};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::{TcpListener, lookup_host};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    engine: EngineArguments,
    /// Where HTTP is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: String,
    /// Where Arrow Flight SQL is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8815")]
    flight: String,
    /// Where PostgreSQL's protocol is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5433")]
    pg: String,
    #[command(flatten)]
    limits: Limits,
    /// Nobody has to log in, not even beyond loopback: whoever reaches the port may do everything.
    #[arg(long)]
    without_login: bool,
    /// The server's certificates in PEM, its own first. All three listeners then speak TLS only; SIGHUP reads them again.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Who signs the certificates that clients must show, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Serves beyond loopback without TLS: passwords and rows can be read on the way, unless something else keeps them secret.
    #[arg(long, conflicts_with = "tls_cert")]
    without_tls: bool,
    /// Where catalogs may lead that clients define: a folder, s3://bucket/prefix, or an S3 server as https://host:port. May be given
    /// several times; nowhere, if not at all. What polder.toml declares is not asked about.
    #[arg(long, value_name = "LOCATION")]
    allow_location: Vec<String>,
    /// How long statements may go on after SIGTERM or Ctrl-C, in seconds. A second signal ends the program at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u64,
}

/// Opens the engine, serves until a signal, closes.
pub(super) fn run(runtime: &Runtime, builder: EngineBuilder, arguments: &Arguments) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let tls = arguments.tls()?;
    let connections = start_connections()?;
    // First the ports: a wrong address should not have opened anything.
    let listeners = connections.block_on(Listeners::bind(arguments))?;
    // Files of this machine are for who sits at it.
    let builder = arguments.limits.apply(arguments.engine.apply(builder)?)?.allow_local_files(false);
    let engine = runtime.block_on(builder.allow_locations(&arguments.allow_location)?.open())?;
    let door = Door { tls, without_login: arguments.without_login };
    listeners.check_login(&engine, &door)?;
    let serving = serve(engine, listeners, door, arguments.grace, &interrupt, runtime.handle().clone());
    let served = connections.block_on(Box::pin(serving));
    connections.shutdown_background();
    served?;
    Ok(ExitCode::SUCCESS)
}

/// Connections have threads of their own: queries that compute without giving way may take every worker of the engine, and
/// clients must be heard all the same.
fn start_connections() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("connections")
        .enable_all()
        .build()
        .map_err(|error| {
            Error::new(Kind::Retry, SqlState::IO, "could not start the threads of the server")
                .with_detail(error.to_string())
        })
}

/// One for each protocol.
struct Listeners {
    http: TcpListener,
    flight: TcpListener,
    pg: TcpListener,
}

impl Listeners {
    async fn bind(arguments: &Arguments) -> Result<Self> {
        let needs_tls = arguments.tls_cert.is_none() && !arguments.without_tls && !arguments.without_login;
        let http = bind("--http", &arguments.http, needs_tls).await?;
        let flight = bind("--flight", &arguments.flight, needs_tls).await?;
        let pg = bind("--pg", &arguments.pg, needs_tls).await?;
        Ok(Self { http, flight, pg })
    }

    fn addresses(&self) -> Result<[SocketAddr; 3]> {
        let address = |listener: &TcpListener| {
            listener.local_addr().map_err(|error| {
                Error::new(Kind::Retry, SqlState::IO, "the listener has no address").with_detail(error.to_string())
            })
        };
        Ok([address(&self.http)?, address(&self.flight)?, address(&self.pg)?])
    }

    /// # Errors
    /// 28000 for an address beyond loopback where nobody could log in, unless that was asked for.
    fn check_login(&self, engine: &Engine, door: &Door) -> Result<()> {
        let is_open = self.addresses()?.into_iter().find(|address| !address.ip().is_loopback());
        match is_open {
            Some(address) if !door.without_login && !door.demands_login(engine) => {
                Err(Error::fix(SqlState::LOGIN, format!("{address} can be reached from other machines"))
                    .with_detail("there are no users who could log in")
                    .with_hint("polder sql --data DIR -c \"CREATE USER admin PASSWORD '...' SUPERUSER\", or say --without-login if the network keeps others out"))
            }
            _ => Ok(()),
        }
    }
}

impl Arguments {
    fn tls(&self) -> Result<Option<Tls>> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        let files =
            TlsFiles { certificate: certificate.clone(), key: key.clone(), client_ca: self.tls_client_ca.clone() };
        Tls::new(files).map(Some)
    }
}

/// # Errors
/// 28000 for an address beyond loopback, if it needs TLS.
async fn bind(option: &str, address: &str, needs_tls: bool) -> Result<TcpListener> {
    let failed = |error: io::Error| {
        Error::new(Kind::Fix, SqlState::IO, format!("could not listen on {address}"))
            .with_detail(error.to_string())
            .with_hint(format!("choose another address with {option}"))
    };
    let addresses: Vec<SocketAddr> = lookup_host(address).await.map_err(failed)?.collect();
    if needs_tls && addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(Error::fix(SqlState::LOGIN, format!("{address} can be reached from other machines"))
            .with_detail("there is no TLS: passwords could be read on the way")
            .with_hint("give --tls-cert and --tls-key, or say --without-tls if the network keeps others out"));
    }
    TcpListener::bind(&addresses[..]).await.map_err(failed)
}

async fn serve(
    engine: Engine,
    listeners: Listeners,
    door: Door,
    grace: u64,
    interrupt: &Interrupt,
    workers: Handle,
) -> Result<()> {
    announce(&engine, &listeners, &door)?;
    let _renewing = renew(&door)?;
    let shutdown = Shutdown::default();
    let Listeners { http, flight, pg } = listeners;
    let connections = engine.connections_max();
    let of_http = HttpOptions { connections, ..HttpOptions::default() };
    let of_flight = FlightOptions { connections, ..FlightOptions::default() };
    let of_pg = PgOptions { connections, ..PgOptions::default() };
    let http = serve_http(http, engine.clone(), of_http, door.clone(), shutdown.clone(), workers.clone());
    let flight = serve_flight(flight, engine.clone(), of_flight, door.clone(), shutdown.clone(), workers.clone());
    let pg = serve_pgwire(pg, engine.clone(), of_pg, door, shutdown.clone(), workers);
    let mut serving = tokio::spawn(async { tokio::try_join!(http, flight, pg).map(|_| ()) });
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = interrupt.next() => {
            say("shutting down; statements that run may finish");
            shutdown.drain();
            match tokio::time::timeout(Duration::from_secs(grace), &mut serving).await {
                Ok(ended) => ended,
                Err(_) => {
                    shutdown.stop();
                    end(&mut serving).await
                }
            }
        }
    };
    serving.abort();
    close(engine).await?;
    ended.unwrap_or_else(|error| Err(Error::report("the server ended in a panic").with_detail(error.to_string())))
}

/// How long clients may take to read that their statement was stopped.
const LAST_WORDS: Duration = Duration::from_secs(1);

async fn end(serving: &mut tokio::task::JoinHandle<Result<()>>) -> Result<Result<()>, tokio::task::JoinError> {
    tokio::time::timeout(LAST_WORDS, serving).await.unwrap_or(Ok(Ok(())))
}

/// Workers that compute for a query nobody waits for cannot be had back; the log has all that was answered.
async fn close(engine: Engine) -> Result<()> {
    match tokio::time::timeout(CLOSE_TIME, engine.close()).await {
        Ok(closed) => closed,
        Err(_) => {
            tracing::warn!("the engine is left while a query computes");
            Ok(())
        }
    }
}

/// How long a checkpoint and the sources have.
const CLOSE_TIME: Duration = Duration::from_secs(10);

/// Reads the certificates again at each SIGHUP. Without TLS it is heard and means nothing.
fn renew(door: &Door) -> Result<AbortOnDropHandle<()>> {
    let mut hangups = signal(SignalKind::hangup()).map_err(|error| {
        Error::new(Kind::Retry, SqlState::IO, "could not listen for signals").with_detail(error.to_string())
    })?;
    let tls = door.tls.clone();
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            match tls.as_ref().map(Tls::reload) {
                None => say("SIGHUP: there are no certificates to read again"),
                Some(Ok(())) => say("the certificates were read again"),
                Some(Err(error)) => say(&format!("the certificates stay as they were: {error}")),
            }
        }
    })))
}

fn announce(engine: &Engine, listeners: &Listeners, door: &Door) -> Result<()> {
    let [http, flight, pg] = listeners.addresses()?;
    match engine.is_ephemeral() {
        true => say("a temporary data directory, gone with the server: keep one with --data DIR"),
        false => say(&format!("data directory {}", engine.data_dir().display())),
    }
    let is_open = [http, flight, pg].iter().any(|address| !address.ip().is_loopback());
    say(match (door.demands_login(engine), is_open) {
        (true, _) => "login by password or token",
        (false, true) => "no login: whoever reaches this port may do everything",
        (false, false) => "no login: for programs of this machine only",
    });
    let (http_scheme, flight_scheme, mode) = match &door.tls {
        Some(_) => ("https", "grpc+tls", "?sslmode=require"),
        None => ("http", "grpc", ""),
    };
    say(&format!("HTTP on {http_scheme}://{http}"));
    say(&format!("Flight SQL on {flight_scheme}://{flight}"));
    say(&format!("PostgreSQL protocol on postgresql://{pg}/polder{mode}"));
    say("ready");
    Ok(())
}

/// Standard error may be closed; the server goes on.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

//! `polder serve`: the engine for clients elsewhere.

use crate::cli::limits::Limits;
use crate::cli::{EngineArguments, Interrupt};
use crate::engine::{Engine, EngineBuilder};
use crate::server::{FlightOptions, HttpOptions, PgOptions, Shutdown, serve_flight, serve_http, serve_pgwire};
use polder_catalog::{Error, Kind, Result, SqlState};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::{TcpListener, lookup_host};
use tokio::runtime::{Handle, Runtime};

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
    /// Serves beyond loopback although nobody has to log in: whoever reaches the port may do everything.
    #[arg(long)]
    without_login: bool,
    /// How long statements may go on after SIGTERM or Ctrl-C, in seconds. A second signal ends the program at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u64,
}

/// Opens the engine, serves until a signal, closes.
pub(super) fn run(runtime: &Runtime, builder: EngineBuilder, arguments: &Arguments) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let connections = start_connections()?;
    // First the ports: a wrong address should not have opened anything.
    let listeners = connections.block_on(Listeners::bind(arguments))?;
    // Files of this machine are for who sits at it.
    let engine =
        runtime.block_on(arguments.limits.apply(arguments.engine.apply(builder)?)?.allow_local_files(false).open())?;
    let serving = serve(engine, listeners, arguments, &interrupt, runtime.handle().clone());
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
        let http = bind("--http", &arguments.http, arguments.without_login).await?;
        let flight = bind("--flight", &arguments.flight, arguments.without_login).await?;
        let pg = bind("--pg", &arguments.pg, arguments.without_login).await?;
        Ok(Self { http, flight, pg })
    }
}

/// # Errors
/// 28000 for an address beyond loopback, unless that was asked for.
async fn bind(option: &str, address: &str, without_login: bool) -> Result<TcpListener> {
    let failed = |error: io::Error| {
        Error::new(Kind::Fix, SqlState::IO, format!("could not listen on {address}"))
            .with_detail(error.to_string())
            .with_hint(format!("choose another address with {option}"))
    };
    let addresses: Vec<SocketAddr> = lookup_host(address).await.map_err(failed)?.collect();
    if !without_login && addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(Error::fix(SqlState::LOGIN, format!("{address} can be reached from other machines"))
            .with_detail("there are no users yet who could log in, and no TLS")
            .with_hint("listen on 127.0.0.1, or say --without-login if the network keeps others out"));
    }
    TcpListener::bind(&addresses[..]).await.map_err(failed)
}

async fn serve(
    engine: Engine,
    listeners: Listeners,
    arguments: &Arguments,
    interrupt: &Interrupt,
    workers: Handle,
) -> Result<()> {
    announce(&engine, &listeners, arguments.without_login)?;
    let shutdown = Shutdown::default();
    let Listeners { http, flight, pg } = listeners;
    let connections = engine.connections_max();
    let of_http = HttpOptions { connections, ..HttpOptions::default() };
    let of_flight = FlightOptions { connections, ..FlightOptions::default() };
    let of_pg = PgOptions { connections, ..PgOptions::default() };
    let http = serve_http(http, engine.clone(), of_http, shutdown.clone(), workers.clone());
    let flight = serve_flight(flight, engine.clone(), of_flight, shutdown.clone(), workers.clone());
    let pg = serve_pgwire(pg, engine.clone(), of_pg, shutdown.clone(), workers);
    let mut serving = tokio::spawn(async { tokio::try_join!(http, flight, pg).map(|_| ()) });
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = interrupt.next() => {
            say("shutting down; statements that run may finish");
            shutdown.drain();
            match tokio::time::timeout(Duration::from_secs(arguments.grace), &mut serving).await {
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

fn announce(engine: &Engine, listeners: &Listeners, without_login: bool) -> Result<()> {
    let address = |listener: &TcpListener| {
        listener.local_addr().map_err(|error| {
            Error::new(Kind::Retry, SqlState::IO, "the listener has no address").with_detail(error.to_string())
        })
    };
    let (http, flight, pg) = (address(&listeners.http)?, address(&listeners.flight)?, address(&listeners.pg)?);
    let is_open = [http, flight, pg].iter().any(|address| !address.ip().is_loopback());
    match engine.is_ephemeral() {
        true => say("a temporary data directory, gone with the server: keep one with --data DIR"),
        false => say(&format!("data directory {}", engine.data_dir().display())),
    }
    match without_login && is_open {
        true => say("no login: whoever reaches this port may do everything"),
        false => say("no login: for programs of this machine only"),
    }
    say(&format!("HTTP on http://{http}"));
    say(&format!("Flight SQL on grpc://{flight}"));
    say(&format!("PostgreSQL protocol on postgresql://{pg}/polder"));
    say("ready");
    Ok(())
}

/// Standard error may be closed; the server goes on.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

//! Servers: how clients elsewhere reach an engine. Each is a client of [`Session`](crate::Session), like the shell.

mod flight;
mod http;
mod login;
mod pgwire;
mod reading;
mod shutdown;
mod tls;
mod views;

pub(crate) use flight::{FlightOptions, serve as serve_flight};
pub(crate) use http::{HttpOptions, serve as serve_http};
pub(crate) use login::Door;
pub(crate) use pgwire::{PgOptions, serve as serve_pgwire};
pub(crate) use shutdown::Shutdown;
pub(crate) use tls::{Tls, TlsFiles};

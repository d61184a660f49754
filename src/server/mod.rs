//! Servers: how clients elsewhere reach an engine. Each is a client of [`Session`](crate::Session), like the shell.

mod http;
mod shutdown;

pub(crate) use http::{HttpOptions, serve as serve_http};
pub(crate) use shutdown::Shutdown;

//! `polder serve` in a process of its own, on free ports of this machine.

use crate::Result;
use crate::arguments::Settings;
use crate::program::program;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tokio_postgres::{Client, NoTls};
use tonic::transport::Channel;

/// A running server; dropping it ends it.
pub(crate) struct Served {
    child: Child,
    flight: String,
    pg: String,
}

impl Served {
    /// Serves a data directory.
    pub(crate) fn start(settings: &Settings, data: &Path) -> Result<Self> {
        let mut command = Command::new(program(settings)?);
        command.args(["serve", "--http", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--pg", "127.0.0.1:0", "--data"]);
        // What is measured lies wherever it was made.
        command.arg(data).args(["--allow-location", "/"]);
        command.env_remove("POLDER_CONFIG").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut said = BufReader::new(child.stderr.take().ok_or("the server has no standard error")?);
        let mut served = Self { child, flight: String::new(), pg: String::new() };
        let mut line = String::new();
        loop {
            line.clear();
            if said.read_line(&mut line)? == 0 {
                return Err(format!("the server ended: {}", served.child.wait()?).into());
            }
            let address = line.trim().rsplit_once(" on ").map(|(_, address)| address.to_string());
            match (line.trim(), address) {
                ("ready", _) => break,
                (line, Some(address)) if line.starts_with("Flight SQL on ") => served.flight = address,
                (line, Some(address)) if line.starts_with("PostgreSQL protocol on ") => served.pg = address,
                _ => {}
            }
        }
        // What it has to say later goes where our own errors go.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::stderr()));
        Ok(served)
    }

    /// `grpc://127.0.0.1:PORT`.
    pub(crate) fn flight_url(&self) -> &str {
        &self.flight
    }

    /// `postgresql://127.0.0.1:PORT/polder`.
    pub(crate) fn pg_url(&self) -> &str {
        &self.pg
    }

    pub(crate) async fn channel(&self) -> Result<Channel> {
        let address = self.flight.replacen("grpc", "http", 1);
        Ok(Channel::from_shared(address)?.tcp_nodelay(true).connect().await?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One client of a server that speaks PostgreSQL's protocol. It ends with the value.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let url = if url.contains('@') { url.to_string() } else { url.replacen("://", "://polder@", 1) };
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

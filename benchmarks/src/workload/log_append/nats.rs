//! NATS JetStream: a server of its own with a stream on the disk that syncs every message.

mod client;

use super::{BYTES, assert_held};
use crate::Result;
use crate::measure::Stretch;
use client::Client;
use futures::future::try_join_all;
use polder_testing::free_port;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const STREAM: &str = r#"{"name":"records","subjects":["records"],"storage":"file"}"#;
/// How long a server may take until it listens.
const START_MAX: Duration = Duration::from_secs(10);

pub(super) struct Nats {
    server: Child,
    port: u16,
    version: String,
    acknowledged: AtomicU64,
}

impl Nats {
    pub(super) async fn start(program: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let (port, configuration) = (free_port(), folder.join("nats.conf"));
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\", sync_interval: always }}\n",
            folder.display()
        );
        fs::write(&configuration, text)?;
        let mut server = Command::new(program);
        server.arg("--config").arg(&configuration).arg("--log").arg(folder.join("log"));
        let server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // From here on, whatever fails also ends the server.
        let mut nats = Self { server, port, version: String::new(), acknowledged: AtomicU64::new(0) };
        let mut client = nats.connect_to_new().await?;
        nats.version = client.info["version"].as_str().unwrap_or("of unknown version").to_string();
        client.request("$JS.API.STREAM.CREATE.records", STREAM.as_bytes()).await?;
        Ok(nats)
    }

    pub(super) fn describe(&self) -> String {
        format!("NATS {} JetStream (file storage, sync_interval: always)", self.version)
    }

    /// As many connections as appends in flight, each with one of them.
    pub(super) async fn publish(&self, in_flight: usize, stretch: Duration) -> Result<Stretch> {
        let clients = try_join_all((0..in_flight).map(|number| Client::connect(self.port, number))).await?;
        let start = Instant::now();
        let clients = clients.into_iter().map(|client| tokio::spawn(publish(client, start + stretch)));
        let mut waits = Vec::new();
        for client in try_join_all(clients).await? {
            waits.extend(client?);
        }
        self.acknowledged.fetch_add(waits.len() as u64, Ordering::Relaxed);
        Ok(Stretch::of(start.elapsed(), waits))
    }

    pub(super) async fn check(&self) -> Result<()> {
        let mut client = Client::connect(self.port, 0).await?;
        let info = client.request("$JS.API.STREAM.INFO.records", b"").await?;
        let held = info["state"]["messages"].as_u64().ok_or("NATS does not tell how many messages it holds")?;
        assert_held("NATS", self.acknowledged.load(Ordering::Relaxed), held)
    }

    /// Waits for the server to listen, and for JetStream to be ready.
    async fn connect_to_new(&self) -> Result<Client> {
        let start = Instant::now();
        loop {
            match self.connect_if_ready().await {
                Err(error) if start.elapsed() > START_MAX => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                ready => return ready,
            }
        }
    }

    async fn connect_if_ready(&self) -> Result<Client> {
        let mut client = Client::connect(self.port, 0).await?;
        tokio::time::timeout(Duration::from_secs(1), client.request("$JS.API.INFO", b"")).await??;
        Ok(client)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Publishes and waits for the acknowledgement, again and again.
async fn publish(mut client: Client, until: Instant) -> Result<Vec<Duration>> {
    let payload = vec![b'x'; BYTES];
    let mut waits = Vec::new();
    while Instant::now() < until {
        let one = Instant::now();
        client.request("records", &payload).await?;
        waits.push(one.elapsed());
    }
    Ok(waits)
}

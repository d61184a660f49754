//! NATS JetStream: a server of its own with a stream on the disk that syncs every message.

use super::{BYTES, Stretch, assert_held};
use crate::Result;
use async_nats::jetstream::{self, Context};
use futures::future::try_join_all;
use polder_testing::free_port;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const STREAM: &str = "records";
/// How long a server may take until it listens.
const START_MAX: Duration = Duration::from_secs(10);

pub(super) struct Nats {
    server: Child,
    context: Context,
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
        let mut server = Running(Some(server));
        let client = connect(port).await?;
        let version = client.server_info().version;
        let context = jetstream::new(client);
        let stream = jetstream::stream::Config {
            name: STREAM.to_string(),
            subjects: vec![STREAM.to_string()],
            storage: jetstream::stream::StorageType::File,
            ..Default::default()
        };
        context.create_stream(stream).await?;
        let server = server.0.take().ok_or("the server is gone")?;
        Ok(Self { server, context, version, acknowledged: AtomicU64::new(0) })
    }

    pub(super) fn describe(&self) -> String {
        format!("NATS {} JetStream (file storage, sync_interval: always)", self.version)
    }

    pub(super) async fn publish(&self, in_flight: usize, stretch: Duration) -> Result<Stretch> {
        let start = Instant::now();
        let clients = (0..in_flight).map(|_| {
            let context = self.context.clone();
            tokio::spawn(async move { client(&context, start + stretch).await })
        });
        let mut waits = Vec::new();
        for client in try_join_all(clients).await? {
            waits.extend(client?);
        }
        self.acknowledged.fetch_add(waits.len() as u64, Ordering::Relaxed);
        Ok(Stretch::of(start.elapsed(), waits))
    }

    pub(super) async fn check(&self) -> Result<()> {
        let held = self.context.get_stream(STREAM).await?.get_info().await?.state.messages;
        assert_held("NATS", self.acknowledged.load(Ordering::Relaxed), held)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        end(&mut self.server);
    }
}

/// A server that is not wanted any more if something else fails.
struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(end);
    }
}

fn end(server: &mut Child) {
    let _ = server.kill();
    let _ = server.wait();
}

async fn connect(port: u16) -> Result<async_nats::Client> {
    let start = Instant::now();
    loop {
        match async_nats::connect(format!("127.0.0.1:{port}")).await {
            Ok(client) => return Ok(client),
            Err(error) if start.elapsed() > START_MAX => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Publishes and waits for the acknowledgement, again and again.
async fn client(context: &Context, until: Instant) -> Result<Vec<Duration>> {
    let mut waits = Vec::new();
    while Instant::now() < until {
        let one = Instant::now();
        context.publish(STREAM, vec![b'x'; BYTES].into()).await?.await?;
        waits.push(one.elapsed());
    }
    Ok(waits)
}

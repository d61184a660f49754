//! As much of the NATS client protocol as requests take: one connection, one request at a time. The acknowledgement of
//! JetStream is the answer to a request. The full client would bring other features of what all of us is built with.

use crate::Result;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

pub(super) struct Client {
    stream: BufReader<TcpStream>,
    /// The server's first line, which tells its version.
    pub(super) info: serde_json::Value,
    /// Where the answers to this connection go.
    inbox: String,
    line: String,
}

impl Client {
    /// Connects as the client of this number, which no other has.
    pub(super) async fn connect(port: u16, number: usize) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let inbox = format!("_INBOX.polder.{number}");
        let (stream, info, line) = (BufReader::new(stream), serde_json::Value::Null, String::new());
        let mut client = Self { stream, info, inbox, line };
        client.next_line().await?;
        let info = client.line.strip_prefix("INFO ").ok_or("NATS did not begin with INFO")?;
        client.info = serde_json::from_str(info)?;
        let hello = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {} 1\r\n", client.inbox);
        client.send(hello.as_bytes()).await?;
        Ok(client)
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn request(&mut self, subject: &str, payload: &[u8]) -> Result<serde_json::Value> {
        let mut request = format!("PUB {subject} {} {}\r\n", self.inbox, payload.len()).into_bytes();
        request.extend_from_slice(payload);
        request.extend_from_slice(b"\r\n");
        self.send(&request).await?;
        let answer: serde_json::Value = serde_json::from_slice(&self.answer().await?)?;
        match answer.get("error") {
            Some(error) => Err(format!("NATS refused a request to {subject}: {error}").into()),
            None => Ok(answer),
        }
    }

    async fn answer(&mut self) -> Result<Vec<u8>> {
        loop {
            self.next_line().await?;
            if self.line.starts_with("PING") {
                self.send(b"PONG\r\n").await?;
            } else if let Some(message) = self.line.strip_prefix("MSG ") {
                let bytes: usize = message.rsplit(' ').next().unwrap_or_default().parse()?;
                let mut payload = vec![0; bytes + 2];
                self.stream.read_exact(&mut payload).await?;
                payload.truncate(bytes);
                return Ok(payload);
            } else if self.line.starts_with("-ERR") {
                return Err(format!("NATS says {}", self.line).into());
            }
        }
    }

    async fn next_line(&mut self) -> Result<()> {
        self.line.clear();
        if self.stream.read_line(&mut self.line).await? == 0 {
            return Err("NATS closed the connection".into());
        }
        self.line.truncate(self.line.trim_end().len());
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes).await?)
    }
}

//! Messages over a connection.

use super::super::broken_off;
use super::super::dial::Stream;
use super::{error, unreadable};
use bytes::BytesMut;
use polder_catalog::Result;
use postgres_protocol::message::backend::{Header, Message};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A connection, and what was read ahead.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    read: BytesMut,
    write: BytesMut,
    /// What a cancel request names.
    pub(super) process: i32,
    pub(super) secret: i32,
}

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        let (read, write) = (BytesMut::with_capacity(READ_BYTES), BytesMut::new());
        Self { stream, read, write, process: 0, secret: 0 }
    }

    /// Sends what is written.
    pub(super) async fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<()> {
        self.write.clear();
        write(&mut self.write).map_err(unreadable)?;
        self.stream.write_all(&self.write).await.map_err(broken_off)?;
        self.stream.flush().await.map_err(broken_off)
    }

    /// The next message. Cancel-safe.
    pub(super) async fn message(&mut self) -> Result<Message> {
        loop {
            if let Some(message) = Message::parse(&mut self.read).map_err(unreadable)? {
                return Ok(message);
            }
            self.read.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.read).await.map_err(broken_off)? == 0 {
                return Err(broken_off("the connection was closed"));
            }
        }
    }

    /// Whether a whole message has come already.
    pub(super) fn has_message(&self) -> bool {
        let header = Header::parse(&self.read).ok().flatten();
        header.is_some_and(|header| usize::try_from(header.len()).is_ok_and(|len| self.read.len() > len))
    }

    /// Passes over what comes, up to the end of the statement.
    pub(super) async fn ready(&mut self) -> Result<()> {
        loop {
            if let Message::ReadyForQuery(_) = self.message().await? {
                return Ok(());
            }
        }
    }

    /// The next message, or the error that the server tells instead.
    pub(super) async fn granted(&mut self) -> Result<Message> {
        loop {
            match self.message().await? {
                Message::ErrorResponse(told) => return Err(error(told.fields()).map_err(unreadable)?),
                Message::NoticeResponse(_) => {}
                message => return Ok(message),
            }
        }
    }
}

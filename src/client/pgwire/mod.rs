//! PostgreSQL's protocol: one connection for all statements, made when the first one comes and anew when it was lost.
//!
//! Statements go by the simple protocol, whose answers have the tag and whose values are texts; they are read back into the
//! types that the server told.

mod startup;
mod types;
mod wire;

use super::login::Login;
use super::target::Target;
use super::{Answer, Client, Copying, Results, told};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use fallible_iterator::FallibleIterator;
use polder_catalog::{Error, Result, SqlState};
use postgres_protocol::message::backend::{ErrorFields, Message};
use postgres_protocol::message::frontend;
use startup::Dialer;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use types::Columns;
use wire::Wire;

pub(super) struct Postgres {
    dialer: Arc<Dialer>,
    wire: Arc<Mutex<Option<Wire>>>,
}

impl Postgres {
    pub(super) fn new(target: Target, login: Login) -> Result<Self> {
        Ok(Self { dialer: Arc::new(Dialer::new(target, login)?), wire: Arc::default() })
    }
}

#[async_trait]
impl Client for Postgres {
    async fn run(&self, sql: &str) -> Result<Answer> {
        let mut wire = Arc::clone(&self.wire).lock_owned().await;
        if wire.is_none() {
            *wire = Some(self.dialer.open().await?);
        }
        let mut running = Running { wire: Some(wire), dialer: Arc::clone(&self.dialer), notices: Vec::new() };
        running.send(|out| frontend::query(sql, out)).await?;
        let tag = match running.message().await? {
            Message::RowDescription(columns) => {
                let columns = Columns::new(&columns).map_err(unreadable)?;
                return Ok(Answer::Rows(Box::new(Rows { running: Some(running), columns, notices: Vec::new() })));
            }
            Message::CopyInResponse(_) => return Ok(Answer::CopyIn(Box::new(Copy(running)))),
            Message::CommandComplete(tag) => tag.tag().map_err(unreadable)?.to_string(),
            Message::EmptyQueryResponse => String::new(),
            _ => return Err(running.out_of_step()),
        };
        Ok(Answer::Done { tag, notices: running.end().await? })
    }
}

/// A statement that runs. Dropped before its end it is cancelled, and whoever comes next waits until the server has said so.
struct Running {
    /// None once it has ended.
    wire: Option<OwnedMutexGuard<Option<Wire>>>,
    dialer: Arc<Dialer>,
    notices: Vec<String>,
}

impl Running {
    fn wire(&mut self) -> Result<&mut Wire> {
        self.wire.as_mut().and_then(|held| held.as_mut()).ok_or_else(|| Error::report("the statement has ended"))
    }

    async fn send(&mut self, write: impl FnOnce(&mut bytes::BytesMut) -> std::io::Result<()>) -> Result<()> {
        let sent = self.wire()?.send(write).await;
        sent.inspect_err(|_| self.lose())
    }

    /// The next message that is about the statement. An error of the server's is the statement's, and its end.
    async fn message(&mut self) -> Result<Message> {
        loop {
            let message = self.wire()?.message().await;
            match message.inspect_err(|_| self.lose())? {
                Message::NoticeResponse(notice) => {
                    self.notices.push(error(notice.fields()).map_err(unreadable)?.message().to_string());
                }
                Message::ParameterStatus(_) | Message::NotificationResponse(_) => {}
                Message::ErrorResponse(told) => {
                    let error = error(told.fields()).map_err(unreadable)?;
                    if self.ready().await.is_err() {
                        // The server said why, and left.
                        self.lose();
                    }
                    return Err(error);
                }
                message => return Ok(message),
            }
        }
    }

    /// Waits for the end of the statement.
    async fn end(mut self) -> Result<Vec<String>> {
        match self.message().await? {
            Message::ReadyForQuery(_) => {
                self.wire = None;
                Ok(std::mem::take(&mut self.notices))
            }
            _ => Err(self.out_of_step()),
        }
    }

    /// Passes over what comes up to the end of the statement.
    async fn ready(&mut self) -> Result<()> {
        self.wire()?.ready().await?;
        self.wire = None;
        Ok(())
    }

    /// There is no connection any more.
    fn lose(&mut self) {
        if let Some(mut wire) = self.wire.take() {
            *wire = None;
        }
    }

    fn out_of_step(&mut self) -> Error {
        self.lose();
        unreadable("a message came that has no place here")
    }
}

/// How long a server may take to end what was cancelled, before its connection is given up.
const CANCEL_TIME: Duration = Duration::from_secs(10);

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut held) = self.wire.take() else { return };
        let Ok(runtime) = Handle::try_current() else {
            *held = None;
            return;
        };
        let dialer = Arc::clone(&self.dialer);
        runtime.spawn(async move {
            let Some(mut wire) = held.take() else { return };
            let cancelling = async {
                dialer.cancel(wire.process, wire.secret).await?;
                wire.ready().await
            };
            if matches!(tokio::time::timeout(CANCEL_TIME, cancelling).await, Ok(Ok(()))) {
                *held = Some(wire);
            }
        });
    }
}

struct Rows {
    /// None after the last.
    running: Option<Running>,
    columns: Columns,
    notices: Vec<String>,
}

/// Rows that make a batch at most; fewer if the server has sent no more yet.
const BATCH_ROWS: usize = 8192;

#[async_trait]
impl Results for Rows {
    fn schema(&self) -> SchemaRef {
        self.columns.schema()
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(running) = &mut self.running else { return Ok(None) };
        let mut rows = Vec::new();
        let is_over = loop {
            match running.message().await? {
                Message::DataRow(row) => rows.push(row),
                Message::CommandComplete(_) => break true,
                _ => return Err(running.out_of_step()),
            }
            if rows.len() >= BATCH_ROWS || !running.wire()?.has_message() {
                break false;
            }
        };
        if is_over && let Some(running) = self.running.take() {
            self.notices = running.end().await?;
        }
        if rows.is_empty() {
            return Ok(None);
        }
        self.columns.batch(&rows).map(Some)
    }

    fn notices(&self) -> Vec<String> {
        self.notices.clone()
    }
}

struct Copy(Running);

#[async_trait]
impl Copying for Copy {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.0.send(|out| frontend::CopyData::new(piece).map(|data| data.write(out))).await
    }

    async fn finish(self: Box<Self>) -> Result<String> {
        let Self(mut running) = *self;
        running
            .send(|out| {
                frontend::copy_done(out);
                Ok(())
            })
            .await?;
        let Message::CommandComplete(tag) = running.message().await? else { return Err(running.out_of_step()) };
        let tag = tag.tag().map_err(unreadable)?.to_string();
        running.end().await?;
        Ok(tag)
    }
}

/// What the server says is wrong (PostgreSQL's documentation, 55.8).
fn error(mut fields: ErrorFields<'_>) -> std::io::Result<Error> {
    let (mut state, mut message, mut detail, mut hint) = (None, String::new(), None, None);
    while let Some(field) = fields.next()? {
        let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => state = Some(text()),
            b'M' => message = text(),
            b'D' => detail = Some(text()),
            b'H' => hint = Some(text()),
            _ => {}
        }
    }
    Ok(told(state.as_deref(), &message, detail.as_deref(), hint.as_deref()))
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::fix(SqlState::PROTOCOL, "the server's answer cannot be read").with_detail(error.to_string())
}

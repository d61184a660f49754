//! A connection after its start: messages in, answers out, and what is heard while a statement runs.

use super::Server;
use super::cancel::Registered;
use super::extended::{Portal, Stored};
use super::message::{Broken, Codec, Formats, Message, violation};
use super::notice::{self, Severity};
use super::startup;
use super::types::{RowWriter, description, fields};
use crate::activity::Protocol;
use crate::server::reading::Reading;
use crate::server::tls::Stream;
use crate::session::{Notices, Outcome, Prepared, REPORTED, Session, TransactionStatus, reported_name};
use crate::sql::split::Splitter;
use datafusion::scalar::ScalarValue;
use futures::{SinkExt, StreamExt};
use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::data::DataRow;
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus as ReadyStatus,
};
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey};
use polder_catalog::{Error, Position, Result, SqlState};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub(super) type Wire = Framed<Stream, Codec>;

/// Bytes that are gathered before they are sent.
const GATHERED: usize = 64 << 10;

/// The parameter that tells what the session has read and written.
const POSITION: &str = "polder_position";

/// One client.
pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) server: Server,
    pub(super) session: Arc<Session>,
    registered: Registered,
    /// What came while a statement ran.
    pub(super) next: Option<Message>,
    pub(super) statements: HashMap<String, Arc<Stored>>,
    pub(super) portals: HashMap<String, Portal>,
    /// After an error in the extended protocol, until the client synchronizes.
    skips: bool,
    /// What the client was told last.
    position: Position,
}

/// Why a step did not go as asked.
pub(super) enum Failed {
    /// The statement has failed; the connection goes on.
    Statement(Error),
    /// The client is told, and the connection ends.
    Fatal(Error),
    /// There is nobody to tell.
    Gone,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error.state() {
            SqlState::SHUTDOWN | SqlState::PROTOCOL => Self::Fatal(error),
            _ => Self::Statement(error),
        }
    }
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Gone(_) => Self::Gone,
            Broken::Protocol(error) => Self::Fatal(error),
        }
    }
}

impl Connection {
    pub(super) fn open(mut wire: Wire, server: Server, user: Arc<str>) -> Self {
        wire.set_backpressure_boundary(GATHERED);
        let session = Arc::new(Session::served(server.engine.clone(), user, Protocol::Pgwire));
        let registered = server.cancels.register();
        Self {
            wire,
            server,
            session,
            registered,
            next: None,
            statements: HashMap::new(),
            portals: HashMap::new(),
            skips: false,
            position: Position::default(),
        }
    }

    /// Serves it to its end.
    pub(super) async fn serve(mut self, parameters: &BTreeMap<String, String>) {
        let ended = match self.greet(parameters).await {
            // A connection that cannot begin does not go on.
            Err(Failed::Statement(error)) => Err(Failed::Fatal(error)),
            Err(failed) => Err(failed),
            Ok(()) => self.converse().await,
        };
        if let Err(Failed::Fatal(error)) = ended {
            let _ = self.send(Reply::ErrorResponse(notice::error(&error, Severity::Fatal))).await;
            let _ = self.flush().await;
        }
    }

    async fn greet(&mut self, parameters: &BTreeMap<String, String>) -> Result<(), Failed> {
        for (name, value) in startup::settings(parameters)? {
            self.session.change_settings(|settings| settings.set(&name, &value))?;
        }
        self.send(Reply::Authentication(Authentication::Ok)).await?;
        for name in REPORTED {
            let value = self.session.settings().value(name);
            self.tell(reported_name(name), value).await?;
        }
        let secret_key = SecretKey::I32(self.registered.secret);
        self.send(Reply::BackendKeyData(BackendKeyData::new(self.registered.process, secret_key))).await?;
        self.ready().await
    }

    /// Messages, until there are no more.
    async fn converse(&mut self) -> Result<(), Failed> {
        while let Some(message) = self.message().await? {
            if message == Message::Terminate {
                return Ok(());
            }
            match self.answer(message).await {
                Ok(()) => {}
                Err(Failed::Statement(error)) => {
                    self.send(Reply::ErrorResponse(notice::error(&error, Severity::Error))).await?;
                    self.skips = true;
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok(())
    }

    async fn answer(&mut self, message: Message) -> Result<(), Failed> {
        match message {
            Message::Sync => {
                self.skips = false;
                if self.session.transaction_status() == TransactionStatus::Idle {
                    self.portals.clear();
                }
                self.ready().await
            }
            _ if self.skips => Ok(()),
            Message::Query(text) => self.query(&text).await,
            Message::Parse { name, sql, types } => self.parse(name, sql, types).await,
            Message::Bind(bind) => self.bind(bind).await,
            Message::Describe(named) => self.describe(&named).await,
            Message::Execute { portal, rows } => self.execute(&portal, rows).await,
            Message::Close(named) => self.close(&named).await,
            Message::Flush => self.flush().await,
            // What a client sends of a COPY that has failed already.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
            other => Err(Failed::Fatal(violation(format!("{other:?} has no place here")))),
        }
    }

    /// The simple protocol: statements one after the other, up to one that fails.
    async fn query(&mut self, text: &str) -> Result<(), Failed> {
        self.portals.remove("");
        let statements = split(text);
        if statements.is_empty() {
            self.send(Reply::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for sql in statements {
            match self.statement(&sql).await {
                Ok(()) => {}
                Err(Failed::Statement(error)) => {
                    self.send(Reply::ErrorResponse(notice::error(&error, Severity::Error))).await?;
                    break;
                }
                Err(failed) => return Err(failed),
            }
        }
        self.ready().await
    }

    async fn statement(&mut self, sql: &str) -> Result<(), Failed> {
        let prepared = Arc::new(self.session.prepare(sql).map_err(|error| self.session.failed(error))?);
        let cancel = self.registered.begin();
        match self.run(&prepared, Vec::new(), &cancel).await? {
            Outcome::Done(tag) => self.complete(tag).await,
            Outcome::CopyIn(copy) => self.copy_in(copy, &cancel).await,
            Outcome::Rows(rows) => {
                let notices = rows.notices();
                let columns = fields(&rows.schema(), &Formats::default());
                self.send(Reply::RowDescription(description(&rows.schema(), &columns))).await?;
                let mut writer = RowWriter::new(columns);
                let write = move |batch: &_| writer.rows(batch);
                let mut reading = Reading::start(rows, &self.server.shutdown, &self.server.workers, write);
                let mut count = 0;
                while let Some(rows) = self.piece(&mut reading, &cancel).await? {
                    count += rows.len() as u64;
                    self.rows(rows).await?;
                }
                self.told(&notices).await?;
                self.complete(prepared.tag(count)).await
            }
        }
    }

    /// Runs a statement in a task of its own: one that computes without giving way does not hold up what its client is told.
    pub(super) async fn run(
        &mut self,
        prepared: &Arc<Prepared>,
        values: Vec<ScalarValue>,
        cancel: &CancellationToken,
    ) -> Result<Outcome, Failed> {
        let (session, prepared) = (Arc::clone(&self.session), Arc::clone(prepared));
        let begun = session.begin(&prepared);
        let killed = begun.killed();
        let running = self.server.workers.spawn(async move { session.run_begun(begun, &prepared, &values).await });
        let running = AbortOnDropHandle::new(running);
        let ended = async {
            tokio::select! {
                biased;
                error = killed.heard() => Ok(Err(error)),
                outcome = running => outcome,
            }
        };
        let outcome = self.hearing(ended, cancel).await?;
        Ok(outcome.map_err(|error| Error::report("the statement ended in a panic").with_source(error))??)
    }

    /// The next rows of a result.
    pub(super) async fn piece(
        &mut self,
        reading: &mut Reading<Vec<DataRow>>,
        cancel: &CancellationToken,
    ) -> Result<Option<Vec<DataRow>>, Failed> {
        match self.hearing(reading.next(), cancel).await {
            Ok(piece) => Ok(piece.map_err(|error| self.session.failed(error))?),
            Err(Failed::Statement(error)) => Err(Failed::Statement(self.session.failed(error))),
            Err(failed) => Err(failed),
        }
    }

    /// Waits for something, unless it is cancelled, the server ends, or the client leaves.
    pub(super) async fn hearing<T>(
        &mut self,
        work: impl Future<Output = T>,
        cancel: &CancellationToken,
    ) -> Result<T, Failed> {
        let shutdown = self.server.shutdown.clone();
        tokio::pin!(work);
        // What the client has been sent so far must not wait for this.
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Failed::Statement(Error::cancelled())),
                error = shutdown.stopped() => return Err(Failed::Fatal(error)),
                done = &mut work => return Ok(done),
                message = self.wire.next(), if self.next.is_none() => match message.transpose()? {
                    Some(message) => self.next = Some(message),
                    None => return Err(Failed::Gone),
                },
            }
        }
    }

    /// The next message; None when the client is gone. While none comes, the end of the server and of patience are heard.
    async fn message(&mut self) -> Result<Option<Message>, Failed> {
        if let Some(message) = self.next.take() {
            return Ok(Some(message));
        }
        let idle = async {
            match self.session.settings().idle_in_transaction() {
                Some(time) if self.session.transaction_status() != TransactionStatus::Idle => {
                    tokio::time::sleep(time).await;
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            message = self.wire.next() => Ok(message.transpose()?),
            () = self.server.shutdown.draining() => {
                Err(Failed::Fatal(Error::retry(SqlState::SHUTDOWN, "the server is shutting down")))
            }
            () = idle => {
                let message = "the transaction has waited too long for its next statement";
                Err(Failed::Fatal(Error::retry(SqlState::IDLE_TRANSACTION, message).with_detail("it was rolled back").with_hint("SET idle_in_transaction_session_timeout says how long it may wait")))
            }
        }
    }

    pub(super) async fn rows(&mut self, rows: Vec<DataRow>) -> Result<(), Failed> {
        for row in rows {
            self.send(Reply::DataRow(row)).await?;
        }
        Ok(())
    }

    /// What the user is told beside the rows.
    pub(super) async fn told(&mut self, notices: &Notices) -> Result<(), Failed> {
        for text in notices.told() {
            self.send(Reply::NoticeResponse(notice::notice(&text))).await?;
        }
        Ok(())
    }

    pub(super) async fn complete(&mut self, tag: String) -> Result<(), Failed> {
        self.send(Reply::CommandComplete(CommandComplete::new(tag))).await
    }

    /// Tells how the session stands, and sends all that was gathered.
    async fn ready(&mut self) -> Result<(), Failed> {
        let position = self.session.position();
        if position != self.position {
            let token = position.to_string();
            self.position = position;
            self.tell(POSITION, token).await?;
        }
        let status = match self.session.transaction_status() {
            TransactionStatus::Idle => ReadyStatus::Idle,
            TransactionStatus::Open => ReadyStatus::Transaction,
            TransactionStatus::Failed => ReadyStatus::Error,
        };
        self.send(Reply::ReadyForQuery(ReadyForQuery::new(status))).await?;
        self.flush().await
    }

    async fn tell(&mut self, name: &str, value: String) -> Result<(), Failed> {
        self.send(Reply::ParameterStatus(ParameterStatus::new(name.to_string(), value))).await
    }

    pub(super) async fn send(&mut self, message: Reply) -> Result<(), Failed> {
        let sending = tokio::time::timeout(self.server.options.unread, self.wire.feed(message));
        sending.await.unwrap_or_else(|_| Err(unread())).map_err(Failed::from)
    }

    pub(super) async fn flush(&mut self) -> Result<(), Failed> {
        let sending = tokio::time::timeout(self.server.options.unread, self.wire.flush());
        sending.await.unwrap_or_else(|_| Err(unread())).map_err(Failed::from)
    }

    pub(super) fn begin(&self) -> CancellationToken {
        self.registered.begin()
    }
}

/// The client does not read what it asked for.
fn unread() -> Broken {
    Broken::Gone(std::io::ErrorKind::TimedOut.into())
}

/// The statements of a text.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut splitter = Splitter::new();
    splitter.push(text);
    let mut statements: Vec<_> = std::iter::from_fn(|| splitter.next_statement()).collect();
    statements.extend(splitter.finish());
    statements
}

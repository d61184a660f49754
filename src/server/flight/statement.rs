//! Statements: what their rows will look like, and the tickets that run them.

use super::Server;
use super::answer::Answer;
use super::call::Call;
use super::encode::schema_bytes;
use crate::session::{Description, Outcome, Prepared, Session};
use arrow::datatypes::{DataType, SchemaRef};
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo};
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use polder_catalog::{Error, Result, SqlState};
use prost::Message;
use std::sync::Arc;

/// A statement that runs when its ticket is redeemed.
pub(super) struct Ticket {
    pub(super) session: Arc<Session>,
    pub(super) prepared: Arc<Prepared>,
    pub(super) values: Vec<ScalarValue>,
    /// The columns that were told, once they were.
    columns: Option<SchemaRef>,
}

impl Ticket {
    pub(super) fn new(session: Arc<Session>, prepared: Arc<Prepared>, values: Vec<ScalarValue>) -> Self {
        Self { session, prepared, values, columns: None }
    }

    /// The types of the values: they may decide about those of the columns.
    fn given(&self) -> Vec<Option<DataType>> {
        let given = |value: &ScalarValue| Some(value.data_type()).filter(|given| *given != DataType::Null);
        self.values.iter().map(given).collect()
    }
}

impl Server {
    /// Reads a statement. In a session that ends with the call, what it sets would be lost; in a transaction of Flight's, it
    /// would be in the way of the one who ends it.
    ///
    /// # Errors
    /// 0A000 for a statement about the session, where there is none that is kept; 42601.
    pub(super) fn prepare(&self, call: &Call, transaction: Option<&Bytes>, sql: &str) -> Result<Arc<Prepared>> {
        let prepared = call.session.prepare(sql)?;
        if !prepared.is_about_the_session() || (call.is_kept() && transaction.is_none()) {
            return Ok(Arc::new(prepared));
        }
        let (message, hint) = match transaction {
            Some(_) => ("this transaction has a session of its own", "end it as it was begun, by the driver"),
            None => (
                "each call has a session of its own",
                "log in, with any user and password, for a session of the connection; transactions and session options of \
                 the driver need none",
            ),
        };
        Err(Error::fix(SqlState::NOT_SUPPORTED, message).with_hint(hint))
    }

    pub(super) async fn describe(&self, session: &Arc<Session>, prepared: Arc<Prepared>) -> Result<Description> {
        self.describe_with(session, prepared, Vec::new()).await
    }

    async fn describe_with(
        &self,
        session: &Arc<Session>,
        prepared: Arc<Prepared>,
        given: Vec<Option<DataType>>,
    ) -> Result<Description> {
        let session = Arc::clone(session);
        self.work(async move { session.describe_with(&prepared, &given).await }).await
    }

    pub(super) async fn run(
        &self,
        session: &Arc<Session>,
        prepared: Arc<Prepared>,
        values: Vec<ScalarValue>,
    ) -> Result<Outcome> {
        let session = Arc::clone(session);
        let begun = session.begin(&prepared);
        let killed = begun.killed();
        let run = self.work(async move { session.run_begun(begun, &prepared, &values).await });
        tokio::select! {
            biased;
            error = killed.heard() => Err(error),
            outcome = run => outcome,
        }
    }

    /// A ticket for rows; or what was done, at once, if there are none.
    pub(super) async fn info(
        &self,
        call: &Call,
        mut statement: Ticket,
        bytes: usize,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo> {
        call.runs_in(&statement.session);
        let given = statement.given();
        let described = self.describe_with(&statement.session, Arc::clone(&statement.prepared), given).await?;
        let schema = schema_bytes(described.columns.as_ref())?;
        let info = FlightInfo { schema, ..FlightInfo::new().with_descriptor(descriptor) };
        statement.columns = described.columns;
        if statement.columns.is_some() {
            let statement_handle = self.tickets.put(Arc::new(statement), bytes)?.into();
            let ticket = TicketStatementQuery { statement_handle };
            return Ok(info.with_endpoint(endpoint(&ticket)));
        }
        let outcome = self.run(&statement.session, statement.prepared, statement.values).await?;
        if let Outcome::Done(tag) = &outcome {
            call.has_done(tag);
        }
        Ok(info.with_total_records(self.count(outcome).await?))
    }

    /// Runs the statement of a ticket.
    ///
    /// # Errors
    /// 42704 for one that is unknown, or was redeemed before.
    pub(super) async fn redeem(&self, call: &Call, handle: &[u8]) -> Result<Answer> {
        if self.tickets.get(handle)?.session.user() != call.session.user() {
            return Err(Error::fix(SqlState::PRIVILEGE, "this ticket is another user's"));
        }
        let ticket = self.tickets.take(handle)?;
        call.runs_in(&ticket.session);
        let running = self.running.enter(handle);
        let run = self.run(&ticket.session, Arc::clone(&ticket.prepared), ticket.values.clone());
        let outcome = tokio::select! {
            biased;
            () = running.cancelled() => return Err(Error::cancelled()),
            outcome = run => outcome?,
        };
        match (outcome, &ticket.columns) {
            (Outcome::Rows(rows), Some(told)) => Ok(Answer::start(self, rows, told, running, call.takes_notices)),
            _ => Err(Error::report("a statement with rows has ended without")),
        }
    }

    /// Runs to the end; how many rows were changed, -1 if that is not known.
    pub(super) async fn count(&self, outcome: Outcome) -> Result<i64> {
        match outcome {
            Outcome::Done(tag) => Ok(count(&tag)),
            Outcome::Rows(mut rows) => {
                self.work(async move {
                    let mut count = 0;
                    while let Some(batch) = rows.next().await? {
                        count += batch.num_rows() as i64;
                    }
                    Ok(count)
                })
                .await
            }
            Outcome::CopyIn(_) => {
                let error = Error::fix(SqlState::NOT_SUPPORTED, "COPY ... FROM STDIN has no place in this call");
                Err(error.with_hint("ingest the rows: cursor.adbc_ingest in Python"))
            }
        }
    }
}

/// Where something is had: here.
pub(super) fn endpoint(ticket: &impl ProstMessageExt) -> FlightEndpoint {
    FlightEndpoint::new().with_ticket(arrow_flight::Ticket::new(ticket.as_any().encode_to_vec()))
}

/// How many rows a tag tells of. What defines changes none; what a TRUNCATE or a CALL has changed is not told.
pub(super) fn count(tag: &str) -> i64 {
    let last = tag.rsplit(' ').next().and_then(|count| count.parse().ok());
    match last {
        Some(count) => count,
        None if UNCOUNTED.iter().any(|verb| tag.starts_with(verb)) => -1,
        None => 0,
    }
}

const UNCOUNTED: [&str; 2] = ["TRUNCATE", "CALL"];

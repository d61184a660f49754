//! A contender: one program with one query, ready to be run again and again.

use crate::Result;
use crate::peers::Peer;
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use datafusion::execution::context::SessionContext;
use futures::TryStreamExt;
use polder::{Engine, Outcome, Rows, Session};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::transport::Channel;

/// Who runs, under the name that the report prints.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    task: Task,
}

enum Task {
    /// The engine in this process, as an embedding program would use it.
    Polder { session: Session, sql: String },
    /// Plain DataFusion in this process.
    DataFusion { context: SessionContext, sql: String },
    /// A library in a Python process, which takes the time itself.
    Peer { peer: Arc<Peer>, sql: String },
    /// A server of ours, asked over Flight SQL by Arrow's own client.
    Flight { client: FlightSqlServiceClient<Channel>, sql: String },
    /// A program from its start to its end, its output thrown away.
    Program { program: PathBuf, arguments: Vec<String> },
}

impl Contender {
    pub(crate) fn polder(engine: &Engine, sql: impl Into<String>) -> Self {
        Self { name: "polder", task: Task::Polder { session: engine.session(), sql: sql.into() } }
    }

    /// The same engine under another name, with these settings.
    pub(crate) async fn polder_with(
        name: &'static str,
        engine: &Engine,
        settings: &[&str],
        sql: impl Into<String>,
    ) -> Result<Self> {
        let session = engine.session();
        for setting in settings {
            session.run(setting).await?;
        }
        Ok(Self { name, task: Task::Polder { session, sql: sql.into() } })
    }

    pub(crate) fn data_fusion(name: &'static str, context: &SessionContext, sql: impl Into<String>) -> Self {
        Self { name, task: Task::DataFusion { context: context.clone(), sql: sql.into() } }
    }

    pub(crate) fn peer(name: &'static str, peer: &Arc<Peer>, sql: impl Into<String>) -> Self {
        Self { name, task: Task::Peer { peer: Arc::clone(peer), sql: sql.into() } }
    }

    pub(crate) fn flight(name: &'static str, channel: &Channel, sql: impl Into<String>) -> Self {
        let client = FlightServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        let client = FlightSqlServiceClient::new_from_inner(client);
        Self { name, task: Task::Flight { client, sql: sql.into() } }
    }

    pub(crate) fn program(name: &'static str, program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { name, task: Task::Program { program: program.into(), arguments } }
    }

    /// Runs once, reads every row to the end and keeps none.
    pub(crate) async fn time(&self) -> Result<Duration> {
        let start = Instant::now();
        match &self.task {
            Task::Polder { session, sql } => {
                let mut rows = query(session, sql).await?;
                while let Some(batch) = rows.next().await? {
                    std::hint::black_box(batch);
                }
            }
            Task::DataFusion { context, sql } => {
                let mut rows = context.sql(sql).await?.execute_stream().await?;
                while let Some(batch) = rows.try_next().await? {
                    std::hint::black_box(batch);
                }
            }
            Task::Peer { peer, sql } => return peer.time(sql),
            Task::Flight { client, sql } => {
                let mut rows = asked(client.clone(), sql).await?;
                while let Some(batch) = rows.try_next().await? {
                    std::hint::black_box(batch);
                }
            }
            Task::Program { program, arguments } => run_to_end(Command::new(program).args(arguments))?,
        }
        Ok(start.elapsed())
    }

    /// Runs once, untimed, and keeps the rows. A program has none: its workload compares what it prints.
    pub(crate) async fn rows(&self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        match &self.task {
            Task::Polder { session, sql } => {
                let mut rows = query(session, sql).await?;
                while let Some(batch) = rows.next().await? {
                    batches.push(batch);
                }
            }
            Task::DataFusion { context, sql } => batches = context.sql(sql).await?.collect().await?,
            Task::Peer { peer, sql } => batches = peer.rows(sql)?,
            Task::Flight { client, sql } => batches = asked(client.clone(), sql).await?.try_collect().await?,
            Task::Program { .. } => return Err(format!("{} prints its rows", self.name).into()),
        }
        Ok(batches)
    }
}

/// An engine of its own, in a temporary directory, with these statements done.
pub(crate) async fn engine(statements: &[String]) -> Result<Engine> {
    let engine = Engine::builder().data_dir(None).open().await?;
    for statement in statements {
        engine.session().run(statement).await?;
    }
    Ok(engine)
}

/// Starts a query of ours.
pub(crate) async fn query(session: &Session, sql: &str) -> Result<Rows> {
    match session.run(sql).await? {
        Outcome::Rows(rows) => Ok(rows),
        other => Err(format!("a query returned no rows but {other:?}: {sql}").into()),
    }
}

/// Asks a server of ours; the rows are on their way.
async fn asked(mut client: FlightSqlServiceClient<Channel>, sql: &str) -> Result<FlightRecordBatchStream> {
    let info = client.execute(sql.to_string(), None).await?;
    let ticket = info.endpoint.into_iter().find_map(|endpoint| endpoint.ticket).ok_or("a query without a ticket")?;
    Ok(client.do_get(ticket).await?)
}

fn run_to_end(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}").into()) }
}

//! Flight SQL, by Arrow's own client.

use super::server::Server;
use super::{Answer, told};
use crate::render;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use polder::{Error, Result};
use tonic::Status;
use tonic::transport::Channel;

/// A session of a server of its own.
pub(crate) struct Flight {
    client: FlightSqlServiceClient<Channel>,
    _server: Server,
}

impl Flight {
    pub(crate) async fn connect(locations: &[String]) -> Self {
        let server = Server::start(locations);
        let channel = Channel::from_shared(format!("http://{}", server.flight)).expect("an address").connect().await;
        let client = FlightServiceClient::new(channel.expect("connect")).max_decoding_message_size(usize::MAX);
        let mut client = FlightSqlServiceClient::new_from_inner(client);
        client.handshake("tests", "").await.expect("log in");
        Self { client, _server: server }
    }

    pub(crate) async fn run(&mut self, sql: &str) -> Result<Answer> {
        let info = self.client.execute(sql.to_string(), None).await.map_err(error)?;
        let Some(ticket) = info.endpoint.into_iter().find_map(|endpoint| endpoint.ticket) else {
            return Ok(Answer::Done);
        };
        let mut rows = self.client.do_get(ticket).await.map_err(error)?;
        let mut batches: Vec<RecordBatch> = Vec::new();
        while let Some(batch) = rows.try_next().await.map_err(error)? {
            batches.push(batch);
        }
        let columns = rows.schema().map_or(0, |schema| schema.fields().len());
        Ok(Answer::Rows { columns, rows: render::rows(&batches) })
    }
}

/// The error of a status; the client wraps it in some ways.
fn error(error: FlightError) -> Error {
    match &error {
        FlightError::Tonic(status) => of_status(status),
        FlightError::Arrow(ArrowError::ExternalError(inner)) => match inner.downcast_ref::<Status>() {
            Some(status) => of_status(status),
            None => panic!("{error}"),
        },
        _ => panic!("{error}"),
    }
}

fn of_status(status: &Status) -> Error {
    let state = status.metadata().get("polder-sqlstate").and_then(|state| state.to_str().ok());
    let state = state.unwrap_or_else(|| panic!("an error without SQLSTATE: {status}"));
    let (message, hint) = split(status.message(), "\nhint: ");
    let (message, detail) = split(message, "\ndetail: ");
    told(state, message, detail, hint)
}

fn split<'a>(text: &'a str, label: &str) -> (&'a str, Option<&'a str>) {
    text.rsplit_once(label).map_or((text, None), |(before, after)| (before, Some(after)))
}

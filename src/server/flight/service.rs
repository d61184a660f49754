//! Flight's own calls. What is of Flight SQL goes on to [`Service`]; here is what is the same for all of them.

use super::call::Call;
use super::encode::schema_bytes;
use super::status::{of_client, status};
use super::{Server, prepared};
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::BoxStream;
use polder_catalog::{Error, SqlState};
use prost::Message;
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

/// All calls of Flight.
pub(super) struct Flight(Service);

/// All calls of Flight SQL.
#[derive(Clone)]
pub(super) struct Service(pub(super) Arc<Server>);

impl Flight {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self(Service(server))
    }

    async fn call(&self, metadata: &MetadataMap) -> Result<Call, Status> {
        Call::of(&self.0.0, metadata).await.map_err(status)
    }

    /// The request with its call.
    async fn begin<T>(&self, mut request: Request<T>) -> Result<(Call, Request<T>), Status> {
        let call = self.call(request.metadata()).await?;
        request.extensions_mut().insert(call.clone());
        Ok((call, request))
    }

    /// The schema of what a descriptor would give. Nothing runs for it.
    async fn schema(&self, call: &Call, request: Request<FlightDescriptor>) -> Result<SchemaResult, Status> {
        let server = &self.0.0;
        let described = match command(&request.get_ref().cmd)? {
            Command::CommandStatementQuery(query) => {
                let session = server.session_of(call, query.transaction_id.as_ref()).await.map_err(status)?;
                let prepared = session.prepare(&query.query).map_err(status)?;
                server.describe(&session, Arc::new(prepared)).await.map_err(status)?
            }
            Command::CommandPreparedStatementQuery(query) => {
                prepared::describe(server, call, &query.prepared_statement_handle).await.map_err(status)?
            }
            _ => {
                let info = self.0.get_flight_info(request).await?.into_inner();
                return Ok(SchemaResult { schema: info.schema });
            }
        };
        let schema = schema_bytes(described.columns.as_ref()).map_err(status)?;
        Ok(SchemaResult { schema })
    }
}

fn command(bytes: &[u8]) -> Result<Command, Status> {
    let wrong = |detail: String| {
        status(Error::fix(SqlState::FORMAT, "the descriptor is no command of Flight SQL").with_detail(detail))
    };
    let any = Any::decode(bytes).map_err(|error| wrong(error.to_string()))?;
    Command::try_from(any).map_err(|error| wrong(error.to_string()))
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        self.0.handshake(request).await.map_err(of_client)
    }

    /// Nothing lies ready: what there is is asked for in SQL.
    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Ok(Response::new(Box::pin(futures::stream::empty())))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let (call, request) = self.begin(request).await?;
        self.0.get_flight_info(request).await.map(|info| call.stamp(info)).map_err(of_client)
    }

    /// There is nothing to wait for: a query is planned, and its rows are read while it runs.
    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let info = self.get_flight_info(request).await?;
        Ok(info.map(|info| PollInfo { info: Some(info), progress: Some(1.0), ..PollInfo::default() }))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let (call, request) = self.begin(request).await?;
        self.schema(&call, request).await.map(Response::new).map_err(of_client)
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let (call, request) = self.begin(request).await?;
        self.0.do_get(request).await.map(|rows| call.stamp(rows)).map_err(of_client)
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let (call, request) = self.begin(request).await?;
        self.0.do_put(request).await.map(|results| call.stamp(results)).map_err(of_client)
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let (call, request) = self.begin(request).await?;
        self.0.do_action(request).await.map(|results| call.stamp(results)).map_err(of_client)
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        self.0.list_actions(request).await
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.0.do_exchange(request).await
    }
}

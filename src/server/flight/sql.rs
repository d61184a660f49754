//! Flight SQL, call by call: each is read here, done elsewhere, and its errors become gRPC's.

use super::call::{Call, authorization, new_session};
use super::encode::{exact_schema_bytes, ready, unwritable};
use super::options::{self, SetSessionOptionsRequest};
use super::put::Sent;
use super::service::{Flight, Service};
use super::statement::{Ticket, endpoint};
use super::status::status;
use super::{ingest, keys, listings, prepared};
use crate::server::login::credentials;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder};
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    ActionEndTransactionRequest, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas,
    CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    CommandStatementIngest, CommandStatementQuery, CommandStatementUpdate, DoPutPreparedStatementResult,
    EndTransaction, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse,
};
use futures::stream::BoxStream;
use polder_catalog::{Error, Result, SqlState};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

type Answered<T> = Result<Response<T>, Status>;
type Messages<T> = BoxStream<'static, Result<T, Status>>;

const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";
const SET_OPTIONS: &str = "SetSessionOptions";
const GET_OPTIONS: &str = "GetSessionOptions";
const CLOSE_SESSION: &str = "CloseSession";

/// Where a listing is had, and in which columns.
fn listing(
    command: &impl ProstMessageExt,
    schema: &SchemaRef,
    request: Request<FlightDescriptor>,
) -> Answered<FlightInfo> {
    let schema = exact_schema_bytes(schema).map_err(status)?;
    let info = FlightInfo { schema, ..FlightInfo::new().with_descriptor(request.into_inner()) };
    Ok(Response::new(info.with_endpoint(endpoint(command))))
}

fn batch(batch: Result<RecordBatch>) -> Answered<Messages<FlightData>> {
    batch.map(|batch| Response::new(ready(batch))).map_err(status)
}

fn one<T: Send + 'static>(message: T) -> Answered<Messages<T>> {
    Ok(Response::new(Box::pin(futures::stream::iter([Ok(message)]))))
}

fn decoded<T: Message + Default>(bytes: &[u8]) -> Result<T, Status> {
    T::decode(bytes).map_err(|error| {
        status(Error::fix(SqlState::FORMAT, "the body of the action cannot be read").with_detail(error.to_string()))
    })
}

/// Whether a client sends rows of values behind its command.
async fn has_values(stream: &mut PeekableFlightDataStream) -> bool {
    matches!(stream.peek().await, Some(Ok(first)) if !first.data_header.is_empty())
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Flight;

    /// Nobody has to log in, and whoever does gets a session: whatever comes is taken for a name.
    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Answered<Messages<HandshakeResponse>> {
        let credentials = credentials(authorization(request.metadata())).map_err(status)?;
        let user = self.0.door.user(&self.0.engine, credentials).await.map_err(status)?;
        let session = new_session(&self.0, user, request.metadata()).map_err(status)?;
        let token = self.0.sessions.put(session, 0).map_err(status)?;
        let answer = HandshakeResponse { payload: token.clone().into(), ..HandshakeResponse::default() };
        let mut response = one(answer)?;
        let bearer = MetadataValue::try_from(format!("Bearer {token}")).map_err(|error| status(unwritable(error)))?;
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        let call = Call::of_request(&request)?;
        let info = async {
            let prepared = self.0.prepare(&call, query.transaction_id.as_ref(), &query.query)?;
            let session = self.0.session_of(&call, query.transaction_id.as_ref()).await?;
            let ticket = Ticket::new(session, prepared, Vec::new());
            self.0.info(&call, ticket, query.query.len(), request.into_inner()).await
        };
        info.await.map(Response::new).map_err(status)
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<arrow_flight::Ticket>,
    ) -> Answered<Messages<FlightData>> {
        let call = Call::of_request(&request)?;
        let answer = self.0.redeem(&call, &ticket.statement_handle).await.map_err(status)?;
        Ok(Response::new(answer.stream()))
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        let call = Call::of_request(&request)?;
        let info = prepared::info(&self.0, &call, &query.prepared_statement_handle, request.into_inner());
        info.await.map(Response::new).map_err(status)
    }

    async fn do_put_statement_update(
        &self,
        update: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let call = Call::of_request(&request)?;
        let counted = async {
            let prepared = self.0.prepare(&call, update.transaction_id.as_ref(), &update.query)?;
            let session = self.0.session_of(&call, update.transaction_id.as_ref()).await?;
            call.runs_in(&session);
            let outcome = self.0.run(&session, prepared, Vec::new()).await?;
            self.0.count(outcome).await
        };
        counted.await.map_err(status)
    }

    async fn do_put_statement_ingest(
        &self,
        command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let call = Call::of_request(&request)?;
        let sent = Sent::start(&self.0, request.into_inner()).await.map_err(status)?;
        ingest::ingest(&self.0, &call, command, sent).await.map_err(status)
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let sent = Sent::start(&self.0, request.into_inner()).await.map_err(status)?;
        prepared::bind(&self.0, &query.prepared_statement_handle, sent).await.map_err(status)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle) })
    }

    async fn do_put_prepared_statement_update(
        &self,
        update: CommandPreparedStatementUpdate,
        mut request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let call = Call::of_request(&request)?;
        let sent = match has_values(request.get_mut()).await {
            true => Some(Sent::start(&self.0, request.into_inner()).await.map_err(status)?),
            false => None,
        };
        // Rows without columns are no rows of values.
        let sent = sent.filter(|sent| !sent.schema.fields().is_empty());
        prepared::update(&self.0, &call, &update.prepared_statement_handle, sent).await.map_err(status)
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let call = Call::of_request(&request)?;
        prepared::create(&self.0, &call, query).await.map_err(status)
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        // One that is gone already is closed.
        let _ = self.0.statements.take(&query.prepared_statement_handle);
        Ok(())
    }

    async fn do_action_begin_transaction(
        &self,
        _: ActionBeginTransactionRequest,
        request: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        let call = Call::of_request(&request)?;
        let transaction_id = self.0.begin(&call).map_err(status)?;
        Ok(ActionBeginTransactionResult { transaction_id })
    }

    async fn do_action_end_transaction(
        &self,
        query: ActionEndTransactionRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let call = Call::of_request(&request)?;
        let how = EndTransaction::try_from(query.action).unwrap_or(EndTransaction::Unspecified);
        self.0.end(&call, &query.transaction_id, how).await.map_err(status)
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        _: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let cancelled = self.0.cancel(&decoded(&query.info)?).map_err(status)?;
        // The two messages number alike what they tell.
        Ok(ActionCancelQueryResult { result: cancelled as i32 })
    }

    async fn do_action_fallback(&self, request: Request<Action>) -> Answered<Messages<arrow_flight::Result>> {
        let call = Call::of_request(&request)?;
        let action = request.into_inner();
        let body = match action.r#type.as_str() {
            CANCEL_FLIGHT_INFO => {
                let CancelFlightInfoRequest { info } = decoded(&action.body)?;
                let cancelled = self.0.cancel(&info.unwrap_or_default()).map_err(status)?;
                CancelFlightInfoResult::new(cancelled).encode_to_vec()
            }
            SET_OPTIONS => {
                let request: SetSessionOptionsRequest = decoded(&action.body)?;
                options::set(&self.0, &call, request).map_err(status)?.encode_to_vec()
            }
            GET_OPTIONS => options::get(&call).map_err(status)?.encode_to_vec(),
            CLOSE_SESSION => options::close(&self.0, &call).encode_to_vec(),
            other => {
                let message = format!("there is no action \"{other}\"");
                return Err(status(Error::fix(SqlState::NOT_SUPPORTED, message)));
            }
        };
        one(arrow_flight::Result::new(body))
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        let actions = [
            (CANCEL_FLIGHT_INFO, "Cancels a query: CancelFlightInfoRequest, CancelFlightInfoResult"),
            (SET_OPTIONS, "Changes settings of the session: SetSessionOptionsRequest, SetSessionOptionsResult"),
            (GET_OPTIONS, "Tells the settings of the session: GetSessionOptionsRequest, GetSessionOptionsResult"),
            (CLOSE_SESSION, "Forgets the session: CloseSessionRequest, CloseSessionResult"),
        ];
        let action = |(name, description): (&str, &str)| {
            Ok(ActionType { r#type: name.to_string(), description: description.to_string() })
        };
        Some(actions.into_iter().map(action).collect())
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        listing(&query, &GetCatalogsBuilder::new().schema(), request)
    }

    async fn do_get_catalogs(
        &self,
        _: CommandGetCatalogs,
        request: Request<arrow_flight::Ticket>,
    ) -> Answered<Messages<FlightData>> {
        let call = Call::of_request(&request)?;
        batch(self.0.catalogs(&call.session).await)
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        listing(&query, &GetDbSchemasBuilder::from(query.clone()).schema(), request)
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<arrow_flight::Ticket>,
    ) -> Answered<Messages<FlightData>> {
        let call = Call::of_request(&request)?;
        batch(self.0.schemas(&call.session, query).await)
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        listing(&query, &query.clone().into_builder().schema(), request)
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        request: Request<arrow_flight::Ticket>,
    ) -> Answered<Messages<FlightData>> {
        let call = Call::of_request(&request)?;
        batch(self.0.tables(&call.session, query).await)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        listing(&query, &query.into_builder().schema(), request)
    }

    async fn do_get_table_types(
        &self,
        _: CommandGetTableTypes,
        _: Request<arrow_flight::Ticket>,
    ) -> Answered<Messages<FlightData>> {
        batch(listings::table_types())
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        listing(&query, &self.0.facts.server.schema(), request)
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        _: Request<arrow_flight::Ticket>,
    ) -> Answered<Messages<FlightData>> {
        batch(self.0.facts.server.record_batch(query.info).map_err(unwritable))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        listing(&query, &self.0.facts.types.schema(), request)
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        _: Request<arrow_flight::Ticket>,
    ) -> Answered<Messages<FlightData>> {
        batch(self.0.facts.types.record_batch(query.data_type).map_err(unwritable))
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        listing(&query, &keys::primary(), request)
    }

    async fn do_get_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        _: Request<arrow_flight::Ticket>,
    ) -> Answered<Messages<FlightData>> {
        batch(Ok(RecordBatch::new_empty(keys::primary())))
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        listing(&query, &keys::foreign(), request)
    }

    async fn do_get_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        _: Request<arrow_flight::Ticket>,
    ) -> Answered<Messages<FlightData>> {
        batch(Ok(RecordBatch::new_empty(keys::foreign())))
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        listing(&query, &keys::foreign(), request)
    }

    async fn do_get_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        _: Request<arrow_flight::Ticket>,
    ) -> Answered<Messages<FlightData>> {
        batch(Ok(RecordBatch::new_empty(keys::foreign())))
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        listing(&query, &keys::foreign(), request)
    }

    async fn do_get_cross_reference(
        &self,
        _: CommandGetCrossReference,
        _: Request<arrow_flight::Ticket>,
    ) -> Answered<Messages<FlightData>> {
        batch(Ok(RecordBatch::new_empty(keys::foreign())))
    }

    /// What is told is fixed when the server starts.
    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}

//! The extended protocol: statements are read once, bound to values, and their rows fetched in parts.

use super::connection::{Connection, Failed, split};
use super::message::{Bind, Formats, Named};
use super::parameters;
use super::types::{RowWriter, description, fields, type_of};
use crate::server::reading::Reading;
use crate::session::{Description, Notices, Outcome, Prepared};
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::scalar::ScalarValue;
use pgwire::api::Type;
use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::data::{DataRow, NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;
use polder_catalog::{Error, Result, SqlState};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// A statement under its name.
pub(super) struct Stored {
    /// None for a text without a statement.
    prepared: Option<Arc<Prepared>>,
    /// The types that the client has chosen; 0 where it leaves that to us.
    types: Vec<u32>,
    /// Asked for once, when it is needed.
    description: OnceCell<Description>,
}

/// A statement with its values.
pub(super) struct Portal {
    statement: Arc<Stored>,
    formats: Formats,
    state: State,
}

enum State {
    Bound(Vec<ScalarValue>),
    Running(Box<Running>),
    /// All that it gives was given, with the tag of the end.
    Done(String),
}

/// Rows that are fetched in parts.
struct Running {
    reading: Reading<Vec<DataRow>>,
    /// Read, and not yet asked for.
    rest: VecDeque<DataRow>,
    notices: Notices,
    count: u64,
    cancel: CancellationToken,
}

impl Connection {
    pub(super) async fn parse(&mut self, name: String, sql: String, types: Vec<u32>) -> Result<(), Failed> {
        if name.is_empty() {
            self.statements.remove("");
        } else if self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" exists already");
            return Err(self.session.failed(Error::fix(SqlState::DUPLICATE_STATEMENT, message)).into());
        }
        let statements = split(&sql);
        let prepared = match &statements[..] {
            [] => Ok(None),
            [statement] => self.session.prepare(statement).map(|prepared| Some(Arc::new(prepared))),
            _ => Err(Error::fix(SqlState::SYNTAX, "a prepared statement is one statement")),
        };
        let prepared = prepared.map_err(|error| self.session.failed(error))?;
        self.statements.insert(name, Arc::new(Stored { prepared, types, description: OnceCell::new() }));
        self.send(Reply::ParseComplete(ParseComplete::new())).await
    }

    pub(super) async fn bind(&mut self, bind: Bind) -> Result<(), Failed> {
        let statement = self.stored(&bind.statement)?;
        let values = self.values(&statement, &bind).await.map_err(|error| self.session.failed(error))?;
        if bind.portal.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains_key(&bind.portal) {
            let message = format!("portal \"{}\" exists already", bind.portal);
            return Err(self.session.failed(Error::fix(SqlState::NO_CURSOR, message)).into());
        }
        let portal = Portal { statement, formats: bind.row_formats, state: State::Bound(values) };
        self.portals.insert(bind.portal, portal);
        self.send(Reply::BindComplete(BindComplete::new())).await
    }

    async fn values(&self, statement: &Stored, bind: &Bind) -> Result<Vec<ScalarValue>> {
        bind.value_formats.check(bind.values.len())?;
        if bind.values.is_empty() {
            return Ok(Vec::new());
        }
        let types = self.parameter_types(statement).await?;
        if types.len() != bind.values.len() {
            let (given, wanted) = (bind.values.len(), types.len());
            let message = format!("{given} values for a statement with {wanted} parameters");
            return Err(Error::fix(SqlState::PARAMETER, message));
        }
        let values = bind.values.iter().zip(&types).enumerate();
        let value = |(at, (bytes, kind)): (usize, (&Option<_>, &Type))| {
            let value = parameters::value(kind, bind.value_formats.is_binary(at), bytes.as_deref());
            value.map_err(|error: Error| error.at(format!("parameter ${}", at + 1)))
        };
        values.map(value).collect()
    }

    /// The types of a statement's parameters: the client's, and the statement's own where that leaves it to us.
    async fn parameter_types(&self, statement: &Stored) -> Result<Vec<Type>> {
        let description = self.description(statement).await?;
        let own = |at: usize| match statement.types.get(at).copied().filter(|oid| *oid != 0).and_then(Type::from_oid) {
            Some(kind) if kind != Type::UNKNOWN => kind,
            _ => match description.parameters[at].clone() {
                // Bytes of another length have no type that a parameter could be cast to.
                Some(DataType::FixedSizeBinary(16)) => Type::UUID,
                Some(data_type) => type_of(&Field::new("", data_type, true)),
                None => Type::TEXT,
            },
        };
        Ok((0..description.parameters.len()).map(own).collect())
    }

    async fn description<'a>(&self, statement: &'a Stored) -> Result<&'a Description> {
        let describing = async {
            match &statement.prepared {
                None => Ok(Description { parameters: Vec::new(), columns: None }),
                Some(prepared) => {
                    let given: Vec<_> = statement.types.iter().map(|oid| parameters::chosen(*oid)).collect();
                    self.session.describe_with(prepared, &given).await
                }
            }
        };
        statement.description.get_or_try_init(|| describing).await
    }

    pub(super) async fn describe(&mut self, named: &Named) -> Result<(), Failed> {
        let (columns, formats) = match named {
            Named::Statement(name) => {
                let statement = self.stored(name)?;
                let described = async {
                    let types = self.parameter_types(&statement).await?;
                    Ok((types, self.description(&statement).await?.columns.clone()))
                };
                let (types, columns) = described.await.map_err(|error| self.session.failed(error))?;
                let types = types.iter().map(Type::oid).collect();
                self.send(Reply::ParameterDescription(ParameterDescription::new(types))).await?;
                (columns, Formats::default())
            }
            Named::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| self.session.failed(no_portal(name)))?;
                let (statement, formats) = (Arc::clone(&portal.statement), portal.formats.clone());
                let description = self.description(&statement).await.map_err(|error| self.session.failed(error))?;
                (description.columns.clone(), formats)
            }
        };
        match columns {
            None => self.send(Reply::NoData(NoData::new())).await,
            Some(columns) => self.send(Reply::RowDescription(description(&columns, &fields(&columns, &formats)))).await,
        }
    }

    pub(super) async fn execute(&mut self, name: &str, limit: Option<usize>) -> Result<(), Failed> {
        // Taken out while it runs: what fails is not fetched from again.
        let mut portal = self.portals.remove(name).ok_or_else(|| self.session.failed(no_portal(name)))?;
        let Some(prepared) = portal.statement.prepared.clone() else {
            self.portals.insert(name.to_string(), portal);
            return self.send(Reply::EmptyQueryResponse(EmptyQueryResponse::new())).await;
        };
        if let State::Bound(values) = &mut portal.state {
            let values = std::mem::take(values);
            portal.state = match self.start(&portal, &prepared, values).await? {
                Some(state) => state,
                None => return Ok(()),
            };
        }
        let ended = match &mut portal.state {
            State::Running(running) => self.fetch(running, &prepared, limit).await?,
            State::Done(tag) => {
                self.complete(tag.clone()).await?;
                None
            }
            State::Bound(_) => None,
        };
        if let Some(tag) = ended {
            portal.state = State::Done(tag);
        }
        self.portals.insert(name.to_string(), portal);
        Ok(())
    }

    /// Runs a portal; None for one that is over with that.
    async fn start(
        &mut self,
        portal: &Portal,
        prepared: &Arc<Prepared>,
        values: Vec<ScalarValue>,
    ) -> Result<Option<State>, Failed> {
        let cancel = self.begin();
        match self.run(prepared, values, &cancel).await? {
            Outcome::Done(tag) => Ok(Some(State::Done(tag))),
            Outcome::CopyIn(copy) => self.copy_in(copy, &cancel).await.map(|()| None),
            Outcome::Rows(rows) => {
                let schema = rows.schema();
                self.check_columns(&portal.statement, &schema).map_err(|error| self.session.failed(error))?;
                portal.formats.check(schema.fields().len()).map_err(|error| self.session.failed(error))?;
                let notices = rows.notices();
                let mut writer = RowWriter::new(fields(&schema, &portal.formats));
                let write = move |batch: &_| writer.rows(batch);
                let reading = Reading::start(rows, &self.server.shutdown, &self.server.workers, write);
                let running = Running { reading, rest: VecDeque::new(), notices, count: 0, cancel };
                Ok(Some(State::Running(Box::new(running))))
            }
        }
    }

    /// What was described is what the client reads the rows by.
    fn check_columns(&self, statement: &Stored, schema: &SchemaRef) -> Result<()> {
        let Some(described) = statement.description.get().and_then(|described| described.columns.as_ref()) else {
            return Ok(());
        };
        let types = |schema: &SchemaRef| schema.fields().iter().map(|field| type_of(field)).collect::<Vec<_>>();
        match types(described) == types(schema) {
            true => Ok(()),
            false => Err(Error::fix(
                SqlState::NOT_SUPPORTED,
                "the columns of the statement are others than it was described with",
            )
            .with_hint("prepare it again")),
        }
    }

    /// Sends rows, up to a limit; the tag when there are no more.
    async fn fetch(
        &mut self,
        running: &mut Running,
        prepared: &Prepared,
        limit: Option<usize>,
    ) -> Result<Option<String>, Failed> {
        let mut sent = 0;
        loop {
            let wanted = limit.map_or(usize::MAX, |limit| limit - sent);
            let now: Vec<_> = running.rest.drain(..wanted.min(running.rest.len())).collect();
            sent += now.len();
            running.count += now.len() as u64;
            self.rows(now).await?;
            if limit == Some(sent) {
                self.send(Reply::PortalSuspended(PortalSuspended::new())).await?;
                return Ok(None);
            }
            let cancel = running.cancel.clone();
            match self.piece(&mut running.reading, &cancel).await? {
                Some(rows) => running.rest = rows.into(),
                None => break,
            }
        }
        self.told(&running.notices).await?;
        // As in PostgreSQL, the rows of the last part.
        self.complete(prepared.tag(sent as u64)).await?;
        Ok(Some(prepared.tag(0)))
    }

    pub(super) async fn close(&mut self, named: &Named) -> Result<(), Failed> {
        match named {
            Named::Statement(name) => drop(self.statements.remove(name)),
            Named::Portal(name) => drop(self.portals.remove(name)),
        }
        self.send(Reply::CloseComplete(CloseComplete::new())).await
    }

    fn stored(&self, name: &str) -> Result<Arc<Stored>, Failed> {
        let stored = self.statements.get(name).cloned().ok_or_else(|| {
            let message = format!("prepared statement \"{name}\" does not exist");
            self.session.failed(Error::fix(SqlState::NO_STATEMENT, message))
        });
        Ok(stored?)
    }
}

fn no_portal(name: &str) -> Error {
    Error::fix(SqlState::NO_CURSOR, format!("portal \"{name}\" does not exist"))
}

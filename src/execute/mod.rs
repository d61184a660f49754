//! One file per verb: what happens when a statement runs.

mod access;
mod after;
mod cut;
mod define;
mod describe;
mod index;
mod operation;
mod past;
mod patience;
mod procedure;
mod publish;
mod query;
mod references;
mod resolve;
mod show;
mod table;
mod transaction;
mod wait;
mod write;

pub(crate) use describe::describe;
pub(crate) use procedure::apply;
pub(crate) use table::{TABLE_OPTIONS, TOPIC_OPTIONS};
pub(crate) use wait::without_waiting;
pub(crate) use write::{COPY_OPTIONS, append, ingest, insert_rows};

use crate::requests::Request;
use crate::session::{Outcome, Session};
use crate::sql::Statement;
use polder_catalog::Result;

/// Runs one statement, under the name that its client gave it. Each verb has a future of its own on the heap, so that none pays
/// for the largest.
pub(crate) async fn statement(session: &Session, statement: Statement, request: Option<Request>) -> Result<Outcome> {
    if statement.writes() && session.settings().caused_by().is_some() {
        after::cause(session, &query::context(session)).await?;
    }
    let aftermath = access::check(session, &statement)?;
    let outcome = run(session, statement, request).await?;
    access::settle(session, aftermath)?;
    Ok(outcome)
}

async fn run(session: &Session, statement: Statement, request: Option<Request>) -> Result<Outcome> {
    match statement {
        Statement::Query(query) => query::run(session, &query).await,
        Statement::Explain { query, how } => query::explain(session, &query, how).await,
        Statement::CreateCatalog { name, connector, options, exists } => {
            Box::pin(define::create_catalog(session, name, connector, options, exists)).await
        }
        Statement::AlterCatalog { name, options } => Box::pin(define::alter_catalog(session, name, options)).await,
        Statement::DropCatalog { name, if_exists, cascade } => {
            Box::pin(define::drop_catalog(session, name, if_exists, cascade)).await
        }
        Statement::CheckCatalog { name } => show::check_catalog(session, &name).await,
        Statement::CreateView { name, definition, exists } => {
            Box::pin(define::create_view(session, name, definition, exists)).await
        }
        Statement::DropView { name, if_exists, cascade } => {
            Box::pin(define::drop_view(session, name, if_exists, cascade)).await
        }
        Statement::CreateTopic { name, columns, options, exists } => {
            Box::pin(table::create_topic(session, name, columns, options, exists)).await
        }
        Statement::DropTopic { name, if_exists, cascade } => {
            Box::pin(table::drop_topic(session, name, if_exists, cascade)).await
        }
        Statement::CreateTable { name, table, query, exists } => {
            Box::pin(table::create_table(session, name, table, query, exists)).await
        }
        Statement::AlterTable { name, change } => Box::pin(table::alter_table(session, name, change)).await,
        Statement::CreateIndex { name, table, columns, exists } => {
            Box::pin(index::create(session, name, table, columns, exists)).await
        }
        Statement::DropIndex { name, if_exists } => Box::pin(index::drop(session, &name, if_exists)).await,
        Statement::DropTable { name, if_exists, cascade } => {
            Box::pin(table::drop_table(session, name, if_exists, cascade)).await
        }
        Statement::Insert { table, columns, query, conflict, returning } => {
            Box::pin(write::insert(session, &table, &columns, query, conflict.as_deref(), &returning, request)).await
        }
        Statement::Update { table, assignments, which, returning } => {
            Box::pin(write::update(session, &table, assignments, *which, &returning, request)).await
        }
        Statement::Delete { table, which, returning } => {
            Box::pin(write::delete(session, &table, *which, &returning, request)).await
        }
        Statement::Merge { table, merge } => Box::pin(write::merge(session, &table, &merge, request)).await,
        Statement::Truncate { table } => Box::pin(write::truncate(session, &table, request)).await,
        Statement::Copy { table, columns, from, options } => {
            Box::pin(write::copy(session, &table, &columns, &from, &options)).await
        }
        Statement::CreateProcedure { name, definition, exists } => {
            Box::pin(procedure::create(session, name, definition, exists)).await
        }
        Statement::DropProcedure { name, if_exists } => Box::pin(procedure::drop(session, name, if_exists)).await,
        Statement::Call { name, arguments } => Box::pin(procedure::call(session, &name, &arguments, request)).await,
        Statement::ReplayDeadLetters { name } => Box::pin(procedure::replay(session, name)).await,
        Statement::Begin { read_only } => Box::pin(transaction::begin(session, read_only)).await,
        Statement::Commit => Box::pin(transaction::commit(session)).await,
        Statement::Rollback => transaction::rollback(session),
        Statement::Access(statement) => Box::pin(access::run(session, statement)).await,
        Statement::KillQuery { id } => {
            let roles = session.engine.0.access.roles();
            let of = (!roles.is_superuser(session.user())).then(|| session.user().as_ref());
            session.engine.0.activity.kill(&id, of)?;
            Ok(Outcome::Done("KILL QUERY".to_string()))
        }
        Statement::WaitFor { request } => wait::wait_for(session, &request).await,
        Statement::ShowPosition => Ok(show::position(session)),
        Statement::ShowCatalogs => show::catalogs(session),
        Statement::ShowSchemas { catalog } => show::schemas(session, catalog.as_deref()).await,
        Statement::ShowTables { catalog, schema, pattern } => {
            show::tables(session, catalog.as_deref(), schema.as_deref(), pattern.as_deref()).await
        }
        Statement::Describe { name } => show::describe(session, &name).await,
        Statement::Set { name, value } => {
            session.change_settings(|settings| settings.set(&name, &value))?;
            Ok(Outcome::Done("SET".to_string()))
        }
        Statement::Reset { name } => {
            session.change_settings(|settings| settings.reset(&name))?;
            Ok(Outcome::Done("RESET".to_string()))
        }
        Statement::ShowSetting { name } => show::setting(session, &name),
    }
}

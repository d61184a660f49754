//! One file per verb: what happens when a statement runs.

mod define;
mod query;
mod resolve;
mod show;

use crate::session::{Outcome, Session};
use crate::sql::Statement;
use polder_catalog::Result;

/// Runs one statement.
pub(crate) async fn statement(session: &Session, statement: Statement) -> Result<Outcome> {
    match statement {
        Statement::Query(query) => query::run(session, &query).await,
        Statement::Explain { query, analyze, verbose } => query::explain(session, &query, analyze, verbose).await,
        Statement::CreateCatalog { name, connector, options, exists } => {
            define::create_catalog(session, name, connector, options, exists).await
        }
        Statement::AlterCatalog { name, options } => define::alter_catalog(session, name, options).await,
        Statement::DropCatalog { name, if_exists, cascade } => {
            define::drop_catalog(session, name, if_exists, cascade).await
        }
        Statement::CheckCatalog { name } => show::check_catalog(session, &name).await,
        Statement::CreateView { name, definition, exists } => {
            define::create_view(session, name, definition, exists).await
        }
        Statement::DropView { name, if_exists, cascade } => define::drop_view(session, name, if_exists, cascade).await,
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

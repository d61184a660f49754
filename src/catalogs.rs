//! What is attached and defined, as an immutable snapshot: a statement sees one, whatever others define meanwhile.

use crate::definitions::{CatalogDefinition, Definitions, TableDefinition};
use crate::sources::{Health, Measured};
use crate::sql::{ProcedureDefinition, ViewDefinition};
use polder_catalog::{CatalogName, Error, Observer, Options, Registry, Result, Source, SqlState, TableName};
use polder_log::TopicDefinition;
use polder_rows::RowsSource;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use crate::definitions::POLDER;

/// The schema of named queries.
pub(crate) const PUBLIC: &str = "public";
/// The schema of system tables.
pub(crate) const SYSTEM: &str = "system";

/// Catalogs and named queries, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogs {
    pub(crate) attached: BTreeMap<String, Attached>,
    /// Polder's own tables, under its own name.
    pub(crate) own: Option<Attached>,
    pub(crate) views: BTreeMap<String, ViewDefinition>,
    pub(crate) procedures: BTreeMap<String, ProcedureDefinition>,
    pub(crate) topics: BTreeMap<String, TopicDefinition>,
    pub(crate) tables: BTreeMap<TableName, TableDefinition>,
    /// The greatest id that a dataset ever had.
    pub(crate) last_dataset: u64,
}

/// One attached catalog.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    pub(crate) definition: CatalogDefinition,
    pub(crate) origin: Origin,
    /// How it is; that of a source of Polder's own is not asked for.
    pub(crate) health: Arc<Health>,
    /// The source, or why a stored definition can no longer be attached.
    source: Result<Arc<dyn Source>, Arc<str>>,
}

/// Where a catalog was defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// By a statement; kept in the data directory.
    Defined,
    /// In the configuration file.
    Declared,
    /// Nowhere: it is always there.
    Own,
}

impl Attached {
    /// Polder's own tables.
    pub(crate) fn own(tables: &Arc<RowsSource>) -> Self {
        let definition = CatalogDefinition { connector: POLDER.to_string(), options: Vec::new() };
        let source: Arc<dyn Source> = Arc::clone(tables) as _;
        let health = Arc::new(Health::new(CatalogName::new(POLDER)));
        Self { definition, origin: Origin::Own, health, source: Ok(source) }
    }

    /// Validates the options and attaches; no source is contacted.
    pub(crate) async fn new(
        registry: &Registry,
        name: &str,
        definition: CatalogDefinition,
        origin: Origin,
    ) -> Result<Self> {
        let health = Arc::new(Health::new(CatalogName::new(name)));
        let source = attach(registry, name, &definition, &health).await.map_err(|error| error.at(place(name)))?;
        Ok(Self { definition, origin, health, source: Ok(source) })
    }

    /// As [`new`](Self::new), but a definition that fails is kept with its reason.
    pub(crate) async fn or_broken(
        registry: &Registry,
        name: &str,
        definition: CatalogDefinition,
        origin: Origin,
    ) -> Self {
        let health = Arc::new(Health::new(CatalogName::new(name)));
        let source = attach(registry, name, &definition, &health).await.map_err(|error| {
            tracing::error!(catalog = %name, %error, "could not attach");
            Arc::from(error.message())
        });
        Self { definition, origin, health, source }
    }

    /// The source.
    ///
    /// # Errors
    /// 55000 if the stored definition could not be attached.
    pub(crate) fn source(&self, name: &str) -> Result<&Arc<dyn Source>> {
        self.source.as_ref().map_err(|reason| {
            Error::fix(SqlState::STATE, format!("catalog \"{name}\" could not be attached"))
                .with_detail(reason.to_string())
                .with_hint(format!("mend its options with ALTER CATALOG {name} SET (...), or drop it"))
        })
    }
}

impl Catalogs {
    /// A catalog by name.
    ///
    /// # Errors
    /// 3D000 with the names that exist.
    pub(crate) fn get(&self, name: &str) -> Result<&Attached> {
        let own = self.own.as_ref().filter(|_| name == POLDER);
        own.or_else(|| self.attached.get(name)).ok_or_else(|| self.missing(name))
    }

    /// Every source that could be attached, and Polder's own tables.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (CatalogName, Arc<dyn Source>)> {
        let attached = self.attached.iter().map(|(name, attached)| (name.as_str(), attached));
        self.own.iter().map(|own| (POLDER, own)).chain(attached).filter_map(|(name, attached)| {
            let source = attached.source.as_ref().ok()?;
            Some((CatalogName::new(name), Arc::clone(source)))
        })
    }

    /// Whether there is a table of Polder's own under this name.
    pub(crate) fn own_table(&self, name: &str) -> Option<TableName> {
        Some(own_table(name)).filter(|name| self.tables.contains_key(name))
    }

    /// What belongs in the data directory.
    pub(crate) fn definitions(&self) -> Definitions {
        let defined = self.attached.iter().filter(|(_, attached)| attached.origin == Origin::Defined);
        let catalogs = defined.map(|(name, attached)| (name.clone(), attached.definition.clone())).collect();
        let (views, topics, tables) = (self.views.clone(), self.topics.clone(), self.tables.clone());
        let procedures = self.procedures.clone();
        Definitions { catalogs, views, procedures, topics, tables, last_dataset: self.last_dataset }
    }

    fn missing(&self, name: &str) -> Error {
        let error = Error::fix(SqlState::NO_CATALOG, format!("catalog \"{name}\" does not exist"));
        if self.attached.is_empty() {
            return error.with_hint(format!("attach it: CREATE CATALOG {name} USING postgres WITH (url = '...')"));
        }
        let names: Vec<_> = self.attached.keys().map(String::as_str).collect();
        error.with_hint(format!("the catalogs are: {}", names.join(", ")))
    }
}

/// The full name of a table of Polder's own.
pub(crate) fn own_table(name: &str) -> TableName {
    TableName { catalog: CatalogName::new(POLDER), schema: PUBLIC.to_string(), table: name.to_string() }
}

/// How error messages name a catalog.
pub(crate) fn place(name: &str) -> String {
    format!("catalog \"{name}\"")
}

/// Requests are noted where the source is known by its name.
impl Observer for Catalogs {
    fn asked(&self, catalog: &CatalogName) {
        self.health(catalog, Health::asked);
    }

    fn answered(&self, catalog: &CatalogName, took: Duration) {
        self.health(catalog, |health| health.answered(took));
    }

    fn failed(&self, catalog: &CatalogName, error: &Error) {
        self.health(catalog, |health| health.failed(error));
    }
}

impl Catalogs {
    fn health(&self, catalog: &CatalogName, note: impl FnOnce(&Health)) {
        if let Some(attached) = self.attached.get(catalog.as_str()) {
            note(&attached.health);
        }
    }
}

async fn attach(
    registry: &Registry,
    name: &str,
    definition: &CatalogDefinition,
    health: &Arc<Health>,
) -> Result<Arc<dyn Source>> {
    let connector = registry.connector(&definition.connector)?;
    let options = Options::validate(connector.options(), definition.options.iter().cloned())?;
    let name = CatalogName::new(name);
    let source = connector.attach(&name, options).await?;
    Ok(Arc::new(Measured::new(name, source, Arc::clone(health))))
}

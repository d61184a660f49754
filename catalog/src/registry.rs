//! The list of connectors that an engine knows. Registration is explicit.

use crate::{Connector, Error, Result, SqlState};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Connectors by name.
#[derive(Clone, Debug, Default)]
pub struct Registry(BTreeMap<&'static str, Arc<dyn Connector>>);

impl Registry {
    /// Adds a connector.
    ///
    /// # Errors
    /// 42710 if the name is taken.
    pub fn register(&mut self, connector: Arc<dyn Connector>) -> Result<()> {
        let name = connector.name();
        if self.0.insert(name, connector).is_some() {
            return Err(Error::fix(SqlState::DUPLICATE_OBJECT, format!("connector \"{name}\" is registered twice")));
        }
        Ok(())
    }

    /// The connector after `USING`.
    ///
    /// # Errors
    /// 42704 with the known names.
    pub fn connector(&self, name: &str) -> Result<&Arc<dyn Connector>> {
        self.0.get(name).ok_or_else(|| {
            let known: Vec<_> = self.0.keys().copied().collect();
            Error::fix(SqlState::NO_OBJECT, format!("connector \"{name}\" does not exist"))
                .with_hint(format!("the connectors are: {}", known.join(", ")))
        })
    }

    /// All connectors, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Connector>> {
        self.0.values()
    }
}

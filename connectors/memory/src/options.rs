//! What `CREATE CATALOG ... USING memory WITH (...)` takes.

use crate::definition::{self, TableDefinition};
use polder_catalog::{OptionKind, OptionSpec, Options, Result};

pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "tables",
        OptionKind::Text,
        "Tables to start with, empty: `orders (id bigint PRIMARY KEY, note text); lines (...)`.",
    ),
    OptionSpec::new(
        "history_max",
        OptionKind::Integer(0, 1_000_000_000),
        "How many transactions are kept for those who follow changes. One who falls behind further is told so and \
         starts over with a new copy.",
    )
    .default("10000"),
];

/// The options, read.
#[derive(Debug)]
pub(crate) struct MemoryOptions {
    pub(crate) tables: Vec<TableDefinition>,
    pub(crate) history_max: usize,
}

impl MemoryOptions {
    pub(crate) fn read(options: &Options) -> Result<Self> {
        let tables = options.text("tables").map(definition::parse).transpose()?.unwrap_or_default();
        let history_max = options.integer("history_max").expect("history_max has a default");
        Ok(Self { tables, history_max: usize::try_from(history_max).unwrap_or(usize::MAX) })
    }
}

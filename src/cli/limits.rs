//! Limits of a server, where the command line says other than the configuration.

use crate::engine::EngineBuilder;
use polder_catalog::Result;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Limits {
    /// Connections that each listener serves at once; more wait. 1000 if not given.
    #[arg(long, value_name = "COUNT")]
    connections: Option<usize>,
    /// How long a statement may run unless its session says otherwise, such as 30s; 0s for no limit. One hour if not given.
    #[arg(long, value_name = "TIME")]
    statement_timeout: Option<String>,
    /// The greatest result of a statement, such as 512MB; 0 for no limit. 64 GB if not given.
    #[arg(long, value_name = "SIZE")]
    result_limit: Option<String>,
    /// How much of the memory one query may use. 50 if not given.
    #[arg(long, value_name = "PERCENT")]
    query_memory_percent: Option<u8>,
}

impl Limits {
    /// The builder, told what was given.
    pub(super) fn apply(&self, builder: EngineBuilder) -> Result<EngineBuilder> {
        let Self { connections, statement_timeout, result_limit, query_memory_percent } = self.clone();
        builder.server_limits(|server| {
            server.connections = connections.or(server.connections);
            server.statement_timeout = statement_timeout.or(server.statement_timeout.take());
            server.result_limit = result_limit.or(server.result_limit.take());
            server.query_memory_percent = query_memory_percent.or(server.query_memory_percent);
        })
    }
}

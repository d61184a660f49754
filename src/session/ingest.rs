//! Rows that come as Arrow, on their way into a table.

use crate::activity::TEXT_BYTES;
use crate::execute;
use crate::session::{Outcome, Session, Words, watched};
use crate::sql::{InTransaction, Name, Shown};
use datafusion::execution::SendableRecordBatchStream;
use polder_catalog::{Error, Result, SqlState};
use std::sync::Arc;

impl Session {
    /// Inserts rows into a table or a topic, by the names of their columns; the tag of what was done. Into a table it is one
    /// change, and rows that break off are none.
    ///
    /// # Errors
    /// Those of INSERT; 0A000 under a request id, for rows that come once cannot be told from others.
    pub(crate) async fn ingest(&self, table: Vec<String>, rows: SendableRecordBatchStream) -> Result<String> {
        if self.take_request_id()?.is_some() {
            return Err(Error::fix(SqlState::NOT_SUPPORTED, "rows that are ingested cannot have a request id"));
        }
        let words = Words { sql: "INGEST", values: &[] };
        let shown = Shown::of(&format!("INGEST INTO {}", table.join(".")), TEXT_BYTES);
        let running = self.enter(Arc::new(shown));
        let run = async {
            let count = execute::ingest(self, &Name(table), rows).await?;
            Ok(Outcome::Done(format!("INSERT 0 {count}")))
        };
        match watched(running, self.guarded(InTransaction::Writes, true, words, Box::pin(run))).await? {
            Outcome::Done(tag) => Ok(tag),
            Outcome::Rows(_) | Outcome::CopyIn(_) => Err(Error::report("an ingest has ended without a tag")),
        }
    }
}

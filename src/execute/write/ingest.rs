//! INSERT of rows that a client sends as Arrow: each column goes where its name says, in the type of that place.

use crate::access::Privilege;
use crate::execute::query;
use crate::execute::write::{Writable, check_topic, copy, writable};
use crate::session::Session;
use crate::sql::Name;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::physical_plan::streaming::PartitionStream;
use polder_catalog::{Error, Result, SqlState};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Inserts the rows; how many.
pub(crate) async fn ingest(session: &Session, name: &Name, rows: SendableRecordBatchStream) -> Result<u64> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let target = writable(session, name, &context, &[Privilege::Insert])?;
    if let Writable::Topic(topic) = &target {
        check_topic(session, topic, None)?;
    }
    let schema = rows.schema();
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    if names.is_empty() {
        return Err(Error::fix(SqlState::SYNTAX, "rows without columns cannot be inserted"));
    }
    let sent = Sent { schema: Arc::clone(&schema), rows: Mutex::new(Some(rows)) };
    let table = StreamingTable::try_new(schema, vec![Arc::new(sent)]).map_err(Error::from_datafusion)?;
    copy::insert(session, &context, &target, &names, Arc::new(table)).await
}

/// The rows of one client, as the table of one statement.
struct Sent {
    schema: SchemaRef,
    /// Until they are read.
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl PartitionStream for Sent {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        rows.unwrap_or_else(|| Box::pin(EmptyRecordBatchStream::new(Arc::clone(&self.schema))))
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").field("schema", &self.schema).finish_non_exhaustive()
    }
}

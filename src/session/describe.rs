//! What a prepared statement takes and gives, before it is run.

use crate::execute;
use crate::session::{Prepared, Session};
use arrow::datatypes::{DataType, SchemaRef};
use polder_catalog::Result;

/// What a prepared statement takes and gives, as far as it can be told before its parameters have values.
#[derive(Clone, Debug)]
pub struct Description {
    /// The type of each parameter, `$1` first; None where the statement does not tell.
    pub parameters: Vec<Option<DataType>>,
    /// The columns of its rows; None if it answers with a tag alone.
    pub columns: Option<SchemaRef>,
}

impl Session {
    /// Describes a statement without running it. The types of parameters are those of what they are compared with or
    /// assigned to.
    ///
    /// # Errors
    /// Those of names and expressions in the statement.
    pub async fn describe(&self, prepared: &Prepared) -> Result<Description> {
        self.describe_with(prepared, &[]).await
    }

    /// The same, where the client has said what types it will give to some of the parameters.
    ///
    /// # Errors
    /// Those of names and expressions in the statement.
    pub async fn describe_with(&self, prepared: &Prepared, given: &[Option<DataType>]) -> Result<Description> {
        Box::pin(execute::describe(self, prepared.statement(), given)).await
    }
}

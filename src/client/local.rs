//! The engine of this process.

use super::{Answer, Client, Copying, Results};
use crate::session::{CopyIn, Outcome, Progress, Rows, Session};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use polder_catalog::Result;

#[async_trait]
impl Client for Session {
    async fn run(&self, sql: &str) -> Result<Answer> {
        Ok(match Self::run(self, sql).await? {
            Outcome::Rows(rows) => Answer::Rows(Box::new(rows)),
            Outcome::Done(tag) => Answer::Done { tag, notices: Vec::new() },
            Outcome::CopyIn(copy) => Answer::CopyIn(Box::new(copy)),
        })
    }

    fn function_names(&self) -> Vec<String> {
        Self::function_names(self)
    }
}

#[async_trait]
impl Results for Rows {
    fn schema(&self) -> SchemaRef {
        Self::schema(self)
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        Self::next(self).await
    }

    fn progress(&self) -> Progress {
        Self::progress(self)
    }

    fn notices(&self) -> Vec<String> {
        Self::notices(self).told()
    }
}

#[async_trait]
impl Copying for CopyIn {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        Self::write(self, piece).await
    }

    async fn finish(self: Box<Self>) -> Result<String> {
        Self::finish(*self).await
    }
}

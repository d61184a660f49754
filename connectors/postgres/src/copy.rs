//! One COPY on one connection: started, checked, decoded, and ended cleanly whatever happens.

use crate::decode::CopyDecoder;
use crate::scan::ScanRequest;
use crate::snapshot::Reader;
use crate::spool::Spool;
use crate::table::PgOutput;
use crate::types::{Base, Unrepresentable, Wire};
use futures::StreamExt;
use polder_catalog::{Error, Result, ScanMeter, SqlState};
use std::pin::pin;
use tokio_postgres::types::{Kind, Type};
use tokio_postgres::{Column, CopyOutStream};

/// The statement that the server gets. The line break ends a comment that a user's text may end with.
pub(crate) fn statement(select: &str) -> String {
    let line_break = if select.contains("--") { "\n" } else { "" };
    format!("COPY ({select}{line_break}) TO STDOUT (FORMAT binary)")
}

/// What is copied, and how it is decoded.
pub(crate) struct Copy<'a> {
    pub(crate) select: &'a str,
    pub(crate) request: &'a ScanRequest,
    pub(crate) policy: Unrepresentable,
    pub(crate) batch_rows: usize,
    pub(crate) meter: &'a ScanMeter,
}

/// How a COPY stands when nobody wants more of it.
enum Ended {
    /// All rows were read.
    Completely,
    /// The server said why, so the statement is over.
    Failed(Error),
    /// It may still be running.
    Midway(Error),
}

impl Copy<'_> {
    /// Copies all rows into the spool. Afterwards the session stands where it stood before, ready for the next scan.
    pub(crate) async fn run(&self, reader: &mut Reader, spool: &Spool) -> Result<()> {
        if self.request.verbatim {
            reader.lease_mut().session_mut().tainted = true;
        }
        let ended = self.copy(reader, spool).await;
        let recovered = match ended {
            Ended::Completely | Ended::Failed(_) => return_to_savepoint(reader).await,
            Ended::Midway(_) => stop(reader).await,
        };
        if let Err(error) = recovered {
            tracing::debug!(%error, "a session could not be brought back after a COPY");
            reader.lease_mut().session_mut().broken = true;
        }
        match ended {
            Ended::Completely => Ok(()),
            Ended::Failed(error) | Ended::Midway(error) => Err(error),
        }
    }

    async fn copy(&self, reader: &Reader, spool: &Spool) -> Ended {
        let mut waiting = reader.waiting();
        let rows = tokio::select! {
            biased;
            () = spool.closed().cancelled() => return Ended::Midway(Error::cancelled()),
            started = self.start(reader) => match started {
                Ok(rows) => rows,
                Err(error) => return Ended::Failed(error),
            },
        };
        let mut rows = pin!(rows);
        let mut decoder = match CopyDecoder::new(&self.request.outputs, self.policy, self.batch_rows) {
            Ok(decoder) => decoder,
            Err(error) => return Ended::Midway(error),
        };
        loop {
            let chunk = tokio::select! {
                biased;
                () = spool.closed().cancelled() => return Ended::Midway(Error::cancelled()),
                chunk = rows.next() => chunk,
            };
            let step = match chunk {
                Some(Ok(chunk)) => {
                    self.meter.received(chunk.len());
                    decoder.push(&chunk)
                }
                Some(Err(error)) => return Ended::Failed(reader.lease().endpoint().failed(error)),
                None => {
                    let rest = decoder.end().and_then(|()| decoder.take());
                    return match rest {
                        Ok(Some(batch)) => match spool.push(batch, &mut waiting).await {
                            Ok(()) => Ended::Completely,
                            Err(error) => Ended::Failed(error),
                        },
                        Ok(None) => Ended::Completely,
                        Err(error) => Ended::Failed(error),
                    };
                }
            };
            if let Err(error) = step {
                return Ended::Midway(error);
            }
            if decoder.is_full() {
                let pushed = match decoder.take() {
                    Ok(Some(batch)) => spool.push(batch, &mut waiting).await,
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                };
                if let Err(error) = pushed {
                    return Ended::Midway(error);
                }
            }
        }
    }

    async fn start(&self, reader: &Reader) -> Result<CopyOutStream> {
        let endpoint = reader.lease().endpoint();
        let client = &reader.lease().session().client;
        let failed = |error| endpoint.failed(error);
        // A user's text finds its tables where it would in psql.
        let savepoint = if self.request.verbatim {
            "SAVEPOINT polder; SET LOCAL search_path TO DEFAULT"
        } else {
            "SAVEPOINT polder"
        };
        client.batch_execute(savepoint).await.map_err(failed)?;
        let prepared = client.prepare(self.select).await.map_err(failed)?;
        self.check_columns(prepared.columns()).map_err(|error| endpoint.at(error))?;
        client.copy_out(&statement(self.select)).await.map_err(failed)
    }

    /// Compares what the server would send with what was planned: a column whose type changed in between must not be
    /// decoded as what it was. The table is locked against further changes from here on.
    fn check_columns(&self, columns: &[Column]) -> Result<()> {
        let same = columns.len() == self.request.outputs.len()
            && columns.iter().zip(&self.request.outputs).all(|(column, output)| sends(column.type_(), &output.wire));
        if same {
            return Ok(());
        }
        let changed = columns
            .iter()
            .zip(&self.request.outputs)
            .find(|(column, output)| !sends(column.type_(), &output.wire))
            .map_or("their number".to_string(), |(column, output)| changed_column(column.type_(), output));
        Err(Error::retry(SqlState::TYPE, "the columns changed since the query was planned")
            .with_detail(changed)
            .with_hint("run the query again"))
    }
}

fn changed_column(now: &Type, output: &PgOutput) -> String {
    format!("column \"{}\" is now {now}, planned as {}", output.field.name(), output.field.data_type())
}

/// Whether values of a type travel in this form.
fn sends(pg_type: &Type, wire: &Wire) -> bool {
    match (pg_type.kind(), wire) {
        (Kind::Domain(base), _) => sends(base, wire),
        (Kind::Enum(_), Wire::Text) => true,
        (Kind::Array(element), Wire::Array(wire)) => sends(element, wire),
        (Kind::Composite(fields), Wire::Composite(wires)) => {
            fields.len() == wires.len() && fields.iter().zip(wires).all(|(field, wire)| sends(field.type_(), wire))
        }
        (Kind::Simple | Kind::Pseudo, _) => Base::of_oid(pg_type.oid()).is_some_and(|base| base.sends(wire)),
        _ => false,
    }
}

/// Stops a COPY that may still be running, and waits until it has stopped.
async fn stop(reader: &Reader) -> Result<(), tokio_postgres::Error> {
    let session = reader.lease().session();
    session.canceller().cancel().await;
    // The request travels beside the session, and may come when the COPY is over already. Then it must not hit a statement
    // that matters: this one takes it. If the COPY was hit, this one fails at once, since the transaction is aborted.
    let _ = session.client.batch_execute("SELECT pg_catalog.pg_sleep(0.05)").await;
    return_to_savepoint(reader).await
}

async fn return_to_savepoint(reader: &Reader) -> Result<(), tokio_postgres::Error> {
    let client = &reader.lease().session().client;
    client.batch_execute("ROLLBACK TO SAVEPOINT polder; RELEASE SAVEPOINT polder").await
}

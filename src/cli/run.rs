//! One statement from its text to its output: watched, cancelled by Ctrl-C, written as it comes.

use crate::cli::input::{Statements, standard_input};
use crate::cli::{Interrupt, ProgressLine};
use crate::client::{Answer, Client, Copying, Results};
use crate::render::{Format, Layout, sink};
use crate::session::Progress;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use polder_catalog::{Error, Kind, Result, SqlState};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

/// Where results go, and in which form.
pub(crate) struct Screen {
    pub(crate) format: Format,
    pub(crate) layout: Layout,
    out: io::BufWriter<io::Stdout>,
    /// Results written so far.
    results: u64,
}

/// Why a statement did not end well.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(Error),
    /// Ctrl-C, or SIGTERM.
    Interrupted,
    /// Nobody reads our output any more.
    Unread,
}

/// The exit code if nobody reads our output any more: as a shell reports a process that SIGPIPE ended.
pub(crate) const UNREAD: u8 = 141;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Unread;
        }
        Self::Failed(Error::new(Kind::Fix, SqlState::IO, "could not write the result").with_detail(error.to_string()))
    }
}

impl Screen {
    /// Standard output.
    pub(crate) fn new(format: Format, layout: Layout) -> Self {
        Self { format, layout, out: io::BufWriter::with_capacity(64 * 1024, io::stdout()), results: 0 }
    }

    /// Tables of several statements are kept apart by an empty line.
    fn separate(&mut self) -> io::Result<()> {
        self.results += 1;
        if self.format == Format::Table && self.results > 1 { writeln!(self.out) } else { Ok(()) }
    }

    /// The tag of a statement without rows is a result only for people.
    fn tag(&mut self, tag: &str) -> io::Result<()> {
        match self.format {
            Format::Table => {
                writeln!(self.out, "{tag}")?;
                self.out.flush()
            }
            Format::Csv | Format::Json | Format::Ndjson => writeln!(io::stderr(), "{tag}"),
        }
    }

    /// A line of the shell itself.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }
}

/// How long what was interrupted has to tell its sources before it is left behind.
const GRACE: Duration = Duration::from_secs(2);

/// Batches that are read while one is written.
const BATCHES_AHEAD: usize = 1;

/// Runs a statement and writes what it gives; the output is flushed when this returns. Tells how long it took.
///
/// All work is done on the workers of the runtime: the thread that hears Ctrl-C never computes, so however little a
/// query gives way, the user has the last word.
pub(crate) async fn execute(
    client: &Arc<dyn Client>,
    sql: &str,
    screen: &mut Screen,
    interrupt: &Interrupt,
    data: CopyData<'_>,
) -> Result<Duration, Stop> {
    let mut line = ProgressLine::start();
    match run(client, sql, interrupt, &mut line).await? {
        Answer::Done { tag, notices } => {
            line.clear();
            tell(&notices)?;
            screen.tag(&tag)?;
        }
        Answer::CopyIn(copy) => {
            let tag = copy_in(copy, data, interrupt).await?;
            line.clear();
            screen.tag(&tag)?;
        }
        Answer::Rows(rows) => {
            let written = write_rows(Reading::start(rows), screen, interrupt, &mut line).await;
            // What was written before an error has been seen by whoever reads along; the rest must not lag behind it.
            let flushed = screen.out.flush();
            let notices = written?;
            flushed?;
            tell(&notices)?;
        }
    }
    Ok(line.elapsed())
}

/// What is told beside a result.
fn tell(notices: &[String]) -> io::Result<()> {
    notices.iter().try_for_each(|notice| writeln!(io::stderr(), "notice: {notice}"))
}

/// Where the rows of `COPY ... FROM STDIN` come from.
pub(crate) enum CopyData<'a> {
    /// The lines after the statement.
    Statements(&'a mut Statements),
    /// Standard input, since the statement came another way.
    StandardInput,
    /// Nowhere: somebody types statements.
    Nowhere,
}

/// Sends the data; Ctrl-C gives it up, and then nothing is written.
async fn copy_in(mut copy: Box<dyn Copying>, data: CopyData<'_>, interrupt: &Interrupt) -> Result<String, Stop> {
    let sending = async {
        match data {
            CopyData::Statements(statements) => {
                while let Some(piece) = statements.data().await? {
                    copy.write(piece).await?;
                }
            }
            CopyData::StandardInput => {
                let mut pieces = standard_input();
                while let Some(piece) = pieces.recv().await {
                    copy.write(piece?.into()).await?;
                }
            }
            CopyData::Nowhere => {
                return Err(Stop::Failed(
                    Error::fix(SqlState::NOT_SUPPORTED, "COPY ... FROM STDIN does not read what is typed here")
                        .with_hint("name a file, or run polder sql -c 'COPY ... FROM STDIN' < file"),
                ));
            }
        }
        Ok(copy.finish().await?)
    };
    tokio::select! {
        biased;
        () = interrupt.next() => Err(Stop::Interrupted),
        tag = sending => tag,
    }
}

async fn run(
    client: &Arc<dyn Client>,
    sql: &str,
    interrupt: &Interrupt,
    line: &mut ProgressLine,
) -> Result<Answer, Stop> {
    let (client, sql) = (Arc::clone(client), sql.to_string());
    let mut running = AbortOnDropHandle::new(tokio::spawn(async move { client.run(&sql).await }));
    loop {
        tokio::select! {
            biased;
            () = interrupt.next() => {
                leave(running).await;
                return Err(Stop::Interrupted);
            }
            outcome = &mut running => return Ok(outcome.map_err(panicked)??),
            () = line.tick() => line.draw(None),
        }
    }
}

/// Stops a task and waits until its work is dropped, which is when the sources are told; within limits.
async fn leave<T>(task: AbortOnDropHandle<T>) {
    task.abort();
    drop(tokio::time::timeout(GRACE, task).await);
}

fn panicked(error: JoinError) -> Error {
    Error::report("the statement ended in a panic").with_source(error)
}

/// Rows that are read on a worker.
struct Reading {
    schema: SchemaRef,
    progress: Progress,
    batches: mpsc::Receiver<Result<RecordBatch>>,
    /// Gives what is told beside the rows.
    reader: AbortOnDropHandle<Vec<String>>,
    notices: Vec<String>,
}

impl Reading {
    fn start(rows: Box<dyn Results>) -> Self {
        let (schema, progress) = (rows.schema(), rows.progress());
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let reader = AbortOnDropHandle::new(tokio::spawn(read(rows, sender)));
        Self { schema, progress, batches, reader, notices: Vec::new() }
    }

    /// The next batch; `None` once all have been read. Cancel-safe.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(batch) = self.batches.recv().await {
            return batch.map(Some);
        }
        // A reader that panicked sends nothing more either: what came is not the whole.
        self.notices = (&mut self.reader).await.map_err(panicked)?;
        Ok(None)
    }
}

async fn read(mut rows: Box<dyn Results>, sender: mpsc::Sender<Result<RecordBatch>>) -> Vec<String> {
    while let Some(batch) = rows.next().await.transpose() {
        let failed = batch.is_err();
        if sender.send(batch).await.is_err() || failed {
            break;
        }
    }
    rows.notices()
}

/// Writes every batch as it comes, while the line is drawn and Ctrl-C is heard; tells what is told beside them.
async fn write_rows(
    mut reading: Reading,
    screen: &mut Screen,
    interrupt: &Interrupt,
    line: &mut ProgressLine,
) -> Result<Vec<String>, Stop> {
    let mut sink = sink(screen.format, &reading.schema, &screen.layout);
    let mut separated = false;
    loop {
        let batch = tokio::select! {
            biased;
            () = interrupt.next() => {
                leave(reading.reader).await;
                return Err(Stop::Interrupted);
            }
            batch = reading.next() => batch?,
            () = line.tick() => {
                line.draw(Some(&reading.progress));
                continue;
            }
        };
        let Some(batch) = batch else { break };
        if batch.num_rows() == 0 {
            continue;
        }
        line.clear();
        if !std::mem::replace(&mut separated, true) {
            screen.separate()?;
        }
        sink.batch(&batch, &mut screen.out)?;
    }
    line.clear();
    if !separated {
        screen.separate()?;
    }
    sink.finish(&mut screen.out)?;
    Ok(reading.notices)
}

//! One statement from its text to its output: watched, cancelled by Ctrl-C, written as it comes.

use crate::cli::{Interrupt, ProgressLine};
use crate::repl::render::{Format, Layout, sink};
use crate::session::{Outcome, Rows, Session};
use arrow::record_batch::RecordBatch;
use polder_catalog::{Error, Kind, Result, SqlState};
use std::io::{self, Write};
use std::time::Duration;

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
    /// Ctrl-C.
    Interrupted,
    /// Nobody reads our output any more.
    Unread,
}

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

/// Runs a statement and writes what it gives; the output is flushed when this returns. Tells how long it took.
pub(crate) async fn execute(
    session: &Session,
    sql: &str,
    screen: &mut Screen,
    interrupt: &mut Interrupt,
) -> Result<Duration, Stop> {
    let mut line = ProgressLine::start();
    let outcome = tokio::select! {
        biased;
        () = interrupt.next() => return Err(Stop::Interrupted),
        outcome = watched(session.run(sql), &mut line) => outcome?,
    };
    match outcome {
        Outcome::Done(tag) => {
            line.clear();
            screen.tag(&tag)?;
        }
        Outcome::Rows(rows) => {
            let written = write_rows(rows, screen, interrupt, &mut line).await;
            // What was written before an error has been seen by whoever reads along; the rest must not lag behind it.
            let flushed = screen.out.flush();
            written?;
            flushed?;
        }
    }
    Ok(line.elapsed())
}

/// Draws the line while a future runs that tells nothing of its progress.
async fn watched<T>(future: impl Future<Output = T>, line: &mut ProgressLine) -> T {
    let mut future = Box::pin(future);
    loop {
        tokio::select! {
            biased;
            done = &mut future => return done,
            () = line.tick() => line.draw(None),
        }
    }
}

async fn write_rows(
    mut rows: Rows,
    screen: &mut Screen,
    interrupt: &mut Interrupt,
    line: &mut ProgressLine,
) -> Result<(), Stop> {
    let mut sink = sink(screen.format, &rows.schema(), &screen.layout);
    let mut separated = false;
    while let Some(batch) = next(&mut rows, interrupt, line).await? {
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
    Ok(sink.finish(&mut screen.out)?)
}

/// The next batch, while the line is drawn and Ctrl-C is heard.
async fn next(
    rows: &mut Rows,
    interrupt: &mut Interrupt,
    line: &mut ProgressLine,
) -> Result<Option<RecordBatch>, Stop> {
    let progress = rows.progress();
    let cancellation = rows.cancellation();
    let mut next = Box::pin(rows.next());
    loop {
        tokio::select! {
            biased;
            () = interrupt.next() => {
                cancellation.cancel();
                return Err(Stop::Interrupted);
            }
            batch = &mut next => return Ok(batch?),
            () = line.tick() => line.draw(Some(&progress)),
        }
    }
}

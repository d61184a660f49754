//! Runs one `.slt` file, or fills in what it expects.

use crate::client::{Answer, Client, Kind, error_text};
use crate::place::Place;
use async_trait::async_trait;
use libtest_mimic::Failed;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Runs a file and compares.
pub(crate) fn run(file: &Path, kind: Kind) -> Result<(), Failed> {
    let text = std::fs::read_to_string(file)?;
    block_on(async {
        let mut runner = runner(&text, kind);
        runner.run_file_async(file).await.map_err(|error| Failed::from(error.display(false).to_string()))
    })
}

/// Runs a file and writes down what came.
pub(crate) fn complete(file: &Path, kind: Kind) -> Result<(), Failed> {
    let text = std::fs::read_to_string(file)?;
    block_on(async {
        let mut runner = runner(&text, kind);
        let columns = sqllogictest::default_column_validator;
        let done = runner.update_test_file(file, SEPARATOR, validate, normalize, columns).await;
        done.map_err(|error| Failed::from(error.to_string()))
    })
}

/// Between the columns of a row.
const SEPARATOR: &str = "\t";

/// The future is not `Send`, so it stays on this thread; the engine's tasks run on the runtime's own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("start a runtime").block_on(future)
}

fn runner(text: &str, kind: Kind) -> Runner<Connection, impl sqllogictest::MakeConnection<Conn = Connection> + use<>> {
    let place = Arc::new(Place::of(text));
    let mut runner = Runner::new(move || {
        let place = Arc::clone(&place);
        async move {
            let client = kind.connect(&place.locations()).await.map_err(|error| Failure::of(&error, &place))?;
            Ok(Connection { kind, client, place })
        }
    });
    runner.with_normalizer(normalize);
    runner.with_validator(validate);
    runner
}

/// Blanks matter: in EXPLAIN they say what stands under what.
#[allow(clippy::ptr_arg, reason = "the runner's own type")]
fn normalize(text: &String) -> String {
    text.trim_end().to_string()
}

fn validate(normalize: sqllogictest::Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let actual = actual.iter().map(|row| normalize(&row.join(SEPARATOR)));
    actual.eq(expected.iter().map(normalize))
}

struct Connection {
    kind: Kind,
    client: Client,
    place: Arc<Place>,
}

/// An error of the engine or of a neighbour, with the file's variables in it.
#[derive(Debug)]
struct Failure {
    text: String,
    state: Option<String>,
}

impl Failure {
    fn of(error: &polder::Error, place: &Place) -> Self {
        Self { text: place.restore(&error_text(error)), state: Some(error.state().to_string()) }
    }

    fn of_neighbor(message: &str, place: &Place) -> Self {
        Self { text: place.restore(message), state: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

#[async_trait]
impl AsyncDB for Connection {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let sql = self.place.substitute(sql);
        let neighbor = |result: Result<Vec<Vec<String>>, String>| match result {
            Ok(rows) => Ok(output(rows.first().map_or(0, Vec::len), rows, &self.place)),
            Err(message) => Err(Failure::of_neighbor(&message, &self.place)),
        };
        if let Some(sql) = sql.strip_prefix("-- at postgres\n") {
            return neighbor(self.place.at_postgres(sql));
        }
        if let Some(sql) = sql.strip_prefix("-- at duckdb\n") {
            return neighbor(self.place.at_duckdb(sql));
        }
        match self.client.run(&sql).await {
            Ok(Answer::Done) => Ok(DBOutput::StatementComplete(0)),
            Ok(Answer::Rows { columns, rows }) => Ok(output(columns, rows, &self.place)),
            Err(error) => Err(Failure::of(&error, &self.place)),
        }
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        self.kind.name()
    }

    fn error_sql_state(error: &Failure) -> Option<String> {
        error.state.clone()
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

fn output(columns: usize, rows: Vec<Vec<String>>, place: &Place) -> DBOutput<DefaultColumnType> {
    let rows = rows.into_iter().map(|row| row.iter().map(|field| place.restore(field)).collect()).collect();
    DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows }
}

//! Where a file's statements find their neighbours: a database, a bucket and a folder of its own.

use polder_testing::{DuckDb, Postgres, S3};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use tempfile::TempDir;

/// One cluster for all files; it stops when this process ends.
pub(crate) fn postgres() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(Postgres::start)
}

/// One S3 server for all files.
pub(crate) fn s3() -> &'static S3 {
    static SERVER: OnceLock<S3> = OnceLock::new();
    SERVER.get_or_init(S3::start)
}

/// What the variables of one file stand for.
pub(crate) struct Place {
    database: String,
    variables: Vec<(&'static str, String)>,
    folder: TempDir,
    duckdb: Mutex<Option<DuckDb>>,
}

impl Place {
    /// Makes what the text of a file mentions, and nothing else: a file without neighbors starts no server.
    pub(crate) fn of(text: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::tempdir().expect("make a temporary directory");
        let database = format!("slt_{number}");
        let mut place = Self { database, variables: Vec::new(), folder, duckdb: Mutex::new(None) };
        if ["$POSTGRES", "$DATABASE", "-- at postgres"].iter().any(|word| text.contains(word)) {
            place.make_database();
        }
        if ["$S3", "$BUCKET"].iter().any(|word| text.contains(word)) {
            place.make_bucket(&format!("slt-{number}"));
        }
        if text.contains("$LAKE") {
            place.make_lake();
        }
        place
    }

    /// A statement with the values in place of the variables.
    pub(crate) fn substitute(&self, sql: &str) -> String {
        self.variables.iter().fold(sql.to_string(), |text, (name, value)| text.replace(name, value))
    }

    /// A result with the variables in place of the values.
    pub(crate) fn restore(&self, text: &str) -> String {
        self.variables.iter().fold(text.to_string(), |text, (name, value)| text.replace(value, name))
    }

    /// Runs a statement in the file's database and returns its rows.
    pub(crate) fn at_postgres(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        let text = postgres().try_psql(&self.database, sql)?;
        Ok(text.lines().map(|line| line.split('|').map(String::from).collect()).collect())
    }

    /// Runs a statement in a DuckDB of the file's own, which knows the S3 server, and returns its rows.
    pub(crate) fn at_duckdb(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        let mut duckdb = self.duckdb.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let duckdb = duckdb.get_or_insert_with(|| {
            let mut duckdb = DuckDb::start();
            if self.variables.iter().any(|(name, _)| *name == "$BUCKET") {
                duckdb.use_s3(s3());
            }
            duckdb
        });
        let rows = duckdb.try_query(sql)?;
        let text = |value: Option<String>| match value {
            None => "NULL".to_string(),
            Some(text) if text.is_empty() => "(empty)".to_string(),
            Some(text) => text,
        };
        Ok(rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect())
    }

    /// Where the file's catalogs may lead.
    pub(crate) fn locations(&self) -> Vec<String> {
        let location = |(name, value): &(&str, String)| match *name {
            "$BUCKET" => Some(format!("s3://{value}")),
            "$S3_ENDPOINT" | "$LAKE" => Some(value.clone()),
            _ => None,
        };
        self.variables.iter().filter_map(location).collect()
    }

    fn make_database(&mut self) {
        let url = postgres().create_database(&self.database);
        self.set("$POSTGRES_URL", url);
        self.set("$POSTGRES_ADDRESS", format!("127.0.0.1:{}", postgres().port()));
        self.set("$POSTGRES_PORT", postgres().port().to_string());
        self.set("$DATABASE", self.database.clone());
    }

    fn make_bucket(&mut self, bucket: &str) {
        s3().create_bucket(bucket);
        let secret = self.folder.path().join("s3-secret");
        std::fs::write(&secret, s3().secret_key()).expect("write the secret key");
        self.set("$S3_ENDPOINT", s3().endpoint());
        self.set("$S3_KEY", s3().access_key().to_string());
        self.set("$S3_SECRET", format!("file:{}", secret.display()));
        self.set("$S3_REGION", s3().region().to_string());
        self.set("$BUCKET", bucket.to_string());
    }

    fn make_lake(&mut self) {
        let lake = self.folder.path().join("lake");
        std::fs::create_dir(&lake).expect("create the folder");
        self.set("$LAKE", lake.display().to_string());
    }

    fn set(&mut self, name: &'static str, value: String) {
        self.variables.push((name, value));
    }
}

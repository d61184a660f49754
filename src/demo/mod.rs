//! `polder demo`: three questions to a shop whose data lies in several stores, with what each store was asked.
//!
//! Everything is made for the tour, in the temporary data directory of its engine, and goes with it: orders in a topic of the
//! log, products in a lake of files, reviews in a search index, and a customer database in memory. Nothing needs to be
//! installed and nothing is left behind. With `--postgres` the customers live in that server instead, in a schema that is
//! dropped at the end.

mod lake;
mod reviews;
mod crm;
mod postgres;
mod customers;
mod random;

use crate::cli::{CopyData, Interrupt, Screen, Stop, execute};
use crate::client::Client;
use crate::engine::{Engine, EngineBuilder};
use crate::render::{Expanded, Format, Layout};
use crate::repl;
use crate::sql;
use polder_catalog::{Error, Kind, Result, SqlState};
use postgres::Schema;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// What a tour may be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Keeps the customers in this PostgreSQL, in a schema of the tour's own that is dropped at its end. A password is
    /// taken from PGPASSWORD.
    #[arg(long, value_name = "URL", env = "POLDER_DEMO_POSTGRES", hide_env_values = true)]
    postgres: Option<String>,
}

/// One stop of the tour.
struct Question {
    asks: &'static str,
    /// What there is to see.
    shows: &'static str,
    query: &'static str,
}

const QUESTIONS: [Question; 3] = [
    Question {
        asks: "Which categories sell best?",
        shows: "Orders are records of a topic, products are a Parquet file. Each is asked for the columns that count.",
        query: "\
SELECT p.category, count(*) AS orders, sum(o.quantity * p.price) AS revenue
FROM orders o JOIN lake.products p ON p.id = o.product_id
WHERE o.ordered_at >= '2025-01-01'
GROUP BY p.category
ORDER BY revenue DESC",
    },
    Question {
        asks: "Who are the five best customers in the Netherlands?",
        shows: "Customers are rows of a database, which is asked for the Dutch only.",
        query: "\
SELECT c.name, c.city, count(*) AS orders, sum(o.quantity * p.price) AS spent
FROM crm.customers c
JOIN orders o ON o.customer_id = c.id
JOIN lake.products p ON p.id = o.product_id
WHERE c.country = 'NL'
GROUP BY c.id, c.name, c.city
ORDER BY spent DESC, c.name
LIMIT 5",
    },
    Question {
        asks: "What do people complain about, and how much of it did we sell?",
        shows: "Reviews are a search index: breaks and breaking are one word to it. Three kinds of store, one query.",
        query: "\
SELECT p.name, r.complaints, r.stars, s.sold
FROM (SELECT product_id, count(*) AS complaints, round(avg(stars), 1) AS stars
      FROM docs.public.reviews
      WHERE match(body, 'breaks OR broke* OR \"fell off\"')
      GROUP BY product_id) r
JOIN lake.products p ON p.id = r.product_id
JOIN (SELECT product_id, sum(quantity) AS sold FROM orders GROUP BY product_id) s ON s.product_id = r.product_id
ORDER BY r.complaints DESC, p.name
LIMIT 5",
    },
];

const ORDERS: &str = "\
CREATE TOPIC orders (id BIGINT, ordered_at TIMESTAMP, customer_id BIGINT, product_id INT, quantity INT)
  WITH (shards = 2, key = 'id')";

const REVIEWS: &str = "\
CREATE TABLE docs.public.reviews (
  id BIGINT PRIMARY KEY, product_id INT, stars INT, body TEXT WITH (analyzer = 'english'))";

const NEXT: &str = "\
What to try next, with your own data:

  polder sql                                  a shell; \\? lists its commands
  polder sql -c \"SELECT * FROM 'your/folder/*.parquet' LIMIT 10\"

  CREATE CATALOG shop USING postgres
    WITH (url = 'postgres://you@localhost:5432/shop', password = 'env:SHOP_PASSWORD');
  CREATE CATALOG lake USING object_store WITH (location = 's3://bucket/prefix');
  CREATE CATALOG docs USING search WITH (path = '/var/lib/polder/docs');
  CREATE TOPIC events (id BIGINT, what TEXT) WITH (key = 'id');
  CHECK CATALOG shop;
  SHOW TABLES FROM shop;

`polder sql --data DIR` keeps what you create; `polder log cat --data DIR` shows the log that it is kept in.";

/// Takes the tour.
pub(crate) fn run(runtime: &Runtime, builder: EngineBuilder, arguments: &Arguments) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    runtime.block_on(async {
        let engine = builder.connector(Arc::new(crm::DemoCrm)).data_dir(None).allow_local_files(true).open().await?;
        let toured = Box::pin(visit(engine, &interrupt, arguments)).await;
        match toured {
            Ok(()) | Err(Stop::Unread) => Ok(ExitCode::SUCCESS),
            Err(Stop::Interrupted) => Ok(interrupt.exit_code()),
            Err(Stop::Failed(error)) => Err(error),
        }
    })
}

/// Builds what the tour shows, shows it, and takes it down again, however the tour ended.
async fn visit(engine: Engine, interrupt: &Interrupt, arguments: &Arguments) -> Result<(), Stop> {
    let schema = match arguments.postgres.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => Some(Schema::create(url, &engine).await?),
        None => None,
    };
    let toured = tour(&engine, interrupt, schema.as_ref()).await;
    let closed = engine.close().await;
    if let Some(schema) = schema {
        schema.drop().await?;
    }
    toured?;
    Ok(closed?)
}

async fn tour(engine: &Engine, interrupt: &Interrupt, schema: Option<&Schema>) -> Result<(), Stop> {
    let mut guide = Guide {
        session: Arc::new(engine.session()),
        // The plans are as wide as they are; expanding a table would hide its shape.
        screen: Screen::new(Format::Table, Layout { width: repl::terminal_width(), expanded: Expanded::Off }),
        interrupt,
        customers: schema.map_or("crm.customers".to_string(), |schema| format!("crm.{}.customers", schema.name)),
    };
    let folder = engine.data_dir().join("demo");
    lake::write(&folder).and_then(|()| reviews::write(&folder)).map_err(|error| unwritten(error.as_ref()))?;

    guide.say(
        "Polder: one query over several stores, and the log that keeps what is derived from them true.\n\n\
         A shop has its products in a lake of files and its customers in a database. Both are attached as catalogs:\n",
    )?;
    let path = |name: &str| sql::literal(&folder.join(name).display().to_string());
    guide.shown(&format!("CREATE CATALOG lake USING object_store WITH (location = {})", path("lake"))).await?;
    guide.shown(&schema.map_or("CREATE CATALOG crm USING demo_crm".to_string(), Schema::catalog)).await?;
    guide.say("\nOrders are appended to a topic of the log. What came in before is copied from files:\n")?;
    guide.shown(ORDERS).await?;
    guide.shown(&format!("INSERT INTO orders SELECT * FROM {}", path("history/*.parquet"))).await?;
    guide.say("\nReviews are searched by their words, so they are kept in a search index, which follows the log:\n")?;
    guide.shown(&format!("CREATE CATALOG docs USING search WITH (path = {})", path("docs"))).await?;
    guide.shown(REVIEWS).await?;
    guide.shown(&format!("COPY docs.public.reviews FROM {}", path("reviews.ndjson"))).await?;
    guide.shown("SHOW TABLES").await?;
    for (number, question) in QUESTIONS.iter().enumerate() {
        guide.answer(number + 1, question).await?;
    }
    let line = "─".repeat(72);
    if let Some(Schema { name, .. }) = schema {
        guide
            .say(&format!("\n{line}\nThe customers were in schema {name} of your PostgreSQL, which is dropped now."))?;
    }
    guide.say(&format!("\n{line}\n\n{NEXT}"))?;
    Ok(())
}

struct Guide<'a> {
    session: Arc<dyn Client>,
    screen: Screen,
    interrupt: &'a Interrupt,
    /// Where the table is that the questions call `crm.customers`.
    customers: String,
}

impl Guide<'_> {
    fn say(&mut self, text: &str) -> Result<(), Stop> {
        Ok(self.screen.say(text)?)
    }

    /// Prints a statement as one would type it, and runs it.
    async fn shown(&mut self, statement: &str) -> Result<(), Stop> {
        self.say(&format!("polder=> {statement};"))?;
        self.execute(statement).await
    }

    async fn answer(&mut self, number: usize, question: &Question) -> Result<(), Stop> {
        let Question { asks, shows, query } = question;
        let query = query.replace("crm.customers", &self.customers);
        self.say(&format!(
            "\n{}\n{number}. {asks}\n   {shows}\n\n{query};\n\nWhat each store is asked:",
            "─".repeat(72)
        ))?;
        self.execute(&format!("EXPLAIN {query}")).await?;
        self.say("\nThe answer:")?;
        self.execute(&query).await
    }

    async fn execute(&mut self, statement: &str) -> Result<(), Stop> {
        execute(&self.session, statement, &mut self.screen, self.interrupt, CopyData::Nowhere).await.map(drop)
    }
}

fn unwritten(error: &dyn std::error::Error) -> Error {
    Error::new(Kind::Retry, SqlState::IO, "could not write the files of the tour")
        .with_detail(error.to_string())
        .with_hint("is the temporary directory full? TMPDIR chooses another one")
}

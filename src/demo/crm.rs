//! The customer database of the tour: a connector of its own around tables in memory.

use super::random::Random;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use polder_catalog::{CatalogName, Connector, Error, OptionSpec, Options, Result, Source};
use polder_memory::{MemoryConnector, Transaction};
use std::sync::Arc;

/// How many customers there are; their ids count from 1.
pub(super) const CUSTOMERS: usize = 400;

const FIRST_NAMES: [&str; 16] = [
    "Anna", "Bram", "Chloé", "Daan", "Emma", "Finn", "Greta", "Hugo", "Isa", "Jürgen", "Karin", "Lars", "Mila", "Noor",
    "Otto", "Sofie",
];
const LAST_NAMES: [&str; 14] = [
    "Bakker",
    "Bernard",
    "de Boer",
    "de Vries",
    "Dubois",
    "Fischer",
    "Jansen",
    "Maes",
    "Meyer",
    "Peeters",
    "Petit",
    "Schneider",
    "van Dijk",
    "Visser",
];
const CITIES: [(&str, &str); 10] = [
    ("Amsterdam", "NL"),
    ("Utrecht", "NL"),
    ("Groningen", "NL"),
    ("Antwerpen", "BE"),
    ("Gent", "BE"),
    ("Berlin", "DE"),
    ("Hamburg", "DE"),
    ("Köln", "DE"),
    ("Lyon", "FR"),
    ("Paris", "FR"),
];

/// `CREATE CATALOG crm USING demo_crm`.
#[derive(Debug)]
pub(super) struct DemoCrm;

#[async_trait]
impl Connector for DemoCrm {
    fn name(&self) -> &'static str {
        "demo_crm"
    }

    fn doc(&self) -> &'static str {
        "The customers of the guided tour, in memory."
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    async fn attach(&self, name: &CatalogName, _: Options) -> Result<Arc<dyn Source>> {
        let memory = MemoryConnector::default();
        let options = Options::validate(memory.options(), [])?;
        let source = memory.attach(name, options).await?;
        let customers = customers()?;
        let filled = memory.source(name).expect("the catalog was attached a line ago");
        let schema = customers.schema();
        filled.commit(Transaction::new().create_table("customers", schema, &["id"]).insert("customers", customers))?;
        Ok(source)
    }
}

fn customers() -> Result<RecordBatch> {
    let mut random = Random::new(7);
    let mut people = Vec::with_capacity(CUSTOMERS);
    for _ in 0..CUSTOMERS {
        let name = format!("{} {}", random.pick(&FIRST_NAMES), random.pick(&LAST_NAMES));
        people.push((name, random.pick(&CITIES)));
    }
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let fields = vec![Field::new("id", DataType::Int64, false), text("name"), text("city"), text("country")];
    let columns: Vec<ArrayRef> = vec![
        Arc::new((1_i64..).take(CUSTOMERS).collect::<Int64Array>()),
        Arc::new(people.iter().map(|(name, _)| Some(name)).collect::<StringArray>()),
        Arc::new(people.iter().map(|(_, (city, _))| Some(*city)).collect::<StringArray>()),
        Arc::new(people.iter().map(|(_, (_, country))| Some(*country)).collect::<StringArray>()),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| Error::report("the customers of the tour do not fit their columns").with_source(error))
}

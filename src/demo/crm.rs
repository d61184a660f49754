//! The customer database of the tour: a connector of its own around tables in memory.

use super::customers::customers;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use polder_catalog::{CatalogName, Connector, Error, OptionSpec, Options, Result, Source};
use polder_memory::{MemoryConnector, Transaction};
use std::sync::Arc;

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
        let customers = rows()?;
        let filled = memory.source(name).expect("the catalog was attached a line ago");
        let schema = customers.schema();
        filled.commit(Transaction::new().create_table("customers", schema, &["id"]).insert("customers", customers))?;
        Ok(source)
    }
}

fn rows() -> Result<RecordBatch> {
    let customers = customers();
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let fields = vec![Field::new("id", DataType::Int64, false), text("name"), text("city"), text("country")];
    let columns: Vec<ArrayRef> = vec![
        Arc::new((1_i64..).take(customers.len()).collect::<Int64Array>()),
        Arc::new(customers.iter().map(|customer| Some(&*customer.name)).collect::<StringArray>()),
        Arc::new(customers.iter().map(|customer| Some(customer.city)).collect::<StringArray>()),
        Arc::new(customers.iter().map(|customer| Some(customer.country)).collect::<StringArray>()),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| Error::report("the customers of the tour do not fit their columns").with_source(error))
}

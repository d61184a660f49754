//! From the columns of a part, as it was written, to those that a reader wants now.

use crate::columns::TopicTable;
use crate::error::of_store;
use crate::store::{Entry, Part, SchemaId};
use crate::topic::column_id;
use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use polder_catalog::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// The mappings of the schemas that were met, by their ids: a schema never changes.
#[derive(Default)]
pub(crate) struct Mappings(HashMap<SchemaId, Mapping>);

struct Mapping {
    stored: SchemaRef,
    /// The stored columns to decode, in order.
    projection: Vec<usize>,
    /// For each wanted column its place among the decoded ones.
    places: Vec<Option<usize>>,
    wanted: SchemaRef,
    /// Whether the decoded columns are the wanted ones.
    is_identity: bool,
}

impl Mappings {
    /// The wanted declared columns of a part, or why it cannot be decoded.
    pub(crate) fn decode(
        &mut self,
        table: &TopicTable,
        wanted: &[usize],
        entry: &Entry,
        part: &Part,
    ) -> Result<Result<RecordBatch, String>> {
        if !self.0.contains_key(&part.id) {
            match entry.schema(part.id) {
                Ok(stored) => self.0.insert(part.id, Mapping::new(table, wanted, stored)),
                Err(error) if error.damage().is_some() => return Err(of_store(error)),
                Err(error) => return Ok(Err(error.message().to_string())),
            };
        }
        let mapping = self.0.get(&part.id).expect("the mapping was just made");
        match part.to_batch(&mapping.stored, Some(&mapping.projection)) {
            Ok(batch) => mapping.apply(batch),
            Err(error) => Ok(Err(error.message().to_string())),
        }
    }
}

impl Mapping {
    fn new(table: &TopicTable, wanted: &[usize], stored: SchemaRef) -> Self {
        let ids: Vec<_> = stored.fields().iter().map(|field| column_id(field)).collect();
        let sources: Vec<Option<usize>> = wanted
            .iter()
            .map(|column| ids.iter().position(|id| *id == Some(table.definition.columns[*column].id)))
            .collect();
        let mut projection: Vec<usize> = sources.iter().flatten().copied().collect();
        projection.sort_unstable();
        let places: Vec<_> = sources.iter().map(|source| projection.binary_search(&(*source)?).ok()).collect();
        let fields: Vec<FieldRef> = wanted.iter().map(|column| Arc::clone(&table.schema.fields()[*column])).collect();
        let same_types = sources.iter().zip(&fields).all(|(source, field)| {
            source.is_some_and(|source| stored.field(source).data_type() == field.data_type())
        });
        let is_identity = same_types && places.iter().enumerate().all(|(at, place)| *place == Some(at));
        Self { stored, projection, places, wanted: Arc::new(Schema::new(fields)), is_identity }
    }

    fn apply(&self, batch: RecordBatch) -> Result<Result<RecordBatch, String>> {
        let rows = batch.num_rows();
        let columns = if self.is_identity {
            batch.columns().to_vec()
        } else {
            let columns = self.places.iter().zip(self.wanted.fields());
            let columns = columns.map(|(place, field)| column(&batch, *place, field)).collect();
            match columns {
                Ok(columns) => columns,
                Err(why) => return Ok(Err(why)),
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let mapped = RecordBatch::try_new_with_options(Arc::clone(&self.wanted), columns, &options);
        mapped.map(Ok).map_err(|error| Error::from_datafusion(error.into()))
    }
}

/// A wanted column of the decoded ones; of a type that was widened since, each value is in the new type.
fn column(batch: &RecordBatch, place: Option<usize>, field: &FieldRef) -> Result<ArrayRef, String> {
    let Some(place) = place else { return Ok(new_null_array(field.data_type(), batch.num_rows())) };
    let column = batch.column(place);
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, field.data_type(), &options)
        .map_err(|error| format!("column \"{}\" has another type now: {error}", field.name()))
}

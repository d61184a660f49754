//! From the columns of parts, as they were written, to those that a reader wants now.

use crate::columns::TopicTable;
use crate::error::of_store;
use crate::store::{BatchDecoder, Entry, Part, SchemaId};
use crate::topic::column_id;
use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use polder_catalog::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// The mappings of the schemas that were met, by their ids: a schema never changes.
pub(crate) struct Mappings {
    /// The wanted declared columns.
    wanted: Vec<usize>,
    schema: SchemaRef,
    mappings: HashMap<SchemaId, Mapping>,
    /// Many small parts of one schema are decoded together.
    joined: Option<(SchemaId, BatchDecoder)>,
}

/// Why a part cannot be decoded.
pub(crate) type Undecodable = String;

struct Mapping {
    stored: SchemaRef,
    /// The stored columns to decode, in order.
    projection: Vec<usize>,
    /// For each wanted column its place among the decoded ones.
    places: Vec<Option<usize>>,
    /// Whether the decoded columns are the wanted ones.
    is_identity: bool,
}

impl Mappings {
    pub(crate) fn new(table: &TopicTable, wanted: &[usize]) -> Self {
        let fields = wanted.iter().map(|column| Arc::clone(&table.schema.fields()[*column]));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()));
        Self { wanted: wanted.to_vec(), schema, mappings: HashMap::new(), joined: None }
    }

    /// The wanted columns, all nullable.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds a compact part to those that are decoded together. What was joined under another schema was
    /// [taken](Self::take) before.
    pub(crate) fn join(&mut self, table: &TopicTable, entry: &Entry, part: &Part) -> Result<Result<(), Undecodable>> {
        if self.joined.is_none() {
            let mapping = match self.mapping(table, entry, part.id)? {
                Ok(mapping) => mapping,
                Err(why) => return Ok(Err(why)),
            };
            let (stored, projection) = (Arc::clone(&mapping.stored), mapping.projection.clone());
            let decoder = BatchDecoder::new(stored, Some(projection), usize::MAX).map_err(of_store)?;
            self.joined = Some((part.id, decoder));
        }
        let (_, decoder) = self.joined.as_mut().expect("it was just made");
        Ok(decoder.push(part).map_err(|error| error.message().to_string()))
    }

    /// Whether parts of another schema are joined.
    pub(crate) fn holds_other(&self, id: SchemaId) -> bool {
        self.joined.as_ref().is_some_and(|(joined, _)| *joined != id)
    }

    /// The wanted columns of the parts that were joined, if there are any.
    pub(crate) fn take(&mut self) -> Result<Option<RecordBatch>> {
        let Some((id, decoder)) = &mut self.joined else { return Ok(None) };
        let Some(batch) = decoder.flush().map_err(of_store)? else { return Ok(None) };
        let mapping = self.mappings.get(id).expect("a joined part has a mapping");
        let mapped = mapping.apply(&self.schema, batch)?;
        mapped.map(Some).map_err(|why| Error::report(format!("compact rows could not be read: {why}")))
    }

    /// Begins anew with parts of another schema.
    pub(crate) fn reset(&mut self) {
        self.joined = None;
    }

    /// The wanted columns of a part, or why it cannot be decoded.
    pub(crate) fn decode(
        &mut self,
        table: &TopicTable,
        entry: &Entry,
        part: &Part,
    ) -> Result<Result<RecordBatch, Undecodable>> {
        let schema = Arc::clone(&self.schema);
        let mapping = match self.mapping(table, entry, part.id)? {
            Ok(mapping) => mapping,
            Err(why) => return Ok(Err(why)),
        };
        match part.to_batch(&mapping.stored, Some(&mapping.projection)) {
            Ok(batch) => mapping.apply(&schema, batch),
            Err(error) => Ok(Err(error.message().to_string())),
        }
    }

    fn mapping(&mut self, table: &TopicTable, entry: &Entry, id: SchemaId) -> Result<Result<&Mapping, Undecodable>> {
        if !self.mappings.contains_key(&id) {
            match entry.schema(id) {
                Ok(stored) => self.mappings.insert(id, Mapping::new(table, &self.wanted, stored)),
                Err(error) if error.damage().is_some() => return Err(of_store(error)),
                Err(error) => return Ok(Err(error.message().to_string())),
            };
        }
        Ok(Ok(self.mappings.get(&id).expect("the mapping was just made")))
    }
}

impl Mapping {
    fn new(table: &TopicTable, wanted: &[usize], stored: SchemaRef) -> Self {
        let ids: Vec<_> = stored.fields().iter().map(|field| column_id(field)).collect();
        let columns = wanted.iter().map(|column| &table.definition.columns[*column]);
        let sources: Vec<_> = columns.clone().map(|column| ids.iter().position(|id| *id == Some(column.id))).collect();
        let mut projection: Vec<usize> = sources.iter().flatten().copied().collect();
        projection.sort_unstable();
        let places: Vec<_> = sources.iter().map(|source| projection.binary_search(&(*source)?).ok()).collect();
        let same_types = sources.iter().zip(columns).all(|(source, column)| {
            source.is_some_and(|source| stored.field(source).data_type() == column.field.data_type())
        });
        let is_identity = same_types && places.iter().enumerate().all(|(at, place)| *place == Some(at));
        Self { stored, projection, places, is_identity }
    }

    fn apply(&self, wanted: &SchemaRef, batch: RecordBatch) -> Result<Result<RecordBatch, Undecodable>> {
        let columns = if self.is_identity {
            batch.columns().to_vec()
        } else {
            let columns = self.places.iter().zip(wanted.fields());
            match columns.map(|(place, field)| column(&batch, *place, field)).collect() {
                Ok(columns) => columns,
                Err(why) => return Ok(Err(why)),
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let mapped = RecordBatch::try_new_with_options(Arc::clone(wanted), columns, &options);
        mapped.map(Ok).map_err(|error| Error::from_datafusion(error.into()))
    }
}

/// A wanted column of the decoded ones; of a type that was widened since, each value is in the new type.
fn column(batch: &RecordBatch, place: Option<usize>, field: &FieldRef) -> Result<ArrayRef, Undecodable> {
    let Some(place) = place else { return Ok(new_null_array(field.data_type(), batch.num_rows())) };
    let column = batch.column(place);
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, field.data_type(), &options)
        .map_err(|error| format!("column \"{}\" has another type now: {error}", field.name()))
}

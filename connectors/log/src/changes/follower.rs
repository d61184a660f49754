//! The state of one stream of changes, and a round of telling.

use super::cut::Cut;
use crate::columns::{Hidden, TopicTable};
use crate::error::of_store;
use crate::pushdown::unqualified;
use crate::records::{Columns, Records};
use crate::source::Topics;
use crate::store::{DurableEnd, Entries, Entry, EntryNumber, Shard};
use arrow::array::{AsArray, Int64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::DFSchema;
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use polder_catalog::{
    ChangeEvent, ChangePart, ChangesRequest, DatasetId, DatasetRequest, Error, PART_ROWS_MAX, Result, SqlState,
    TransactionHeader, WEIGHT_COLUMN,
};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::mpsc::Sender;

/// How far back the schema of the last part before a position is looked for.
const ENTRIES_LOOKED_BACK: u64 = 256;

/// Where events go.
type Events = Sender<Result<ChangeEvent>>;

pub(super) struct Follower {
    cut: Cut,
    followed: Vec<Followed>,
}

/// A dataset that is followed.
struct Followed {
    id: DatasetId,
    table: Arc<TopicTable>,
    /// The ids of the columns that are told, hidden ones by name; `None` for all declared ones.
    wanted: Option<Vec<Wanted>>,
    predicate: Option<Expr>,
    reading: Reading,
    /// The schema of the last part that was told or passed.
    schema: Option<u32>,
}

#[derive(Clone, Copy)]
enum Wanted {
    Declared(u32),
    Hidden(Hidden),
}

/// What is read of each record, and what is told of it.
struct Reading {
    columns: Columns,
    /// The first so many columns are told; those after them are for the predicate.
    told: usize,
    predicate: Option<Arc<dyn PhysicalExpr>>,
}

impl Follower {
    pub(super) fn new(topics: &Topics, request: ChangesRequest) -> Result<Self> {
        let mut followed =
            request.datasets.into_iter().map(|request| Followed::new(topics, request)).collect::<Result<Vec<_>>>()?;
        let cut = match &request.after {
            Some(after) => {
                let cut = Cut::parse(after)?;
                for followed in &mut followed {
                    followed.look_back(topics, &cut)?;
                }
                cut
            }
            None => oldest(topics)?,
        };
        Ok(Self { cut, followed })
    }

    pub(super) fn cut(&self) -> &Cut {
        &self.cut
    }

    /// Tells what is durable now; false if the stream ends.
    pub(super) fn tell(&mut self, topics: &Topics, events: &Events) -> Result<bool> {
        let shards: Vec<(Shard, DurableEnd)> =
            topics.shards()?.into_iter().map(|shard| (shard.clone(), shard.end())).collect();
        let before = self.cut.position();
        let asked = self.shards();
        let mut cursors = Vec::new();
        for (shard, end) in shards.iter().filter(|(shard, _)| asked.contains(shard.name())) {
            match Cursor::open(shard, self.cut.entry(shard.name()), *end)? {
                Some(cursor) => cursors.push(cursor),
                None => {
                    send(events, lost(shard));
                    return Ok(false);
                }
            }
        }
        let mut told = before;
        while let Some(cursor) =
            cursors.iter_mut().filter(|cursor| cursor.next.is_some()).min_by_key(|next| next.time())
        {
            let Some(entry) = cursor.take()? else { continue };
            let header = entry.header();
            self.cut.pass(cursor.shard.name(), header.number.0 + 1, header.commit_time.0);
            match self.tell_entry(topics, &cursor.shard, &entry, events)? {
                Told::Nothing => {}
                Told::Entry => told = self.cut.position(),
                Told::NobodyListens => return Ok(false),
            }
        }
        shards.iter().for_each(|(shard, end)| self.cut.pass(shard.name(), end.entries.0, end.time.0));
        let position = self.cut.position();
        if position == told {
            return Ok(true);
        }
        // Nothing that was asked for, but the position moves on.
        let time = shards.iter().map(|(_, end)| end.time.0).max().unwrap_or_default();
        let header =
            TransactionHeader { position: position.clone(), time: of_time(time), origin: None, request_id: None };
        Ok(send(events, ChangeEvent::Begin(header)) && send(events, ChangeEvent::Commit(position)))
    }

    /// The shards of what is followed.
    fn shards(&self) -> BTreeSet<String> {
        self.followed.iter().flat_map(|followed| followed.table.definition.shards.iter().cloned()).collect()
    }

    fn tell_entry(&mut self, topics: &Topics, shard: &Shard, entry: &Entry, events: &Events) -> Result<Told> {
        let position = self.cut.position();
        let mut begun = false;
        for followed in &mut self.followed {
            if !followed.table.definition.shards.iter().any(|name| name == shard.name()) {
                continue;
            }
            let Some(schema) = followed.schema_in(entry) else { continue };
            if !begun {
                let attributes = &entry.header().attributes;
                let header = TransactionHeader {
                    position: position.clone(),
                    time: of_time(entry.header().commit_time.0),
                    origin: attributes.origin.clone(),
                    request_id: attributes.request_id.clone(),
                };
                begun = true;
                if !send(events, ChangeEvent::Begin(header)) {
                    return Ok(Told::NobodyListens);
                }
            }
            let changed = followed.schema.replace(schema).is_some_and(|before| before != schema);
            if changed {
                followed.renew(topics)?;
                let (dataset, schema) = (followed.id.clone(), Arc::new(followed.told_schema()));
                if !send(events, ChangeEvent::SchemaChange { dataset, schema, position: position.clone() }) {
                    return Ok(Told::NobodyListens);
                }
            }
            if !followed.tell(topics, shard, entry, events)? {
                return Ok(Told::NobodyListens);
            }
        }
        if begun && !send(events, ChangeEvent::Commit(position)) {
            return Ok(Told::NobodyListens);
        }
        Ok(if begun { Told::Entry } else { Told::Nothing })
    }
}

enum Told {
    Nothing,
    Entry,
    NobodyListens,
}

/// Whether somebody listens.
fn send(events: &Events, event: ChangeEvent) -> bool {
    events.blocking_send(Ok(event)).is_ok()
}

fn lost(shard: &Shard) -> ChangeEvent {
    let reason = format!(
        "shard \"{}\" was trimmed up to entry {}: what came after the position is gone; copy the topic anew",
        shard.name(),
        shard.start_entry()
    );
    ChangeEvent::Lost { reason }
}

fn of_time(microseconds: i64) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(microseconds).unwrap_or_default())
}

/// Where the shards of all topics start.
fn oldest(topics: &Topics) -> Result<Cut> {
    let mut cut = Cut::default();
    for shard in topics.shards()? {
        cut.pass(shard.name(), shard.start_entry().0, i64::MIN);
    }
    Ok(cut)
}

/// The entries of one shard, one ahead.
struct Cursor {
    shard: Shard,
    entries: Entries,
    next: Option<Entry>,
}

impl Cursor {
    /// `None` if the entry was trimmed.
    fn open(shard: &Shard, from: u64, end: DurableEnd) -> Result<Option<Self>> {
        if from < shard.start_entry().0 {
            return Ok(None);
        }
        let entries = shard.read_entries(EntryNumber(from)..end.entries).map_err(of_store)?;
        let mut cursor = Self { shard: shard.clone(), entries, next: None };
        cursor.take()?;
        Ok(Some(cursor))
    }

    fn time(&self) -> Option<i64> {
        self.next.as_ref().map(|entry| entry.header().commit_time.0)
    }

    fn take(&mut self) -> Result<Option<Entry>> {
        let next = self.entries.next().transpose().map_err(of_store)?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

impl Followed {
    fn new(topics: &Topics, request: DatasetRequest) -> Result<Self> {
        let DatasetRequest { dataset, columns, predicate } = request;
        let table = topics
            .table_of(&dataset)
            .ok_or_else(|| Error::fix(SqlState::NO_TABLE, format!("dataset {dataset} is not a topic")))?;
        let wanted = columns.map(|places| places.iter().map(|place| wanted(&table, *place)).collect::<Result<_>>());
        let wanted = wanted.transpose()?;
        let reading = Reading::new(&table, wanted.as_deref(), predicate.as_ref())?;
        Ok(Self { id: dataset, table, wanted, predicate, reading, schema: None })
    }

    /// The schema of the last part before the cut, if it is near.
    fn look_back(&mut self, topics: &Topics, cut: &Cut) -> Result<()> {
        for shard in topics.shards()? {
            let end = cut.entry(shard.name()).min(shard.end().entries.0);
            let start = end.saturating_sub(ENTRIES_LOOKED_BACK).max(shard.start_entry().0);
            if !self.table.definition.shards.iter().any(|name| name == shard.name()) || start >= end {
                continue;
            }
            for entry in shard.read_entries(EntryNumber(start)..EntryNumber(end)).map_err(of_store)? {
                self.schema = self.schema.max(self.schema_in(&entry.map_err(of_store)?));
            }
        }
        Ok(())
    }

    /// The schema of the parts of the dataset in an entry, if there are any.
    fn schema_in(&self, entry: &Entry) -> Option<u32> {
        if entry.header().record_count == 0 {
            return None;
        }
        let own = entry.parts().filter_map(Result::ok).find(|part| part.id.dataset == self.table.definition.id);
        own.map(|part| part.id.schema)
    }

    /// Goes on with the present definition.
    fn renew(&mut self, topics: &Topics) -> Result<()> {
        if let Some(table) = topics.table_of(&self.id) {
            self.reading = Reading::new(&table, self.wanted.as_deref(), self.predicate.as_ref())?;
            self.table = table;
        }
        Ok(())
    }

    fn told_schema(&self) -> Schema {
        let fields = self.reading.columns.schema.fields();
        Schema::new(fields[..self.reading.told].to_vec())
    }

    /// Tells the records of the dataset in an entry; false if nobody listens.
    fn tell(&self, topics: &Topics, shard: &Shard, entry: &Entry, events: &Events) -> Result<bool> {
        let stopped = || events.is_closed();
        let columns = &self.reading.columns;
        let mut records = Records::new(&self.table, columns, PART_ROWS_MAX, &topics.decoded, &stopped);
        let mut failed = Ok(());
        let mut tell = |batch: RecordBatch| match self.reading.part(&batch) {
            Ok(batch) if batch.num_rows() == 0 => ControlFlow::Continue(()),
            Ok(batch) => match send(events, ChangeEvent::Part(ChangePart { dataset: self.id.clone(), batch })) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            },
            Err(error) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        };
        let mut done = records.read_entry(shard, entry, &mut tell)?;
        if done.is_continue() {
            done = records.finish(&mut tell)?;
        }
        failed?;
        Ok(done.is_continue())
    }
}

fn wanted(table: &TopicTable, place: usize) -> Result<Wanted> {
    if place >= table.schema.fields().len() {
        return Err(Error::fix(
            SqlState::NO_COLUMN,
            format!("topic \"{}\" has no column {place}", table.definition.name),
        ));
    }
    Ok(match table.origin(place) {
        crate::columns::Origin::Declared(column) => Wanted::Declared(table.definition.columns[column].id),
        crate::columns::Origin::Hidden(hidden) => Wanted::Hidden(hidden),
    })
}

impl Reading {
    fn new(table: &TopicTable, wanted: Option<&[Wanted]>, predicate: Option<&Expr>) -> Result<Self> {
        let mut places: Vec<usize> = match wanted {
            None => (0..table.declared()).collect(),
            // A column that was dropped since is told no more.
            Some(wanted) => wanted.iter().filter_map(|wanted| place(table, *wanted)).collect(),
        };
        let told = places.len();
        let mut names = Vec::new();
        let predicate = predicate.map(unqualified).transpose().map_err(Error::from_datafusion)?;
        for column in predicate.iter().flat_map(Expr::column_refs) {
            let index = table.schema.index_of(&column.name);
            names.push(index.map_err(|error| Error::from_datafusion(error.into()))?);
        }
        names.retain(|place| !places.contains(place));
        names.sort_unstable();
        names.dedup();
        places.extend(names);
        let columns = Columns::new(table, &places);
        let compile = |predicate: Expr| {
            let schema = DFSchema::try_from(Arc::clone(&columns.schema))?;
            create_physical_expr(&predicate, &schema, &ExecutionProps::new(), &Default::default())
        };
        let predicate = predicate.map(compile).transpose().map_err(Error::from_datafusion)?;
        Ok(Self { columns, told, predicate })
    }

    /// The rows that are told, with their weights.
    fn part(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let failed = |error: arrow::error::ArrowError| Error::from_datafusion(error.into());
        let kept = match &self.predicate {
            None => batch.clone(),
            Some(predicate) => {
                let passes = predicate.evaluate(batch).and_then(|passes| passes.into_array(batch.num_rows()));
                filter_record_batch(batch, passes.map_err(Error::from_datafusion)?.as_boolean()).map_err(failed)?
            }
        };
        let mut fields = self.columns.schema.fields()[..self.told].to_vec();
        let mut columns = kept.columns()[..self.told].to_vec();
        fields.push(Arc::new(Field::new(WEIGHT_COLUMN, DataType::Int64, false)));
        columns.push(Arc::new(Int64Array::from_value(1, kept.num_rows())));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(failed)
    }
}

fn place(table: &TopicTable, wanted: Wanted) -> Option<usize> {
    match wanted {
        Wanted::Declared(id) => table.definition.columns.iter().position(|column| column.id == id),
        Wanted::Hidden(hidden) => Some(table.place(hidden)),
    }
}

//! Types both ways: every value of every type that the system can hold, and names that need quotes.

use super::world::{Step, World, ensure, kept, not_applicable, run, shown};
use super::write::{apply_changes, weighted};
use super::{Table, Verdict};
use crate::Applied;
use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::Column;
use datafusion_expr::{Expr, lit};
use std::sync::Arc;

pub(super) async fn types_read_every_value(world: &World<'_>) -> Verdict {
    for data_type in all_types(world) {
        let rows = valued(world, &data_type);
        let table = typed_table(&rows, vec![rows.clone()]);
        world.create(&table).await.map_err(|error| format!("{data_type}: {error}"))?;
        expect_values(world, &data_type, &rows).await.map_err(|error| format!("{data_type}: {error}"))?;
    }
    kept()
}

pub(super) async fn types_write_every_value(world: &World<'_>) -> Verdict {
    let Some(writer) = world.source().writer() else {
        return not_applicable("the source cannot be written");
    };
    for data_type in all_types(world) {
        let rows = valued(world, &data_type);
        world.create(&typed_table(&rows, vec![])).await.map_err(|error| format!("{data_type}: {error}"))?;
        let dataset = world.dataset_id("conf_types").await?;
        let applied = apply_changes(writer.as_ref(), vec![(dataset, weighted(&rows, 1))]).await?;
        ensure!(applied == Applied::Done, "{data_type}: rows were not taken: {applied:?}");
        expect_values(world, &data_type, &rows).await.map_err(|error| format!("{data_type}, written: {error}"))?;
    }
    kept()
}

fn all_types(world: &World<'_>) -> Vec<DataType> {
    let mut types = vec![DataType::Int64, DataType::Utf8];
    types.extend(world.subject.types());
    types.dedup();
    types
}

fn valued(world: &World<'_>, data_type: &DataType) -> RecordBatch {
    let values = world.subject.values(data_type);
    let ids = Int64Array::from_iter_values(0..i64::try_from(values.len()).expect("few values"));
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("v", data_type.clone(), true)]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), values]).expect("the columns fit the schema")
}

fn typed_table(rows: &RecordBatch, filled: Vec<RecordBatch>) -> Table {
    Table { name: "conf_types".into(), schema: rows.schema(), rows: filled, key: Some("id".into()) }
}

/// The table holds the values, bit for bit, in the type promised.
async fn expect_values(world: &World<'_>, data_type: &DataType, rows: &RecordBatch) -> Result<(), String> {
    let session = world.session(&world.context(), &["conf_types"]).await?;
    let frame = shown(&session, "conf_types").await.step("plan")?;
    let frame = frame.sort(vec![Expr::Column(Column::from_name("id")).sort(true, false)]).step("sort")?;
    let found = run(&session, frame).await.step("read")?;
    let schema = found.first().ok_or("no rows are read")?.schema();
    let found = concat_batches(&schema, &found).step("read")?;
    let expected_type = world.subject.read_as(data_type);
    ensure!(*found.column(1).data_type() == expected_type, "it is read as {}", found.column(1).data_type());
    if world.subject.keeps_not_null() {
        ensure!(!schema.field(0).is_nullable(), "a NOT NULL column is read as nullable");
    }
    ensure!(schema.field(1).is_nullable(), "a nullable column is read as NOT NULL");
    let expected: ArrayRef = cast(rows.column(1), &expected_type).step("the expected values")?;
    let wrong = (0..expected.len().max(found.num_rows())).find(|at| {
        *at >= found.num_rows() || *at >= expected.len() || expected.slice(*at, 1) != found.column(1).slice(*at, 1)
    });
    let print = |array: &ArrayRef, at: usize| {
        (at < array.len()).then(|| arrow::util::display::array_value_to_string(array, at).unwrap_or_default())
    };
    match wrong {
        None => Ok(()),
        Some(at) => Err(format!("value {at} is {:?}, expected {:?}", print(found.column(1), at), print(&expected, at))),
    }
}

pub(super) async fn types_read_awkward_names(world: &World<'_>) -> Verdict {
    for name in world.subject.awkward_names() {
        let schema =
            Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new(&name, DataType::Utf8, true)]);
        let values: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![Some("x"), Some(name.as_str()), None]));
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let rows = RecordBatch::try_new(Arc::new(schema), vec![ids, values]).expect("the columns fit the schema");
        let table = Table { name: name.clone(), schema: rows.schema(), rows: vec![rows.clone()], key: None };
        world.create(&table).await.map_err(|error| format!("{name:?}: {error}"))?;
        world.expect_rows(&name, std::slice::from_ref(&rows), "with a name to be quoted").await?;
        let session = world.session(&world.context(), &[&name]).await?;
        let frame = shown(&session, &name).await.step(&name)?;
        let frame = frame.filter(Expr::Column(Column::from_name(&name)).eq(lit(name.as_str()))).step(&name)?;
        let found = run(&session, frame).await.step(&format!("{name:?}, filtered"))?;
        let count: usize = found.iter().map(RecordBatch::num_rows).sum();
        ensure!(count == 1, "{name:?}: a filter on its own name finds {count} rows");
        world.subject.drop(&name).await.step("the subject could not drop a table")?;
    }
    kept()
}

//! *Never wrong, only slower*: generated queries give the same rows with pushdown on, with pushdown off, and in
//! DataFusion's own memory table.

use super::random::Random;
use super::rows::Rows;
use super::world::{Step, World, ensure, kept, oracle, reference, run};
use super::{Table, Verdict};
use crate::mark;
use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::functions::expr_fn::{character_length, lower, upper};
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::{Expr, lit, when};
use std::sync::Arc;

/// Generated queries per run; each runs three times.
const QUERIES: usize = 150;

/// Queries that may fail, with and without the source alike. A failure says nothing about rows, so more of them would
/// hollow out the comparison.
const FAILING_MAX: usize = QUERIES / 25;

/// Rows of the table they read: enough for every value of every type to meet each other.
const ROWS: usize = 60;

const TABLE: &str = "conf_pushdown";

pub(super) async fn source_3_same_rows_with_pushdown_on_and_off(world: &World<'_>) -> Verdict {
    let stored = fill(world).await?;
    let (mut random, seed) = Random::from_environment();
    let mut failing = Vec::new();
    for number in 0..QUERIES {
        let query = Query::generate(&mut random, &stored);
        let told = |error: String| format!("query {number} of seed {seed}, {query:?}: {error}");
        let oracle = oracle(&[(TABLE, std::slice::from_ref(&stored))])?;
        let expected = query.run(&oracle).await;
        for pushdown in [true, false] {
            let session = world.session(&world.building().pushdown(pushdown).build(), &[TABLE]).await?;
            let found = query.run(&session).await;
            compare(&expected, &found, pushdown).map_err(told)?;
        }
        failing.extend(expected.err().map(|error| format!("{query:?}: {error}")));
    }
    ensure!(
        failing.len() <= FAILING_MAX,
        "{} of {QUERIES} queries of seed {seed} fail whoever answers them, at most {FAILING_MAX} may; one is {}",
        failing.len(),
        failing[0]
    );
    kept()
}

/// The two agree on the rows, or that the query cannot be answered.
fn compare(expected: &Result<Rows, String>, found: &Result<Rows, String>, pushdown: bool) -> Result<(), String> {
    let mode = if pushdown { "with pushdown on" } else { "with pushdown off" };
    match (expected, found) {
        (Err(_), Err(_)) => Ok(()),
        (Ok(expected), Ok(found)) => match expected.difference(found) {
            None => Ok(()),
            Some(difference) => Err(format!("{mode}: expected against found: {difference}")),
        },
        (Ok(_), Err(error)) => Err(format!("{mode} it fails: {error}")),
        (Err(error), Ok(_)) => Err(format!("{mode} it gives rows, where an error was expected: {error}")),
    }
}

/// Creates a table with a column of each type, and returns its rows as the source reads them.
async fn fill(world: &World<'_>) -> Result<RecordBatch, String> {
    let mut random = Random::from_environment().0;
    let number = |row: usize| i64::try_from(row).expect("few rows");
    let mut fields = vec![Field::new("id", DataType::Int64, false), Field::new("small", DataType::Int64, true)];
    let small = (0..ROWS).map(|row| (row % 7 != 0).then(|| number(row % 5)));
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values((0..ROWS).map(number))), Arc::new(Int64Array::from_iter(small))];
    let mut types = vec![DataType::Utf8];
    types.extend(world.subject.types().into_iter().filter(|of| *of != DataType::Utf8));
    for (at, data_type) in types.iter().enumerate() {
        let values = world.subject.values(data_type);
        let picks = (0..ROWS).map(|_| u32::try_from(random.below(values.len())).expect("few values"));
        columns.push(take(&values, &UInt32Array::from_iter_values(picks), None).step("values")?);
        fields.push(Field::new(format!("v{at}"), data_type.clone(), true));
    }
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).step("the table")?;
    let table = Table { name: TABLE.into(), schema: rows.schema(), rows: vec![rows], key: Some("id".into()) };
    world.create(&table).await?;
    let context = world.building().pushdown(false).build();
    let stored = world.read(&context, TABLE).await?;
    let stored = concat_batches(&stored.first().ok_or("the table has no rows")?.schema(), &stored).step("the table")?;
    ensure!(stored.num_rows() == ROWS, "{} of {ROWS} rows are read", stored.num_rows());
    Ok(stored)
}

/// A query as a data frame: a filter, then one of several ends.
#[derive(Debug)]
struct Query {
    filter: Option<Expr>,
    end: End,
}

#[derive(Debug)]
enum End {
    /// Some columns.
    Columns(Vec<String>),
    /// The first rows by a key.
    TopN(Vec<String>, usize, bool),
    Count,
    /// Groups of `small`, and the ends of another column.
    Groups(String),
    Distinct(String),
}

impl Query {
    fn generate(random: &mut Random, rows: &RecordBatch) -> Self {
        let filter = (!random.chance(8)).then(|| predicate(random, rows, 3));
        let schema = rows.schema();
        let comparable: Vec<&FieldRef> = schema.fields().iter().filter(|field| is_comparable(field)).collect();
        let some = |random: &mut Random| {
            let mut names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
            names.retain(|_| random.chance(2));
            if names.is_empty() { vec!["id".to_string()] } else { names }
        };
        let end = match random.below(8) {
            0..3 => End::Columns(some(random)),
            3 | 4 => End::TopN(some(random), random.below(ROWS), random.chance(2)),
            5 => End::Count,
            6 => End::Groups(random.pick(&comparable).name().clone()),
            _ => End::Distinct(random.pick(&comparable).name().clone()),
        };
        Self { filter, end }
    }

    async fn run(&self, session: &SessionContext) -> Result<Rows, String> {
        let frame = session.table(reference(TABLE)).await.step("plan")?;
        let frame = self.frame(frame).step("plan")?;
        Ok(Rows::of(&run(session, frame).await.step("run")?))
    }

    fn frame(&self, mut frame: DataFrame) -> datafusion_common::Result<DataFrame> {
        if let Some(filter) = &self.filter {
            frame = frame.filter(filter.clone())?;
        }
        let columns = |names: &[String]| names.iter().map(|name| column(name)).collect::<Vec<_>>();
        match &self.end {
            End::Columns(names) => frame.select(columns(names)),
            End::TopN(names, limit, ascending) => {
                let key = vec![column("id").sort(*ascending, false)];
                frame.sort(key)?.limit(0, Some(*limit))?.select(columns(names))
            }
            End::Count => frame.aggregate(vec![], vec![count(lit(1))]),
            End::Groups(name) => {
                let ends = vec![count(column(name)), min(column(name)), max(column(name))];
                frame.aggregate(vec![column("small")], ends)
            }
            End::Distinct(name) => frame.select(vec![column(name)])?.distinct(),
        }
    }
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// A text that is marked is not compared as text, and an interval has no order that all agree on.
fn is_comparable(field: &Field) -> bool {
    let has_order = !field.data_type().is_nested() && !matches!(field.data_type(), DataType::Interval(_));
    has_order && mark::of(field.metadata()).is_none()
}

fn predicate(random: &mut Random, rows: &RecordBatch, depth: usize) -> Expr {
    if depth > 0 && !random.chance(3) {
        let left = predicate(random, rows, depth - 1);
        return match random.below(5) {
            0 => !left,
            1 | 2 => left.and(predicate(random, rows, depth - 1)),
            3 => left.or(predicate(random, rows, depth - 1)),
            _ => case(left, predicate(random, rows, depth - 1)),
        };
    }
    comparison(random, rows)
}

/// CASE WHEN condition THEN value ELSE NULL END.
fn case(condition: Expr, value: Expr) -> Expr {
    when(condition, value).end().expect("a CASE with one branch is valid")
}

fn comparison(random: &mut Random, rows: &RecordBatch) -> Expr {
    let at = random.below(rows.num_columns());
    let schema = rows.schema();
    let field = schema.field(at);
    let this = column(field.name());
    if !is_comparable(field) || random.chance(8) {
        return if random.chance(2) { this.is_null() } else { this.is_not_null() };
    }
    let value = |random: &mut Random| {
        let row = random.below(rows.num_rows());
        let value = ScalarValue::try_from_array(rows.column(at), row).expect("the row is there");
        Expr::Literal(value, None)
    };
    if *field.data_type() == DataType::Utf8 && random.chance(3) {
        let value = value(random);
        return on_text(random, this, value);
    }
    match random.below(11) {
        0 => this.eq(value(random)),
        1 => this.not_eq(value(random)),
        2 => this.lt(value(random)),
        3 => this.lt_eq(value(random)),
        4 => this.gt(value(random)),
        5 => this.gt_eq(value(random)),
        6 => this.between(value(random), value(random)),
        7 => this.in_list(vec![value(random), value(random), value(random)], random.chance(2)),
        8 => this.not_between(value(random), value(random)),
        9 => datafusion_expr::binary_expr(this, datafusion_expr::Operator::IsNotDistinctFrom, value(random)),
        _ => datafusion_expr::binary_expr(this, datafusion_expr::Operator::IsDistinctFrom, value(random)),
    }
}

fn on_text(random: &mut Random, text: Expr, value: Expr) -> Expr {
    let patterns = ["%", "_", "a%", "%b", "%'%", "%\"%", "100\\%", "\\_", "__", "%é%", ""];
    let pattern = lit(*random.pick(&patterns));
    match random.below(6) {
        0 => text.like(pattern),
        1 => text.not_like(pattern),
        2 => text.ilike(pattern),
        3 => lower(text).eq(lower(value)),
        4 => upper(text).lt(upper(value)),
        _ => character_length(text).gt(lit(i32::try_from(random.below(4)).expect("small"))),
    }
}

/// LIMIT without ORDER BY: any rows, but so many, and none that is not in the table. Across partitions too.
pub(super) async fn source_3_same_rows_under_limits(world: &World<'_>) -> Verdict {
    let rows = world.create_people("conf_limits", 300).await?;
    let all = Rows::of(&[rows]);
    for partitions in [1, 3] {
        for (filter, matching) in [("true", 300), ("score > 4", 130), ("score IS NULL", 60), ("id < 0", 0)] {
            for (offset, limit) in [(0, 0), (0, 1), (0, 7), (5, 10), (295, 10), (0, 1000), (400, 5)] {
                let query =
                    format!("SELECT id, name, score FROM conf_limits WHERE {filter} LIMIT {limit} OFFSET {offset}");
                let context = world.building().partitions(partitions).build();
                let session = world.session(&context, &["conf_limits"]).await?;
                let found = run(&session, session.sql(&query).await.step(&query)?).await.step(&query)?;
                let found = Rows::of(&found);
                let expected = usize::min(limit, usize::saturating_sub(matching, offset));
                ensure!(found.len() == expected, "{query}: {} rows, expected {expected}", found.len());
                ensure!(found.is_part_of(&all), "{query}: a row that is not in the table, or twice");
            }
        }
    }
    kept()
}

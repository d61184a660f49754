//! Generated queries: the same rows with pushdown on, with pushdown off. `POLDER_SEED` sets another seed.

use super::desk::{Desk, column, rows, table};
use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
};
use arrow::datatypes::DataType;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use polder_catalog::DatasetDefinition;
use std::sync::Arc;

/// Queries; each runs twice.
const QUERIES: usize = 1_000;
const ROWS: usize = 150;

/// A linear congruence, Knuth's constants: good enough to pick from short lists.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

const WORDS: [&str; 9] = ["ada", "bob", "", "Ünal", "a b", "zebra", "a", "B", "o'neill"];
const INTEGERS: [i32; 6] = [i32::MIN, -1, 0, 1, 7, i32::MAX];
const FLOATS: [f64; 8] = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1.5, 1e300, f64::INFINITY, f64::NAN];
const QUERY_TEXTS: [&str; 11] = [
    "ada",
    "ada bob",
    "+ada -bob",
    "NOT ada",
    "*",
    "\"a b\"",
    "zeb*",
    "zebr~1",
    "bob^3 OR ada",
    "body:[a TO b]",
    "the",
];

fn definition() -> DatasetDefinition {
    table(
        "t",
        vec![
            column("id", DataType::Int64, &[]),
            column("kind", DataType::Utf8, &[("analyzer", "keyword")]),
            column("body", DataType::Utf8, &[("analyzer", "english")]),
            column("n", DataType::Int32, &[]),
            column("f", DataType::Float64, &[]),
            column("d", DataType::Date32, &[]),
            column("p", DataType::Decimal128(10, 2), &[]),
            column("q", DataType::Decimal128(30, 2), &[]),
            column("b", DataType::Boolean, &[]),
        ],
    )
}

async fn fill(desk: &Desk, random: &mut Random) {
    let definition = definition();
    let maybe = |random: &mut Random| random.below(6) != 0;
    for part in 0..3 {
        let ids: Vec<i64> = (0..ROWS / 3).map(|row| i64::try_from(part * ROWS / 3 + row).expect("small")).collect();
        let text = |random: &mut Random| {
            let words: Vec<_> = (0..random.below(4)).map(|_| *random.pick(&WORDS)).collect();
            words.join(" ")
        };
        let decimal = |random: &mut Random| i128::from(*random.pick(&[-999_i64, -1, 0, 1, 250, 99_999]));
        let kinds: StringArray = ids.iter().map(|_| maybe(random).then(|| *random.pick(&WORDS))).collect();
        let bodies: StringArray = ids.iter().map(|_| maybe(random).then(|| text(random))).collect();
        let integers: Int32Array = ids.iter().map(|_| maybe(random).then(|| *random.pick(&INTEGERS))).collect();
        let floats: Float64Array = ids.iter().map(|_| maybe(random).then(|| *random.pick(&FLOATS))).collect();
        let days: Date32Array =
            ids.iter().map(|_| maybe(random).then(|| i32::try_from(random.below(5)).expect("small"))).collect();
        let small: Decimal128Array = ids.iter().map(|_| maybe(random).then(|| decimal(random))).collect();
        let large: Decimal128Array =
            ids.iter().map(|_| maybe(random).then(|| decimal(random) * 10i128.pow(20))).collect();
        let truths: BooleanArray = ids.iter().map(|_| maybe(random).then(|| random.below(2) == 0)).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(ids)),
            Arc::new(kinds),
            Arc::new(bodies),
            Arc::new(integers),
            Arc::new(floats),
            Arc::new(days),
            Arc::new(small.with_precision_and_scale(10, 2).expect("a valid type")),
            Arc::new(large.with_precision_and_scale(30, 2).expect("a valid type")),
            Arc::new(truths),
        ];
        let batch = rows(&definition, columns);
        match part {
            0 => desk.fill(&definition, &batch).await,
            _ => {
                let changes = vec![(definition.id.clone(), Desk::weighted(&batch, 1))];
                desk.apply(Vec::new(), changes).await.expect("apply");
            }
        }
        let gone = vec![(definition.id.clone(), Desk::weighted(&batch.slice(3, 4), -1))];
        desk.apply(Vec::new(), gone).await.expect("apply");
    }
}

/// The name of a column and a constant of its type.
fn operand(random: &mut Random) -> (&'static str, String) {
    let text = |random: &mut Random| format!("'{}'", random.pick(&WORDS).replace('\'', "''"));
    match random.below(9) {
        0 => ("kind", text(random)),
        1 => ("body", text(random)),
        2 => ("n", format!("{}", random.pick(&INTEGERS))),
        3 => ("f", format!("CAST('{}' AS DOUBLE)", random.pick(&FLOATS))),
        4 => ("d", format!("DATE '1970-01-0{}'", 1 + random.below(5))),
        5 => ("p", format!("CAST({} AS DECIMAL(10, 2))", *random.pick(&["-9.99", "0", "2.5", "0.01"]))),
        6 => (
            "q",
            format!(
                "CAST({} AS DECIMAL(30, 2))",
                *random.pick(&["-99900000000000000000", "0", "25000000000000000000"])
            ),
        ),
        7 => ("b", (*random.pick(&["true", "false"])).to_string()),
        _ => ("id", random.below(ROWS).to_string()),
    }
}

fn predicate(random: &mut Random, depth: usize) -> String {
    if depth > 0 && random.below(3) > 0 {
        let left = predicate(random, depth - 1);
        return match random.below(5) {
            0 => format!("NOT ({left})"),
            1 | 2 => format!("({left}) AND ({})", predicate(random, depth - 1)),
            3 => format!("({left}) OR ({})", predicate(random, depth - 1)),
            _ => format!("({left}) IS {}", random.pick(&["TRUE", "FALSE", "NOT TRUE", "NOT FALSE", "NULL"])),
        };
    }
    let (name, constant) = operand(random);
    match random.below(14) {
        0..5 => format!("{name} {} {constant}", random.pick(&["=", "<>", "<", "<=", ">", ">="])),
        5 => format!("{constant} {} {name}", random.pick(&["=", "<", ">="])),
        6 => format!("{name} IS {}NULL", random.pick(&["", "NOT "])),
        7 => format!("{name} {}IN ({constant}, {constant}, NULL)", random.pick(&["", "NOT "])),
        8 => format!("{name} {}BETWEEN {constant} AND {constant}", random.pick(&["", "NOT "])),
        9 => format!("{name} IS {}DISTINCT FROM {constant}", random.pick(&["", "NOT "])),
        10 => "b".to_string(),
        _ => format!("match({}, '{}')", random.pick(&["body", "kind, body"]), random.pick(&QUERY_TEXTS)),
    }
}

fn end(random: &mut Random, filter: &str) -> String {
    let column = *random.pick(&["kind", "n", "d", "p", "b", "id"]);
    let (nulls, order) = (random.pick(&["FIRST", "LAST"]), random.pick(&["ASC", "DESC"]));
    match random.below(7) {
        0 => format!("SELECT count(*) FROM t WHERE {filter}"),
        6 => format!("SELECT id, _score FROM t WHERE match(body, '{}') AND ({filter})", random.pick(&QUERY_TEXTS)),
        1 => format!(
            "SELECT {column}, count(*), min(n), max(d), sum(n), count(p) FROM t WHERE {filter} GROUP BY {column}"
        ),
        2 => format!(
            "SELECT id AS first, {column} FROM t WHERE {filter} ORDER BY {column} {order} NULLS {nulls}, id LIMIT {}",
            random.below(20)
        ),
        3 => format!("SELECT DISTINCT {column} FROM t WHERE {filter}"),
        _ => format!("SELECT id, kind, body, n, f, d, p, q, b FROM t WHERE {filter}"),
    }
}

async fn run(session: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
    let frame = session.sql(sql).await.map_err(|error| error.to_string())?;
    let (state, plan) = frame.into_parts();
    let plan = state.optimize(&plan).map_err(|error| error.to_string())?;
    let plan = polder_catalog::conformance::push(plan).map_err(|error| error.to_string())?;
    let plan = state.query_planner().create_physical_plan(&plan, &state).await.map_err(|error| error.to_string())?;
    let batches = collect(plan, session.task_ctx()).await.map_err(|error| error.to_string())?;
    let printed = arrow::util::pretty::pretty_format_batches(&batches).map_err(|error| error.to_string())?.to_string();
    let mut lines: Vec<String> = printed.lines().filter(|line| line.starts_with('|')).map(str::to_string).collect();
    lines.sort_unstable();
    Ok(lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_queries_give_the_same_rows_with_pushdown_on_and_off() {
    let seed = std::env::var("POLDER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_125);
    let mut random = Random(seed);
    let desk = Desk::new().await;
    fill(&desk, &mut random).await;
    let (pushed, local) = (desk.session(true, &["t"]).await, desk.session(false, &["t"]).await);
    let (mut failing, mut with_rows) = (Vec::new(), 0);
    for number in 0..QUERIES {
        let filter = predicate(&mut random, 3);
        let sql = end(&mut random, &filter);
        let (pushed, local) = (run(&pushed, &sql).await, run(&local, &sql).await);
        match (pushed, local) {
            (Ok(pushed), Ok(local)) => {
                with_rows += usize::from(local.len() > 1);
                // The table's width follows its values, so cells are compared without their padding.
                let plain = |lines: Vec<String>| {
                    let mut lines: Vec<String> =
                        lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
                    lines.sort_unstable();
                    lines
                };
                assert_eq!(plain(pushed), plain(local), "query {number} of seed {seed}: {sql}");
            }
            (Err(error), Err(_)) => failing.push(format!("{sql}: {error}")),
            (pushed, local) => panic!("query {number} of seed {seed}: {sql}: {pushed:?} against {local:?}"),
        }
    }
    assert!(
        failing.len() < QUERIES / 50,
        "{} of {QUERIES} queries fail whoever answers them: {}",
        failing.len(),
        failing[0]
    );
    assert!(with_rows > QUERIES / 2, "only {with_rows} of {QUERIES} queries have rows");
}

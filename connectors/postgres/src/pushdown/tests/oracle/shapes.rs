//! Whole queries: projections, LIMIT, Top-N, aggregates, joins.

use super::expressions::{self, Make, Pair};
use super::random::Random;
use super::tables::{COLUMNS, Column};
use super::{Limited, Query};

const GROUPED: &[&str] = &[
    "b", "i2", "i4", "i8", "f4", "f8", "n12", "t", "v", "tc", "tn", "c", "nm", "by", "u", "d", "tm", "ts", "tz", "m",
    "dom",
];
const SORTED: &[&str] = &[
    "b", "i2", "i4", "i8", "f4", "f8", "n12", "n", "t", "v", "tc", "tn", "c", "nm", "by", "u", "d", "tm", "ts", "tz",
    "dom",
];
const JOINED: &[&str] = &[
    "i2", "i4", "i8", "f4", "f8", "n12", "t", "v", "tc", "tn", "c", "nm", "by", "u", "d", "tm", "ts", "tz", "m", "dom",
];

/// The pairs that are whole queries.
pub(super) fn pairs() -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut add = |expression, columns: &[&'static str], make| {
        pairs.extend(columns.iter().map(|on| Pair { expression, on, make: Make::Query(make) }));
    };
    add("limit", &["i4"], limit);
    add("top n", SORTED, top_n);
    add("group by", GROUPED, group_by);
    add("count", GROUPED, count);
    add(
        "count distinct",
        &["b", "i2", "i4", "i8", "n12", "t", "v", "tc", "tn", "c", "by", "u", "d", "tm", "ts", "tz", "m"],
        count_distinct,
    );
    add("sum", &["i2", "i4", "i8", "n12", "dom"], |random, column| grouped(random, &format!("sum({})", column.name)));
    add("avg", &["i2", "i4", "n12", "dom"], |random, column| Query {
        approximate: true,
        ..grouped(random, &format!("avg({})", column.name))
    });
    let extremes = ["b", "i2", "i4", "i8", "n12", "t", "v", "tc", "tn", "c", "nm", "d", "tm", "ts", "tz", "dom"];
    add("min", &extremes, |random, column| grouped(random, &format!("min({})", column.name)));
    add("max", &extremes, |random, column| grouped(random, &format!("max({})", column.name)));
    add("bool_and", &["b"], |random, column| grouped(random, &format!("bool_and({})", column.name)));
    add("bool_or", &["b"], |random, column| grouped(random, &format!("bool_or({})", column.name)));
    add("aggregate filter", &["i4", "t"], |random, column| {
        let constant = random.pick(column.constants);
        grouped(random, &format!("count(*) FILTER (WHERE {} <> {constant})", column.name))
    });
    add("having", &["i4"], |random, column| Query {
        sql: format!("SELECT g, max({}) FROM a GROUP BY g HAVING count(*) > {}", column.name, random.below(40)),
        ..plain()
    });
    add("join", JOINED, join);
    add("projection", &["i4", "t", "c"], projection);
    pairs
}

/// Any query: one of the pairs, with further conditions by chance.
pub(super) fn query(random: &mut Random) -> Query {
    let whole = pairs();
    if random.one_in(3) {
        return whole[random.below(whole.len())].query(random);
    }
    let condition = condition(random);
    let sql = match random.below(4) {
        0 => format!("SELECT id, {} FROM a WHERE {condition}", any(random).name),
        1 => {
            format!("SELECT count(*), min(id), max({}) FROM a WHERE {condition}", random.pick(&["i4", "t", "c", "ts"]))
        }
        2 => format!("SELECT g, count(*) FROM a WHERE {condition} GROUP BY g"),
        _ => format!("SELECT * FROM a WHERE {condition}"),
    };
    if random.one_in(4) {
        let sql = format!("SELECT id FROM a WHERE {condition}");
        return limited(sql, "", 0, 1 + random.below(9));
    }
    Query { sql, ..plain() }
}

/// Two or three conditions under AND, OR and NOT.
fn condition(random: &mut Random) -> String {
    let pairs = expressions::pairs();
    let one = |random: &mut Random| pairs[random.below(pairs.len())].condition(random);
    let mut condition = format!("({})", one(random));
    for _ in 0..1 + random.below(2) {
        let connective = random.pick(&["AND", "OR", "AND NOT"]);
        condition = format!("({condition} {connective} ({}))", one(random));
    }
    condition
}

fn any(random: &mut Random) -> &'static Column {
    &COLUMNS[random.below(COLUMNS.len())]
}

fn plain() -> Query {
    Query { sql: String::new(), limited: None, approximate: false, pairs: Vec::new() }
}

fn limited(unlimited: String, order: &str, keys: usize, limit: usize) -> Query {
    let sql = format!("{unlimited}{order} LIMIT {limit}");
    Query { sql, limited: Some(Limited { unlimited, limit, keys }), ..plain() }
}

fn limit(random: &mut Random, column: &'static Column) -> Query {
    limited(format!("SELECT id, {} FROM a WHERE g <> 1", column.name), "", 0, 1 + random.below(20))
}

fn top_n(random: &mut Random, column: &'static Column) -> Query {
    let direction = random.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
    let unlimited = format!("SELECT {}, id FROM a WHERE g <> {}", column.name, random.below(6));
    limited(unlimited, &format!(" ORDER BY {}{direction}", column.name), 1, 1 + random.below(30))
}

fn group_by(random: &mut Random, column: &'static Column) -> Query {
    let sql = format!("SELECT {0}, count(*), min(id) FROM a WHERE g <> {1} GROUP BY {0}", column.name, random.below(6));
    Query { sql, ..plain() }
}

fn count(random: &mut Random, column: &'static Column) -> Query {
    grouped(random, &format!("count({})", column.name))
}

fn count_distinct(random: &mut Random, column: &'static Column) -> Query {
    grouped(random, &format!("count(DISTINCT {})", column.name))
}

/// An aggregate of all rows, of groups, or of none.
fn grouped(random: &mut Random, aggregate: &str) -> Query {
    let sql = match random.below(4) {
        0 => format!("SELECT {aggregate} FROM a"),
        1 => format!("SELECT {aggregate} FROM a WHERE id < 0"),
        2 => format!("SELECT {aggregate}, t FROM a WHERE g > 0 GROUP BY t"),
        _ => format!("SELECT {aggregate}, g FROM a GROUP BY g"),
    };
    Query { sql, ..plain() }
}

fn join(random: &mut Random, column: &'static Column) -> Query {
    let name = column.name;
    let sql = match random.below(3) {
        0 => format!("SELECT count(*), min(a.id), max(b.id) FROM a JOIN b ON a.{name} = b.{name}"),
        1 => format!("SELECT a.g, count(*) FROM a JOIN b ON a.{name} = b.{name} AND a.id < b.id + 30 GROUP BY a.g"),
        _ => format!("SELECT a.id, b.{name}, a.t FROM a JOIN b ON a.id = b.id AND a.{name} = b.{name}"),
    };
    Query { sql, ..plain() }
}

fn projection(random: &mut Random, column: &'static Column) -> Query {
    let expression = match column.name {
        "i4" => "CAST(i4 AS BIGINT) * 3 - g",
        "t" => "concat(left(t, 2), '|', tc)",
        _ => "length(c)",
    };
    Query { sql: format!("SELECT {expression}, count(*) FROM a WHERE g <> {} GROUP BY 1", random.below(6)), ..plain() }
}

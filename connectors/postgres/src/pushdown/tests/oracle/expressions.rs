//! Conditions: each whitelisted expression on each type that it is whitelisted for.

use super::Query;
use super::random::Random;
use super::tables::{self, COLUMNS, Column};

/// An expression on a type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) expression: &'static str,
    pub(super) on: &'static str,
    pub(super) make: Make,
}

/// How a query for the pair is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Make {
    /// A condition on a column of one table.
    Condition(fn(&mut Random, &'static Column) -> String),
    /// A condition on a type that only NULL tests know.
    Opaque(fn(&'static str) -> String),
    /// A whole query.
    Query(fn(&mut Random, &'static Column) -> Query),
}

impl Pair {
    pub(super) fn query(&self, random: &mut Random) -> Query {
        match self.make {
            Make::Query(make) => Query { pairs: vec![*self], ..make(random, tables::column(self.on)) },
            Make::Condition(_) | Make::Opaque(_) => {
                let sql = format!("SELECT * FROM a WHERE {}", self.condition(random));
                Query { sql, limited: None, approximate: false, pairs: vec![*self] }
            }
        }
    }

    pub(super) fn condition(&self, random: &mut Random) -> String {
        match self.make {
            Make::Condition(make) => make(random, tables::column(self.on)),
            Make::Opaque(make) => make(self.on),
            Make::Query(_) => unreachable!("conditions are made of conditions"),
        }
    }
}

/// The pairs that are conditions.
pub(super) fn pairs() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (expression, columns, make) in CONDITIONS {
        for column in columns.split(' ') {
            // `*` is every column.
            let names = COLUMNS.iter().map(|column| column.name).filter(|name| column == "*" || *name == column);
            pairs.extend(names.map(|on| Pair { expression, on, make: Make::Condition(*make) }));
        }
    }
    for (on, ..) in tables::OPAQUE {
        let make = Make::Opaque(|on| format!("{on} IS NULL"));
        pairs.push(Pair { expression: "is null", on, make });
    }
    pairs
}

const ORDERED: &str = "b i2 i4 i8 f4 f8 n12 n t v tc tn c nm by u d tm ts tz dom o";
/// What compares alike also where values are compared by their bits.
const NO_FLOAT: &str = "b i2 i4 i8 n12 n t v tc tn c nm by u d tm ts tz m dom o";
const TEXT: &str = "t v tc tn c nm";
const SMALL: &str = "i2 i4 dom";

fn constant(random: &mut Random, column: &Column) -> &'static str {
    random.pick(column.constants)
}

/// A constant of a list. DataFusion finds 0 among floats by its bits, or by `=`, as the shape of the plan has it: 0 is in
/// `(-0)`, or is not. Such a list stays local, where neither answer can be told to be right.
fn listed(random: &mut Random, column: &Column) -> &'static str {
    loop {
        let constant = constant(random, column);
        if !matches!(constant, "0.0" | "arrow_cast('-0.0', 'Float64')") {
            return constant;
        }
    }
}

fn text(random: &mut Random) -> &'static str {
    random.pick(tables::column("t").constants)
}

fn order(random: &mut Random) -> &'static str {
    random.pick(&["<", "<=", ">", ">="])
}

fn small(random: &mut Random) -> i64 {
    random.below(9) as i64 - 4
}

/// Another column of the same kind.
fn sibling(random: &mut Random, column: &Column) -> &'static str {
    match column.name {
        "i2" | "i4" | "i8" => random.pick(&["i2", "i4", "i8", "g", "dom"]),
        "f4" | "f8" => random.pick(&["f4", "f8"]),
        _ => random.pick(&["t", "v", "tc", "tn", "c", "nm"]),
    }
}

type Condition = (&'static str, &'static str, fn(&mut Random, &'static Column) -> String);

/// An expression, the columns it is for, and the condition.
const CONDITIONS: &[Condition] = &[
    ("is null", "*", |_, c| format!("{} IS NULL", c.name)),
    ("is not null", "*", |_, c| format!("{} IS NOT NULL", c.name)),
    ("=", "*", |r, c| format!("{} = {}", c.name, constant(r, c))),
    ("<>", "*", |r, c| format!("{} <> {}", c.name, constant(r, c))),
    ("<", ORDERED, |r, c| format!("{} {} {}", c.name, order(r), constant(r, c))),
    ("between", ORDERED, |r, c| format!("{} BETWEEN {} AND {}", c.name, constant(r, c), constant(r, c))),
    ("not between", ORDERED, |r, c| format!("{} NOT BETWEEN {} AND {}", c.name, constant(r, c), constant(r, c))),
    ("in", "*", |r, c| {
        format!("{} IN ({}, {}, {}, {})", c.name, listed(r, c), listed(r, c), listed(r, c), listed(r, c))
    }),
    ("not in", "*", |r, c| {
        let null = if r.one_in(3) { ", NULL" } else { "" };
        format!("{} NOT IN ({}, {}, {}{null})", c.name, listed(r, c), listed(r, c), listed(r, c))
    }),
    ("is distinct from", "*", |r, c| format!("{} IS DISTINCT FROM {}", c.name, constant(r, c))),
    ("is not distinct from", "*", |r, c| format!("{} IS NOT DISTINCT FROM {}", c.name, constant(r, c))),
    ("not", "*", |r, c| format!("NOT ({} = {} AND id > 20)", c.name, constant(r, c))),
    ("and", "*", |r, c| format!("{} <> {} AND g > {}", c.name, constant(r, c), r.below(5))),
    ("or", "*", |r, c| format!("({} = {} OR g = {})", c.name, constant(r, c), r.below(5))),
    ("is true", "*", |r, c| format!("({} = {}) IS TRUE", c.name, constant(r, c))),
    ("is not true", "*", |r, c| format!("({} = {}) IS NOT TRUE", c.name, constant(r, c))),
    ("is false", "*", |r, c| format!("({} = {}) IS FALSE", c.name, constant(r, c))),
    ("is not false", "*", |r, c| format!("({} = {}) IS NOT FALSE", c.name, constant(r, c))),
    ("is unknown", "*", |r, c| format!("({} = {}) IS UNKNOWN", c.name, constant(r, c))),
    ("case", "*", |r, c| {
        format!(
            "CASE WHEN {0} = {1} THEN g WHEN {0} IS NULL THEN 7 ELSE 1 END = {2}",
            c.name,
            constant(r, c),
            r.below(5)
        )
    }),
    ("case of", NO_FLOAT, |r, c| format!("CASE {} WHEN {} THEN 1 ELSE 2 END = 1", c.name, constant(r, c))),
    ("case result", ORDERED, |r, c| format!("CASE WHEN g > 2 THEN {} END {} {}", c.name, order(r), constant(r, c))),
    ("boolean", "b", |_, c| c.name.to_string()),
    ("coalesce", ORDERED, |r, c| format!("coalesce({}, {}) {} {}", c.name, constant(r, c), order(r), constant(r, c))),
    ("nvl", TEXT, |r, c| format!("nvl({}, {}) = {}", c.name, text(r), text(r))),
    ("nullif", NO_FLOAT, |r, c| format!("nullif({}, {}) IS NULL", c.name, constant(r, c))),
    ("greatest", "i8 n12 t v tc tn d ts tz", |r, c| format!("greatest({0}, {1}) = {0}", c.name, constant(r, c))),
    ("least", "i8 n12 t v tc tn d ts tz", |r, c| format!("least({}, {}) = {}", c.name, constant(r, c), constant(r, c))),
    // Columns with each other: of two widths, under two collations.
    ("= column", "i2 i4 i8 f4 f8 t v tc tn c nm", |r, c| {
        let other = sibling(r, c);
        format!("{} {} {other}", c.name, r.pick(&["=", "<>", "<", ">=", "IS NOT DISTINCT FROM"]))
    }),
    // Text.
    ("like", TEXT, |r, c| {
        let pattern = r.pick(&[
            "'a%'", "'%b'", "'_'", "'%a_c%'", r"'\%'", r"'%\_%'", r"'\\%'", "'%''%'", "'%é%'", "'a%b'", "'___'",
            "'%\n%'",
        ]);
        format!("{} LIKE {pattern}", c.name)
    }),
    ("not like", TEXT, |r, c| {
        format!("{} NOT LIKE {}", c.name, r.pick(&["'a%'", "'%b%'", "'_b'", r"'\\%'", "'_日%'"]))
    }),
    ("character_length", TEXT, |r, c| format!("length({}) {} {}", c.name, order(r), r.below(6))),
    ("octet_length", TEXT, |r, c| format!("octet_length({}) {} {}", c.name, order(r), r.below(9))),
    ("bit_length", TEXT, |r, c| format!("bit_length({}) {} {}", c.name, order(r), r.below(60))),
    ("ascii", TEXT, |r, c| format!("ascii({}) {} {}", c.name, order(r), r.pick(&["0", "97", "233", "128000"]))),
    ("btrim", TEXT, |r, c| match r.below(3) {
        0 => format!("btrim({}) = {}", c.name, text(r)),
        1 => format!("trim(both 'ab' from {}) = {}", c.name, text(r)),
        _ => format!("btrim({}, {}) = {}", c.name, text(r), text(r)),
    }),
    ("ltrim", TEXT, |r, c| format!("ltrim({}, {}) <> {}", c.name, text(r), text(r))),
    ("rtrim", TEXT, |r, c| format!("rtrim({}) = {}", c.name, text(r))),
    ("lpad", TEXT, |r, c| format!("lpad({}, {}, 'xé') > {}", c.name, r.below(7), text(r))),
    ("rpad", TEXT, |r, c| format!("rpad({}, {}, {}) < {}", c.name, r.below(7), text(r), text(r))),
    ("left", TEXT, |r, c| format!("left({}, {}) = {}", c.name, small(r), text(r))),
    ("right", TEXT, |r, c| format!("right({}, {}) = {}", c.name, small(r), text(r))),
    ("substr", TEXT, |r, c| match r.below(2) {
        0 => format!("substr({}, {}) = {}", c.name, small(r), text(r)),
        _ => format!("substr({}, {}, {}) >= {}", c.name, small(r), r.below(4), text(r)),
    }),
    ("strpos", TEXT, |r, c| format!("strpos({}, {}) {} {}", c.name, text(r), order(r), r.below(4))),
    ("contains", TEXT, |r, c| format!("contains({}, {})", c.name, text(r))),
    ("starts_with", TEXT, |r, c| format!("starts_with({}, concat({}, left({}, 1)))", c.name, text(r), c.name)),
    ("ends_with", TEXT, |r, c| format!("ends_with({}, {})", c.name, text(r))),
    ("replace", TEXT, |r, c| {
        format!("replace({}, {}, {}) <> {}", c.name, r.pick(&["'a'", "'X'", "''''", r"'\'", "'é'"]), text(r), text(r))
    }),
    ("reverse", TEXT, |r, c| format!("reverse({}) > {}", c.name, text(r))),
    ("repeat", TEXT, |r, c| format!("repeat({}, {}) = {}", c.name, small(r), text(r))),
    ("split_part", TEXT, |r, c| {
        let delimiter = r.pick(&["'X'", "'a'", "''", "' '", "''''", r"'\'"]);
        format!("split_part({}, {delimiter}, {}) = {}", c.name, 1 + r.below(3), text(r))
    }),
    ("concat", TEXT, |r, c| format!("concat({}, {}, {}) > {}", c.name, text(r), c.name, text(r))),
    ("||", TEXT, |r, c| format!("{} || {} = {}", c.name, text(r), text(r))),
    ("md5", TEXT, |r, c| format!("md5({}) > '{}'", c.name, r.pick(&["8", "c", "0"]))),
    // Numbers.
    ("+", SMALL, |r, c| format!("{} + {} {} {}", c.name, small(r), order(r), small(r))),
    ("-", SMALL, |r, c| format!("{} - {} {} {}", c.name, small(r), order(r), small(r))),
    ("*", SMALL, |r, c| format!("{} * {} {} {}", c.name, small(r), order(r), small(r))),
    ("/", SMALL, |r, c| format!("{} / {} {} {}", c.name, 1 + r.below(4), order(r), small(r))),
    ("%", SMALL, |r, c| format!("{} % {} = {}", c.name, -1 - r.below(4) as i64, small(r))),
    ("+", "n12", |r, c| format!("{} + {} {} {}", c.name, constant(r, c), order(r), constant(r, c))),
    ("*", "n12", |r, c| format!("{0} * {0} {1} {2}", c.name, order(r), constant(r, c))),
    ("negative", "n12", |r, c| format!("- {} {} {}", c.name, order(r), constant(r, c))),
    ("negative", SMALL, |r, c| format!("- CAST({} AS BIGINT) {} {}", c.name, order(r), small(r))),
    ("abs", "f4 f8 n12", |r, c| format!("abs({}) {} {}", c.name, order(r), constant(r, c))),
    ("abs", SMALL, |r, c| format!("abs(CAST({} AS BIGINT)) {} {}", c.name, order(r), small(r))),
    ("ceil", "f4 f8", |r, c| format!("ceil({}) {} {}", c.name, order(r), small(r))),
    ("floor", "f4 f8", |r, c| format!("floor({}) {} {}", c.name, order(r), small(r))),
    ("trunc", "f4 f8", |r, c| format!("trunc({}) {} {}", c.name, order(r), small(r))),
    ("isnan", "f4 f8", |_, c| format!("isnan({})", c.name)),
    ("iszero", "f4 f8", |_, c| format!("iszero({})", c.name)),
    ("cast to text", "b i2 i4 i8 dom o", |r, c| {
        format!("CAST({} AS VARCHAR) > {}", c.name, r.pick(&["'0'", "'-1'", "'t'", "'7'"]))
    }),
    ("cast to float", "i2 i4 i8 f4 dom", |r, c| {
        format!("CAST({} AS DOUBLE) {} {}", c.name, order(r), r.pick(&["0.5", "-1.0", "7.0", "9.3e18"]))
    }),
    ("cast to bigint", SMALL, |r, c| format!("CAST({} AS BIGINT) + g {} {}", c.name, order(r), small(r))),
    ("cast to decimal", "i2 i4 dom n12", |r, c| format!("CAST({} AS DECIMAL(20,5)) {} 1.5", c.name, order(r))),
    // Dates.
    ("date_part", "d ts tz", |r, c| {
        let (field, value) = *r.pick(&[
            &("year", "2020"),
            &("year", "-43"),
            &("year", "1969"),
            &("quarter", "1"),
            &("month", "12"),
            &("week", "1"),
            &("week", "52"),
            &("day", "31"),
            &("doy", "60"),
            &("dow", "0"),
            &("isodow", "7"),
        ]);
        // Without the sum the optimizer makes ranges of years.
        format!("date_part('{field}', {}) + 0 * g {} {value}", c.name, r.pick(&["=", "<", ">="]))
    }),
    ("date_part", "ts tz", |r, c| {
        let field = r.pick(&["hour", "minute", "second"]);
        format!("date_part('{field}', {}) = {}", c.name, r.pick(&["0", "23", "59", "12", "56"]))
    }),
    ("date_trunc", "ts tz", |r, c| {
        let field = r.pick(&[
            "year",
            "quarter",
            "month",
            "week",
            "day",
            "hour",
            "minute",
            "second",
            "millisecond",
            "microsecond",
        ]);
        format!(
            "date_trunc('{field}', {0}) = {0} OR date_trunc('{field}', {0}) {1} {2}",
            c.name,
            order(r),
            constant(r, c)
        )
    }),
    ("cast to timestamp", "tz", |r, c| {
        let at = constant(r, tables::column("ts"));
        format!("CAST({} AS TIMESTAMP) {} {at}", c.name, order(r))
    }),
];

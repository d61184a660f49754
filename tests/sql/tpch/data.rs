//! The eight tables, generated as text files and loaded into each system by its own means.

use polder_testing::{DuckDb, Postgres};
use std::fmt::Display;
use std::io::{BufWriter, Write};
use std::path::Path;
use tempfile::TempDir;
use tpchgen::csv::{CustomerCsv, LineItemCsv, NationCsv, OrderCsv, PartCsv, PartSuppCsv, RegionCsv, SupplierCsv};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

/// Every table with its columns, in types that PostgreSQL and DuckDB both know.
pub(super) const TABLES: [(&str, &str); 8] = [
    ("region", "r_regionkey INTEGER, r_name VARCHAR(25), r_comment VARCHAR(152)"),
    ("nation", "n_nationkey INTEGER, n_name VARCHAR(25), n_regionkey INTEGER, n_comment VARCHAR(152)"),
    (
        "customer",
        "c_custkey BIGINT, c_name VARCHAR(25), c_address VARCHAR(40), c_nationkey INTEGER, c_phone VARCHAR(15),
            c_acctbal DECIMAL(15, 2), c_mktsegment VARCHAR(10), c_comment VARCHAR(117)",
    ),
    (
        "orders",
        "o_orderkey BIGINT, o_custkey BIGINT, o_orderstatus VARCHAR(1), o_totalprice DECIMAL(15, 2), o_orderdate DATE,
            o_orderpriority VARCHAR(15), o_clerk VARCHAR(15), o_shippriority INTEGER, o_comment VARCHAR(79)",
    ),
    (
        "lineitem",
        "l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT, l_linenumber INTEGER, l_quantity DECIMAL(15, 2),
            l_extendedprice DECIMAL(15, 2), l_discount DECIMAL(15, 2), l_tax DECIMAL(15, 2), l_returnflag VARCHAR(1),
            l_linestatus VARCHAR(1), l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE,
            l_shipinstruct VARCHAR(25), l_shipmode VARCHAR(10), l_comment VARCHAR(44)",
    ),
    (
        "part",
        "p_partkey BIGINT, p_name VARCHAR(55), p_mfgr VARCHAR(25), p_brand VARCHAR(10), p_type VARCHAR(25),
            p_size INTEGER, p_container VARCHAR(10), p_retailprice DECIMAL(15, 2), p_comment VARCHAR(23)",
    ),
    (
        "partsupp",
        "ps_partkey BIGINT, ps_suppkey BIGINT, ps_availqty INTEGER, ps_supplycost DECIMAL(15, 2),
            ps_comment VARCHAR(199)",
    ),
    (
        "supplier",
        "s_suppkey BIGINT, s_name VARCHAR(25), s_address VARCHAR(40), s_nationkey INTEGER, s_phone VARCHAR(15),
            s_acctbal DECIMAL(15, 2), s_comment VARCHAR(101)",
    ),
];

/// No value holds it, so that nothing needs quotes but what the generator quotes.
const DELIMITER: char = '|';

/// One file a table, without header.
pub(super) fn generate(scale: f64) -> TempDir {
    let folder = tempfile::tempdir().expect("make a temporary directory");
    let to = |table: &str, lines: &mut dyn Iterator<Item = Box<dyn Display>>| write(folder.path(), table, lines);
    macro_rules! table {
        ($name:literal, $generator:ident, $csv:ident) => {
            to(
                $name,
                &mut $generator::new(scale, 1, 1)
                    .iter()
                    .map(|row| Box::new($csv::with_delimiter(row, DELIMITER)) as Box<dyn Display>),
            )
        };
    }
    table!("region", RegionGenerator, RegionCsv);
    table!("nation", NationGenerator, NationCsv);
    table!("customer", CustomerGenerator, CustomerCsv);
    table!("orders", OrderGenerator, OrderCsv);
    table!("lineitem", LineItemGenerator, LineItemCsv);
    table!("part", PartGenerator, PartCsv);
    table!("partsupp", PartSuppGenerator, PartSuppCsv);
    table!("supplier", SupplierGenerator, SupplierCsv);
    folder
}

fn write(folder: &Path, table: &str, lines: &mut dyn Iterator<Item = Box<dyn Display>>) {
    let file = std::fs::File::create(folder.join(format!("{table}.csv"))).expect("create a file");
    let mut file = BufWriter::new(file);
    for line in lines {
        writeln!(file, "{line}").expect("write a row");
    }
    file.flush().expect("write a file");
}

/// Loads some of the tables into a database of their own and returns its URL.
pub(super) fn load_postgres(postgres: &Postgres, folder: &Path, tables: &[&str]) -> String {
    let url = postgres.create_database("tpch");
    for (table, columns) in TABLES.iter().filter(|(table, _)| tables.contains(table)) {
        let file = folder.join(format!("{table}.csv"));
        postgres.psql_in(
            "tpch",
            &format!(
                "CREATE TABLE {table} ({columns});
                 \\copy {table} FROM '{}' (FORMAT csv, DELIMITER '{DELIMITER}')\nANALYZE {table};",
                file.display()
            ),
        );
    }
    url
}

/// Loads all tables into a DuckDB.
pub(super) fn load_duckdb(folder: &Path) -> DuckDb {
    let mut duckdb = DuckDb::start();
    for (table, columns) in TABLES {
        let file = folder.join(format!("{table}.csv"));
        duckdb.query(&format!("CREATE TABLE {table} ({columns})"));
        duckdb.query(&format!("COPY {table} FROM '{}' (DELIMITER '{DELIMITER}', HEADER false)", file.display()));
    }
    duckdb
}

//! The data and the queries: derived from TPC-H, generated anew in each run, and therefore the same in each.
//! (No result here is a TPC-H result: those are made and audited under the rules of the TPC.)

use crate::{Result, rows};
use arrow::array::RecordBatchReader;
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Statement, visit_relations_mut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use polder_testing::Postgres;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Stdio;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

#[cfg(test)]
mod tests;

/// All tables.
pub(crate) const TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

/// The queries with the parameters that the TPC's validation uses; the first is number one.
pub(crate) const QUERIES: [&str; 22] = [
    include_str!("../../tests/sql/tpch/q01.sql"),
    include_str!("../../tests/sql/tpch/q02.sql"),
    include_str!("../../tests/sql/tpch/q03.sql"),
    include_str!("../../tests/sql/tpch/q04.sql"),
    include_str!("../../tests/sql/tpch/q05.sql"),
    include_str!("../../tests/sql/tpch/q06.sql"),
    include_str!("../../tests/sql/tpch/q07.sql"),
    include_str!("../../tests/sql/tpch/q08.sql"),
    include_str!("../../tests/sql/tpch/q09.sql"),
    include_str!("../../tests/sql/tpch/q10.sql"),
    include_str!("../../tests/sql/tpch/q11.sql"),
    include_str!("../../tests/sql/tpch/q12.sql"),
    include_str!("../../tests/sql/tpch/q13.sql"),
    include_str!("../../tests/sql/tpch/q14.sql"),
    include_str!("../../tests/sql/tpch/q15.sql"),
    include_str!("../../tests/sql/tpch/q16.sql"),
    include_str!("../../tests/sql/tpch/q17.sql"),
    include_str!("../../tests/sql/tpch/q18.sql"),
    include_str!("../../tests/sql/tpch/q19.sql"),
    include_str!("../../tests/sql/tpch/q20.sql"),
    include_str!("../../tests/sql/tpch/q21.sql"),
    include_str!("../../tests/sql/tpch/q22.sql"),
];

/// DuckDB's own default. One large row group could be read by one core only.
const ROW_GROUP_ROWS: usize = 122_880;

/// Rows of one table.
pub(crate) fn rows(table: &str, scale: f64) -> Box<dyn RecordBatchReader + Send> {
    match table {
        "customer" => Box::new(CustomerArrow::new(CustomerGenerator::new(scale, 1, 1))),
        "lineitem" => Box::new(LineItemArrow::new(LineItemGenerator::new(scale, 1, 1))),
        "nation" => Box::new(NationArrow::new(NationGenerator::new(scale, 1, 1))),
        "orders" => Box::new(OrderArrow::new(OrderGenerator::new(scale, 1, 1))),
        "part" => Box::new(PartArrow::new(PartGenerator::new(scale, 1, 1))),
        "partsupp" => Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1))),
        "region" => Box::new(RegionArrow::new(RegionGenerator::new(scale, 1, 1))),
        "supplier" => Box::new(SupplierArrow::new(SupplierGenerator::new(scale, 1, 1))),
        _ => unreachable!("TABLES has no {table}"),
    }
}

/// Writes each table as `TABLE.parquet` into a folder.
pub(crate) fn write_parquet(folder: &Path, tables: &[&str], scale: f64) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    fs::create_dir_all(folder)?;
    for table in tables {
        let rows = rows(table, scale);
        let file = File::create(folder.join(format!("{table}.parquet")))?;
        let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties.clone()))?;
        for batch in rows {
            writer.write(&batch?)?;
        }
        writer.close()?;
    }
    Ok(())
}

/// A PostgreSQL with room for the tables in its own buffers, so that it is never the disk that is measured.
pub(crate) fn postgres() -> Postgres {
    Postgres::builder().setting("shared_buffers", "1GB").setting("max_wal_size", "4GB").start()
}

/// Creates one table in the schema `public`, fills it through COPY, and vacuums it, so that the first reader does not
/// pay for hint bits.
pub(crate) fn load(postgres: &Postgres, table: &str, scale: f64) -> Result<()> {
    let rows = rows(table, scale);
    postgres.psql(&format!("CREATE TABLE {table} ({})", columns(&rows.schema())));
    let mut psql = postgres.psql_command("postgres");
    psql.arg("-c").arg(format!("COPY {table} FROM STDIN (FORMAT csv)"));
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let input = psql.stdin.take().ok_or("psql has no standard input")?;
    let mut writer = WriterBuilder::new().with_header(false).build(input);
    for batch in rows {
        writer.write(&batch?)?;
    }
    drop(writer);
    let status = psql.wait()?;
    if !status.success() {
        return Err(format!("loading {table} failed: {status}").into());
    }
    postgres.psql(&format!("VACUUM ANALYZE {table}"));
    Ok(())
}

/// The columns of CREATE TABLE.
fn columns(schema: &SchemaRef) -> String {
    let column = |field: &arrow::datatypes::Field| {
        let native = match field.data_type() {
            DataType::Int32 => "integer".to_string(),
            DataType::Int64 => "bigint".to_string(),
            DataType::Date32 => "date".to_string(),
            DataType::Decimal128(precision, scale) => format!("numeric({precision},{scale})"),
            _ => "text".to_string(),
        };
        format!("{} {native} NOT NULL", field.name())
    };
    schema.fields().iter().map(|field| column(field)).collect::<Vec<_>>().join(", ")
}

/// What psql returns for a query, as Arrow.
pub(crate) fn psql_rows(postgres: &Postgres, sql: &str, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let mut psql = postgres.psql_command("postgres");
    let output = psql.arg("-c").arg(format!("COPY ({sql}) TO STDOUT (FORMAT csv, HEADER)")).output()?;
    if !output.status.success() {
        return Err(format!("psql: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    rows::read_csv(&output.stdout, schema)
}

/// The same query over tables that lie in the schema `public` of the catalog that `catalog_of` tells.
pub(crate) fn qualify(sql: &str, catalog_of: impl Fn(&str) -> &'static str) -> Result<String> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql)?;
    let _: ControlFlow<()> = visit_relations_mut(&mut statements, |name| {
        let table = name.to_string();
        if TABLES.contains(&table.as_str()) {
            *name = ObjectName::from([catalog_of(&table), "public", &table].map(Ident::new).to_vec());
        }
        ControlFlow::Continue(())
    });
    Ok(statements.iter().map(Statement::to_string).collect::<Vec<_>>().join(";"))
}

use super::*;

/// A column or an alias that has a table's name is not a table.
#[test]
fn only_tables_are_qualified() {
    let sql = "WITH revenue AS (SELECT part FROM orders) SELECT nation FROM revenue, part AS nation";
    let qualified = qualify(sql, |table| if table == "orders" { "pg" } else { "lake" }).unwrap();
    assert_eq!(
        qualified,
        "WITH revenue AS (SELECT part FROM pg.public.orders) SELECT nation FROM revenue, lake.public.part AS nation"
    );
}

/// The PostgreSQL that is measured has the types of the specification.
#[test]
fn columns_are_written_in_postgres_types() {
    let columns = columns(&rows("orders", 0.001).schema());
    assert!(columns.starts_with("o_orderkey bigint NOT NULL, o_custkey bigint NOT NULL, o_orderstatus text NOT NULL"));
    assert!(columns.contains("o_totalprice numeric(15,2) NOT NULL, o_orderdate date NOT NULL"));
}

#[test]
fn every_query_reads_tables_that_exist() {
    for (index, sql) in QUERIES.iter().enumerate() {
        let qualified = qualify(sql, |_| "lake").unwrap();
        assert!(qualified.contains("lake.public."), "query {}: {qualified}", index + 1);
    }
}

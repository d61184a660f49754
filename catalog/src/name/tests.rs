//! Names as SQL.

use super::*;

#[test]
fn a_name_is_quoted_where_sql_would_read_another() {
    let printed = |table: &str| {
        let name =
            TableName { catalog: CatalogName::new("shop"), schema: "public".to_string(), table: table.to_string() };
        name.to_string()
    };
    assert_eq!(printed("orders_2024"), "shop.public.orders_2024");
    assert_eq!(printed("_private"), "shop.public._private");
    for (table, quoted) in [
        ("Orders", r#""Orders""#),
        ("2024", r#""2024""#),
        ("", r#""""#),
        ("a b", r#""a b""#),
        ("a.b", r#""a.b""#),
        (r#"a"b"#, r#""a""b""#),
        (r#"a""b"#, r#""a""""b""#),
        (r#"a\"; drop table x; --"#, r#""a\""; drop table x; --""#),
        ("sélect", r#""sélect""#),
        ("a\nb", "\"a\nb\""),
    ] {
        assert_eq!(printed(table), format!("shop.public.{quoted}"));
    }
}

#[test]
fn every_part_of_a_name_is_quoted_by_itself() {
    let name = TableName { catalog: CatalogName::new("My Shop"), schema: "S\"".into(), table: "t".into() };
    assert_eq!(name.to_string(), r#""My Shop"."S""".t"#);
}

#[test]
fn a_catalog_name_prints_as_it_is() {
    let name = CatalogName::new("My \"Shop\"");
    assert_eq!(name.to_string(), "My \"Shop\"");
    assert_eq!(name.as_str(), name.as_ref());
}

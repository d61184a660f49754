//! What the index takes over, as EXPLAIN tells it, and how little is read then.

use super::desk::{Answer, Desk, column, rows, table};
use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray};
use arrow::datatypes::DataType;
use polder_catalog::DatasetDefinition;
use std::sync::Arc;

fn goods() -> DatasetDefinition {
    table(
        "goods",
        vec![
            column("id", DataType::Int64, &[]),
            column("kind", DataType::Utf8, &[("analyzer", "keyword")]),
            column("price", DataType::Int64, &[]),
            column("weight", DataType::Float64, &[]),
            column("day", DataType::Date32, &[]),
            column("body", DataType::Utf8, &[]),
        ],
    )
}

/// A thousand rows in several commits, so in several segments; some of them deleted again.
async fn desk() -> Desk {
    let desk = Desk::new().await;
    let definition = goods();
    for part in 0..5i64 {
        let ids = || (part * 200)..(part * 200 + 200);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(ids())),
            Arc::new(StringArray::from_iter(
                ids().map(|id| (id % 7 != 0).then(|| ["a", "b", "c"][usize::try_from(id % 3).unwrap()])),
            )),
            Arc::new(Int64Array::from_iter(ids().map(|id| (id % 11 != 0).then_some(id * 37 % 101)))),
            Arc::new(Float64Array::from_iter(
                ids().map(|id| (id % 13 != 0).then_some([0.0, -0.0, 1.5, f64::NAN][usize::try_from(id % 4).unwrap()])),
            )),
            Arc::new(Date32Array::from_iter_values(ids().map(|id| i32::try_from(id % 50).unwrap()))),
            Arc::new(StringArray::from_iter_values(
                ids().map(|id| format!("word{} {}", id % 20, "x ".repeat(usize::try_from(id % 5).unwrap()))),
            )),
        ];
        let batch = rows(&definition, columns);
        if part == 0 {
            desk.fill(&definition, &batch).await;
        } else {
            desk.apply(Vec::new(), vec![(definition.id.clone(), Desk::weighted(&batch, 1))]).await.expect("apply");
        }
        let gone = Desk::weighted(&batch.slice(10, 5), -1);
        desk.apply(Vec::new(), vec![(definition.id.clone(), gone)]).await.expect("apply");
    }
    desk
}

fn request(answer: &Answer) -> String {
    answer.requests().join(" | ")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_ten_by_score_are_ten_documents() {
    let desk = desk().await;
    let sql =
        "SELECT id, body FROM goods WHERE kind = 'a' AND price > 1 AND match(body, 'x') ORDER BY _score DESC LIMIT 10";
    let answer = desk.run(true, &["goods"], sql).await.expect("it runs");
    assert_eq!(
        request(&answer),
        "goods: +kind:\"a\" +price:{1 TO *} +(body:x), top 10 by _score descending nulls first"
    );
    assert_eq!((answer.rows.num_rows(), answer.rows_read()), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_columns_is_made_in_the_index() {
    let desk = desk().await;
    for (order, asked) in [
        ("price DESC NULLS LAST, id", "top 12 by price descending, id ascending"),
        ("price ASC NULLS FIRST, id DESC", "top 12 by price ascending nulls first, id descending nulls first"),
        ("kind DESC, id", "top 12 by kind descending nulls first, id ascending"),
        ("kind, day, id", "top 12 by kind ascending, day ascending, id ascending"),
        ("id DESC", "top 12 by id descending nulls first"),
    ] {
        let answer = desk
            .ask("goods", &format!("SELECT id, kind, price FROM goods WHERE price < 90 ORDER BY {order} LIMIT 12"))
            .await;
        assert!(request(&answer).ends_with(asked), "{order}: {}", request(&answer));
        assert_eq!(answer.rows_read(), 12, "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_made_in_the_index() {
    let desk = desk().await;
    for (sql, asked) in [
        ("SELECT count(*) FROM goods", "goods: *, count(*)"),
        ("SELECT count(*) FROM goods WHERE match(body, 'word3') AND kind <> 'b'", "count(*)"),
        ("SELECT kind, count(*), min(price), max(day), sum(price) FROM goods GROUP BY kind", "by kind"),
        ("SELECT kind, day, count(price) FROM goods WHERE id > 100 GROUP BY kind, day", "count(price) by kind, day"),
        ("SELECT DISTINCT kind FROM goods", "distinct kind"),
        ("SELECT sum(price) FROM goods WHERE id < 0", "sum(price)"),
    ] {
        let answer = desk.ask("goods", sql).await;
        assert!(request(&answer).ends_with(asked), "{sql}: {}", request(&answer));
        assert!(answer.rows_read() <= answer.rows.num_rows(), "{sql}: {} rows were read", answer.rows_read());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_exact_stays_local_with_a_reason() {
    let desk = desk().await;
    for (filter, reason) in [
        ("weight = 0.0", "the index tells 0 from -0, and one NaN from another [semantics]"),
        ("lower(kind) = 'a'", "an index compares columns only"),
        ("price + 1 > 3", "an index compares columns only"),
        ("kind LIKE '%a%'", "an index does not evaluate"),
    ] {
        let answer = desk.ask("goods", &format!("SELECT id FROM goods WHERE {filter}")).await;
        let kept = answer.kept_local().join(" | ");
        assert!(kept.contains(reason), "{filter}: {kept}");
    }
    for sql in [
        "SELECT sum(weight) FROM goods",
        "SELECT body, count(*) FROM goods GROUP BY body",
        "SELECT min(weight) FROM goods",
        // Averages of large integers are rounded on the way.
        "SELECT avg(price) AS count FROM goods",
    ] {
        let answer = desk.run(true, &["goods"], sql).await.expect("it runs");
        assert!(
            !["sum", "count", "avg"].iter().any(|asked| request(&answer).contains(asked)),
            "{sql}: {}",
            request(&answer)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_columns_asked_for_are_read() {
    let desk = desk().await;
    let narrow = desk.run(true, &["goods"], "SELECT price FROM goods").await.expect("it runs");
    assert_eq!(narrow.rows.num_columns(), 1);
    let limited = desk.run(true, &["goods"], "SELECT id FROM goods WHERE price > 3 LIMIT 5").await.expect("it runs");
    assert_eq!(limited.rows.num_rows(), 5);
    assert!(limited.rows_read() <= 10, "two partitions read {} rows for a limit of 5", limited.rows_read());
}

/// The same documents in the same order as Tantivy's own parser and collector find, ties aside.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_ten_are_those_of_tantivy_itself() {
    let desk = desk().await;
    let layout = crate::layout::Layout::new(goods(), goods()).expect("a layout");
    let mut index = tantivy::Index::open_in_dir(desk.folder.path().join("indexes/t1")).expect("open");
    index.set_tokenizers(layout.tokenizers());
    let searcher = index.reader().expect("a reader").searcher();
    let (body, _) = layout.slots[5].words.clone().expect("a text is searched");
    let parser = tantivy::query::QueryParser::for_index(&index, vec![body]);
    for text in ["x", "word3 x", "word3 AND x", "+x -word4", "\"x x\"", "word3^3 word7", "\"word3 x\"~2 word5"] {
        let query = parser.parse_query(text).expect(text);
        let top = tantivy::collector::TopDocs::with_limit(10).order_by_score();
        let raw: Vec<String> = searcher
            .search(&query, &top)
            .expect("a search")
            .into_iter()
            .map(|(score, address)| {
                let reader = searcher.segment_reader(address.segment_ord);
                let word = reader.fast_fields().u64("w0").expect("a fast field").first(address.doc_id).expect("a key");
                format!("{}, {score}", crate::encoding::to_signed(word))
            })
            .collect();
        let text = text.replace('\'', "''");
        let sql = format!("SELECT id, _score FROM goods WHERE match(body, '{text}') ORDER BY _score DESC LIMIT 10");
        let found = desk.run(true, &["goods"], &sql).await.expect("it runs").texts();
        let sorted = |mut rows: Vec<String>| {
            rows.sort();
            rows
        };
        assert_eq!(sorted(found), sorted(raw), "{text}");
    }
}

/// The keys of a join's smaller side become terms of the query.
#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_a_join_narrow_the_query() {
    let desk = desk().await;
    let sql = "SELECT g.id, w.name FROM (VALUES (3, 'three'), (42, 'many'), (5000, 'none')) AS w (id, name) \
               JOIN goods g ON g.id = w.id ORDER BY g.id";
    let answer = desk.ask("goods", sql).await;
    assert_eq!(answer.texts(), ["3, three", "42, many"]);
    assert!(answer.rows_read() <= 2, "{} rows were read, asked {:?}", answer.rows_read(), answer.keys());
    assert!(answer.keys().iter().any(|keys| keys.starts_with("id one of 3")), "{:?}", answer.keys());
}

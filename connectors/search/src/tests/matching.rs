//! `match`, `_score` and `snippet`: the same answers from the index and over the rows at hand.

use super::desk::{Desk, column, rows, table};
use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type};
use polder_catalog::{DatasetDefinition, SqlState};
use std::sync::Arc;

fn mails() -> DatasetDefinition {
    let english = [("analyzer", "english")];
    table(
        "mails",
        vec![
            column("id", DataType::Int64, &[]),
            column("subject", DataType::Utf8, &english),
            column("body", DataType::Utf8, &english),
            column("sender", DataType::Utf8, &[("analyzer", "keyword")]),
        ],
    )
}

async fn desk() -> Desk {
    let desk = Desk::new().await;
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]));
    let subjects: ArrayRef = Arc::new(StringArray::from(vec![
        Some("Databases"),
        Some("Running rust"),
        None,
        Some(""),
        Some("rust rust rust"),
    ]));
    let bodies: ArrayRef = Arc::new(StringArray::from(vec![
        Some("A database runs in Rust, with zero copy."),
        Some("Zero is not a copy"),
        None,
        Some("the"),
        None,
    ]));
    let senders: ArrayRef =
        Arc::new(StringArray::from(vec![Some("Ada Lovelace"), Some("ada"), None, Some(""), Some("Bob")]));
    let definition = mails();
    desk.fill(&definition, &rows(&definition, vec![ids, subjects, bodies, senders])).await;
    desk
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_finds_the_same_rows_in_the_index_and_at_hand() {
    let desk = desk().await;
    for (call, expected) in [
        ("match(body, 'database')", &["1"][..]),
        ("match(body, 'DATABASES run')", &["1"]),
        ("match(subject, body, 'rust')", &["1", "2", "5"]),
        ("match(subject, body, 'rust AND run')", &["1", "2"]),
        ("match(subject, body, 'rust -zero')", &["5"]),
        ("match(subject, body, 'subject:rust')", &["2", "5"]),
        ("match(body, '\"zero copy\"')", &["1"]),
        ("match(body, '\"zero copy\"~3')", &["1", "2"]),
        ("match(body, 'data*')", &["1"]),
        ("match(body, '\"zero co\"*')", &["1"]),
        ("match(body, 'databsae~1')", &["1"]),
        ("match(body, 'dtabsae~1')", &[]),
        ("match(body, 'dtabase~1')", &["1"]),
        ("match(body, 'the')", &[]),
        ("match(body, 'NOT zero')", &["4"]),
        ("match(body, '*')", &["1", "2", "4"]),
        ("match(sender, 'ada')", &["2"]),
        ("match(sender, '\"Ada Lovelace\"')", &["1"]),
        ("NOT match(body, 'zero')", &["4"]),
        ("match(body, 'zero') IS NULL", &["3", "5"]),
        ("NOT (match(body, 'zero') AND match(subject, 'rust'))", &["1", "4"]),
        ("match(body, 'copy') OR sender = 'Bob'", &["1", "2", "5"]),
        ("match(body, NULL)", &[]),
    ] {
        let answer = desk.ask("mails", &format!("SELECT id FROM mails WHERE {call} ORDER BY id")).await;
        assert_eq!(answer.texts(), expected, "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_score_ranks_rows_and_is_the_same_without_pushdown() {
    let desk = desk().await;
    let sql = "SELECT id, _score FROM mails WHERE match(subject, 'rust') ORDER BY _score DESC LIMIT 10";
    let answer = desk.ask("mails", sql).await;
    assert_eq!(answer.rows.num_rows(), 2);
    assert!(answer.texts()[0].starts_with("5, "), "{:?}", answer.texts());
    let without = desk.ask("mails", "SELECT id, _score FROM mails WHERE id < 3 ORDER BY id").await;
    assert_eq!(without.texts(), ["1, NULL", "2, NULL"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snippet_shows_where_the_words_are() {
    let desk = desk().await;
    let sql = "SELECT snippet(body, 'databases OR copy') FROM mails WHERE id = 1";
    let answer = desk.ask("mails", sql).await;
    assert_eq!(answer.texts(), ["A <b>database</b> runs in Rust, with zero <b>copy</b>"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_a_query_is_an_error_before_any_row_is_read() {
    let desk = desk().await;
    for (call, state) in [
        ("match(body, 'rust AND (')", SqlState::SYNTAX),
        ("match(body, 'author:knuth')", SqlState::NO_COLUMN),
        ("match(id, 'rust')", SqlState::TYPE),
        ("match(body, 7)", SqlState::TYPE),
        ("match('rust')", SqlState::NO_FUNCTION),
    ] {
        for pushdown in [true, false] {
            let sql = format!("SELECT id FROM mails WHERE id < 0 AND {call}");
            let error = desk.run(pushdown, &["mails"], &sql).await.err().unwrap_or_else(|| panic!("{sql} gives rows"));
            assert_eq!(error.state(), state, "{sql}: {error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_text_are_searched() {
    let desk = Desk::new().await;
    let texts = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    let numbers = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
    let definition = table(
        "posts",
        vec![column("id", DataType::Int64, &[]), column("tags", texts, &[]), column("numbers", numbers, &[])],
    );
    let tags: ArrayRef = {
        let mut builder = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
        builder.append_value([Some("red wine"), None, Some("cheese")]);
        builder.append_value::<_, &str>([]);
        builder.append_null();
        Arc::new(builder.finish())
    };
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let counts: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]));
    desk.fill(&definition, &rows(&definition, vec![ids, tags, counts])).await;
    let answer = desk.ask("posts", "SELECT id FROM posts WHERE match(tags, 'wine AND cheese')").await;
    assert_eq!(answer.texts(), ["1"]);
    let all = desk.ask("posts", "SELECT * FROM (SELECT id, tags, numbers FROM posts) ORDER BY id").await;
    assert_eq!(all.texts(), ["1, [red wine, , cheese], [1, ]", "2, [], NULL", "3, NULL, []"]);
}

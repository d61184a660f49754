//! What is appended is read, with its hidden columns.

use super::desk::{Desk, attributes, context, contexts, rows};
use arrow::array::{ArrayRef, Int64Array};
use polder_catalog::SqlState;
use std::sync::Arc;

#[tokio::test]
async fn rows_come_back_with_what_is_known_of_them() {
    let desk = Desk::clicks(1);
    let appended = desk.append(rows(&[(1, Some("/a")), (2, None)])).await;
    assert_eq!(appended.rows, 2);
    assert_eq!(appended.ends.values().map(|end| end.0).collect::<Vec<_>>(), [2]);
    desk.source.tombstone("clicks", attributes("t"), Arc::new(Int64Array::from(vec![1])) as ArrayRef).await.unwrap();
    let query = "SELECT user_id, url, _shard, _offset, _key, _request_id, _deleted, _error FROM clicks";
    let expected =
        ["1 /a clicks-0 0 1 r false NULL", "1 NULL clicks-0 2 1 t true NULL", "2 NULL clicks-0 1 2 r false NULL"];
    assert_eq!(desk.query(&context(), query).await, expected);
}

#[tokio::test]
async fn each_key_stays_in_its_shard() {
    let desk = Desk::clicks(4);
    for round in 0..5 {
        let batch: Vec<_> = (0..100).map(|key| (key, (round % 2 == 0).then_some("/x"))).collect();
        let appended = desk.append(rows(&batch)).await;
        assert_eq!((appended.rows, appended.ends.len()), (100, 4));
    }
    let shards = "SELECT count(*) FROM (SELECT user_id FROM clicks GROUP BY user_id HAVING count(DISTINCT _shard) = 1)";
    assert_eq!(desk.query(&context(), shards).await, ["100"]);
    assert_eq!(desk.query(&contexts(5, true), "SELECT count(*) FROM clicks").await, ["500"]);
}

#[tokio::test]
async fn what_must_not_be_null_is_refused_by_name() {
    let desk = Desk::clicks(2);
    let batch = rows(&[(1, None)]);
    let nulls = arrow::array::new_null_array(batch.column(0).data_type(), 1);
    let batch =
        arrow::record_batch::RecordBatch::try_new(batch.schema(), vec![nulls, Arc::clone(batch.column(1))]).unwrap();
    let error = desk.source.append_batch("clicks", attributes("r"), batch).await.unwrap_err();
    assert_eq!(error.state(), SqlState::NOT_NULL);
    assert!(error.message().contains("\"user_id\""), "{error}");
    assert_eq!(desk.query(&context(), "SELECT count(*) FROM clicks").await, ["0"]);
}

#[tokio::test]
async fn a_self_join_sees_one_cut_while_others_append() {
    let desk = Desk::clicks(2);
    desk.append(rows(&[(1, None), (2, None), (3, None)])).await;
    let context = context();
    let session = desk.session(&context, &["clicks"]).await;
    desk.append(rows(&[(1, None), (2, None), (3, None)])).await;
    let again = desk.session(&context, &["clicks"]).await;
    for session in [session, again] {
        let join = "SELECT count(*) FROM clicks a JOIN clicks b ON a._shard = b._shard AND a._offset = b._offset";
        assert_eq!(super::desk::run(&session, join).await, ["3"]);
    }
    assert_eq!(desk.query(&super::desk::context(), "SELECT count(*) FROM clicks").await, ["6"]);
}

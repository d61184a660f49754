//! The conformance suite on this connector.

mod literal;
mod subject;

use polder_catalog::conformance::{Outcome, check};
use subject::PostgresSubject;

polder_catalog::conformance!(PostgresSubject::start());

/// Promises that are only shown if the subject helps: counts requests, looks at the server, breaks a scan.
const SHOWN_WITH_HELP: &[&str] = &[
    "connector_3_attaches_without_secrets",
    "source_1_listing_is_cheap",
    "source_2_sees_new_columns",
    "source_4_a_dropped_stream_stops_the_work",
    "source_5_errors_name_the_source",
    "scan_4_works_only_when_polled",
    "read_one_snapshot_per_query",
    "federation_1_takes_fragments_without_asking_the_source",
];

// Protects the suite's use: what a subject cannot show passes in silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_subject_helps_where_it_can() {
    let subject = PostgresSubject::start().await;
    for promise in SHOWN_WITH_HELP {
        assert_eq!(check(promise, &subject).await, Outcome::Kept, "{promise}");
    }
}

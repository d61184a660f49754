//! The conformance suite on this connector, and what is special about memory.

mod alterations;
mod broken;
mod catalogs;
mod definition;
mod history;
mod subject;

use polder_catalog::conformance::{Outcome, run};
use subject::MemorySubject;

polder_catalog::conformance!(MemorySubject::start());

/// Every promise that is left out is named here.
#[tokio::test]
async fn the_smallest_complete_connector_is_complete() {
    let report = run(&MemorySubject::start().await).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    let not_applicable = report.names(|outcome| matches!(outcome, Outcome::NotApplicable(_)));
    let (no_network, no_secrets) = ("connector_2_attaches_without_the_network", "connector_3_attaches_without_secrets");
    let no_fragments = [
        "federation_1_takes_fragments_without_asking_the_source",
        "federation_2_same_rows_and_columns",
        "federation_3_declines_with_a_reason",
    ];
    assert_eq!(not_applicable, [&[no_network, no_secrets], &no_fragments[..]].concat(), "{report}");
    let nobody_counts = [
        "source_1_listing_is_cheap",
        "source_4_a_cancelled_query_stops",
        "source_4_a_passed_deadline_stops",
        "source_4_a_dropped_stream_stops_the_work",
        "scan_4_works_only_when_polled",
    ];
    assert_eq!(report.names(Outcome::is_not_shown), nobody_counts, "{report}");
}

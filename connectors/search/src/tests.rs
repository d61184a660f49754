//! The conformance suite on this connector, and what is special about search.

mod desk;
mod durability;
mod matching;
mod pushed;
mod random;
mod subject;
mod types;

use polder_catalog::conformance::{Outcome, run};
use subject::SearchSubject;

polder_catalog::conformance!(SearchSubject::start());

/// Every promise that is left out is named here.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_has_a_name() {
    let report = run(&SearchSubject::start().await).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    let not_applicable = report.names(|outcome| matches!(outcome, Outcome::NotApplicable(_)));
    let changes = not_applicable.iter().filter(|name| name.starts_with("changes_")).count();
    let others: Vec<_> = not_applicable.iter().filter(|name| !name.starts_with("changes_")).collect();
    assert!(changes > 0, "an index tells no changes: {report}");
    assert_eq!(
        others,
        [&"connector_2_attaches_without_the_network", &"connector_3_attaches_without_secrets"],
        "{report}"
    );
}

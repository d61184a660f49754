//! The battery of tests that every connector runs. Each numbered promise of the contract has a test named after it.
//!
//! # How to use it
//!
//! Turn on the feature in `[dev-dependencies]`, implement [`Subject`] for your connector (how to make a source, and how
//! to fill it by the system's own means), and write one line. It becomes one `#[test]` per promise:
//!
//! ```ignore
//! struct MySubject { /* a server of its own, on a free port */ }
//!
//! impl MySubject {
//!     async fn start() -> Self { /* called once per promise */ }
//! }
//!
//! #[async_trait]
//! impl Subject for MySubject { /* ... */ }
//!
//! polder_catalog::conformance!(MySubject::start());
//! ```
//!
//! ```text
//! test conformance::source_4_a_dropped_stream_stops_the_work ... ok
//! test conformance::changes_3_resumes_after_any_position ... FAILED
//!     resumed after 00000000000003: expected transaction 4, was told transaction 5: a gap
//! ```
//!
//! A promise about a verb that the source has not is *not applicable*; one that needs the subject's help (a fault, a look
//! at the system) and does not get it is *not shown*. Both say so on the test's output, and [`run`] returns them, so that
//! a connector's own test can insist that nothing was left out:
//!
//! ```ignore
//! let report = polder_catalog::conformance::run(&MySubject::start().await).await;
//! assert_eq!(report.names(Outcome::is_not_shown), ["source_1_listing_is_cheap"]);
//! ```
//!
//! Generated queries come from a seed, printed with every failure; `POLDER_SEED` sets another.

mod changes;
mod connector;
mod faults;
mod federation;
mod pushdown;
mod random;
mod read;
mod rows;
mod sample;
mod subject;
mod types;
mod world;
mod write;

pub use federation::push;
pub use sample::sample;
pub use subject::{Edit, Subject, Table, Trouble};
pub use write::{definition, weighted};

use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use world::World;

/// A promise that takes longer is broken: something hangs.
const TIME_MAX: Duration = Duration::from_secs(120);

/// What the test of one promise found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The promise holds.
    Kept,
    /// The source has no such verb, or the promise cannot arise.
    NotApplicable(String),
    /// The subject gave no means to look.
    NotShown(String),
    /// The promise is broken, and how.
    Broken(String),
}

impl Outcome {
    /// Whether the promise is broken.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    /// Whether the subject gave no means to look.
    pub fn is_not_shown(&self) -> bool {
        matches!(self, Self::NotShown(_))
    }
}

/// What a promise's test returns: the error is how the promise is broken.
type Verdict = Result<Outcome, String>;

/// One promise of the contract and its test.
#[derive(Clone, Copy)]
struct Promise {
    name: &'static str,
    test: for<'a> fn(&'a World<'a>) -> BoxFuture<'a, Verdict>,
}

impl Promise {
    async fn check(&self, subject: &dyn Subject) -> Outcome {
        let world = World::new(subject);
        let tested = AssertUnwindSafe((self.test)(&world)).catch_unwind();
        match tokio::time::timeout(TIME_MAX, tested).await {
            Ok(Ok(Ok(outcome))) => outcome,
            Ok(Ok(Err(how))) => Outcome::Broken(how),
            Ok(Err(_)) => Outcome::Broken("it panicked".to_string()),
            Err(_) => Outcome::Broken(format!("it was not done after {} s", TIME_MAX.as_secs())),
        }
    }
}

/// What became of every promise.
#[derive(Clone, Debug, Default)]
pub struct Report(pub Vec<(&'static str, Outcome)>);

impl Report {
    /// Names of the promises whose outcome is such.
    pub fn names(&self, such: impl Fn(&Outcome) -> bool) -> Vec<&'static str> {
        self.0.iter().filter(|(_, outcome)| such(outcome)).map(|(name, _)| *name).collect()
    }

    /// Names of the broken promises.
    pub fn broken(&self) -> Vec<&'static str> {
        self.names(Outcome::is_broken)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, outcome)| match outcome {
            Outcome::Kept => writeln!(f, "kept            {name}"),
            Outcome::NotApplicable(why) => writeln!(f, "not applicable  {name}: {why}"),
            Outcome::NotShown(why) => writeln!(f, "not shown       {name}: {why}"),
            Outcome::Broken(how) => writeln!(f, "BROKEN          {name}: {how}"),
        })
    }
}

/// Tests every promise, one after the other, on one subject.
pub async fn run(subject: &dyn Subject) -> Report {
    let mut report = Report::default();
    for promise in promises() {
        report.0.push((promise.name, promise.check(subject).await));
    }
    report
}

/// Tests one promise, by name.
///
/// # Panics
/// If there is no such promise.
pub async fn check(name: &str, subject: &dyn Subject) -> Outcome {
    let promise = promises().into_iter().find(|promise| promise.name == name).expect("the promise is in the list");
    promise.check(subject).await
}

/// Tests one promise on a subject of its own, on a runtime of its own: the body of each test that
/// [`conformance!`](crate::conformance!) writes.
///
/// # Panics
/// If the promise is broken.
pub fn verify<S: Subject>(name: &str, start: impl Future<Output = S>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.expect("a runtime starts").block_on(async { check(name, &start.await).await });
    report(name, &outcome);
    if let Outcome::Broken(how) = outcome {
        panic!("{how}");
    }
}

#[expect(clippy::print_stdout, reason = "the output of a test")]
fn report(name: &str, outcome: &Outcome) {
    match outcome {
        Outcome::NotApplicable(why) => println!("{name} is not applicable: {why}"),
        Outcome::NotShown(why) => println!("{name} is not shown: {why}"),
        Outcome::Kept | Outcome::Broken(_) => {}
    }
}

fn promises() -> Vec<Promise> {
    crate::conformance_promises!(as_table)
}

/// Writes one `#[test]` per promise, in a module `conformance`. Takes an expression that starts a
/// [`Subject`](crate::conformance::Subject): a future, evaluated anew for each promise.
#[macro_export]
macro_rules! conformance {
    ($start:expr) => {
        /// One test per promise of the contract.
        mod conformance {
            use super::*;
            $crate::conformance_promises! { as_tests $start }
        }
    };
}

/// The one list of promises, as a table for [`run`](crate::conformance::run) or as tests.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_promises {
    (as_table) => { $crate::conformance_promises!(@list as_table) };
    (as_tests $start:expr) => { $crate::conformance_promises! { @list as_tests $start } };
    (@as_table ; $($module:ident::$name:ident)*) => {
        vec![$(Promise { name: stringify!($name), test: |world| Box::pin($module::$name(world)) }),*]
    };
    (@as_tests $start:expr ; $($module:ident::$name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::verify(stringify!($name), $start);
            }
        )*
    };
    (@list $form:ident $($start:expr)?) => {
        $crate::conformance_promises! { @$form $($start)? ;
            connector::connector_1_describes_itself_constantly
            connector::connector_2_attaches_without_the_network
            connector::connector_3_attaches_without_secrets
            read::source_1_lists_all_datasets_in_order
            read::source_1_listing_is_cheap
            read::source_2_sees_what_was_created_and_dropped
            read::source_2_sees_new_columns
            pushdown::source_3_same_rows_with_pushdown_on_and_off
            pushdown::source_3_same_rows_under_limits
            read::source_4_a_cancelled_query_stops
            read::source_4_a_passed_deadline_stops
            read::source_4_a_dropped_stream_stops_the_work
            faults::source_5_an_unknown_table_is_none
            faults::source_5_errors_name_the_source
            read::source_6_serves_many_at_once
            types::types_read_every_value
            types::types_read_awkward_names
            read::scan_1_describes_itself_the_same_each_time
            read::scan_2_tells_its_request
            read::scan_3_partitions_add_up_to_the_result
            read::scan_4_works_only_when_polled
            faults::scan_5_a_broken_stream_ends_with_an_error
            read::read_empty_table
            read::read_huge_table_in_bounded_batches
            read::read_one_snapshot_per_query
            federation::federation_1_takes_fragments_without_asking_the_source
            federation::federation_2_same_rows_and_columns
            federation::federation_3_declines_with_a_reason
            changes::changes_1_tells_whole_transactions
            changes::changes_2_parts_are_bounded
            changes::changes_3_resumes_after_any_position
            changes::changes_4_positions_never_decrease
            changes::changes_5_tells_old_rows
            changes::changes_6_tells_what_rows_cannot
            changes::changes_6_tells_that_history_is_lost
            changes::changes_7_tells_only_what_was_asked
            changes::changes_and_rows_agree
            faults::changes_break_off_with_an_error
            write::writer_1_applies_whole_entries
            write::writer_1_a_refusal_leaves_no_trace
            write::writer_1_a_retry_leaves_no_trace
            write::writer_2_applies_once
            write::writer_3_remembers_with_the_data
            write::writer_4_dropped_anywhere_leaves_all_or_nothing
            write::writer_5_is_defined_by_the_log
            types::types_write_every_value
        }
    };
}

//! Thousands of lives of the log on a disk that loses, tears, refuses and fills up: fault F2 and F4 of the catalogue.
//!
//! Three bases of seeds are fixed and one is drawn and printed. `POLDER_SEEDS` says how many lives to live, `POLDER_SEED`
//! lives one again.

use polder_log::simulation::{Campaign, Outcome};

#[test]
fn no_acknowledged_entry_is_lost_in_any_life() {
    let campaign = Campaign::from_environment(2_000);
    println!("{campaign}");
    let outcome = campaign.run().unwrap_or_else(|error| panic!("{error}"));
    println!("{outcome:?}");
    let Outcome { acknowledged, crashes, .. } = outcome;
    assert!(acknowledged > 0 && (campaign.is_replay() || crashes > 0));
}

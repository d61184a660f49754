//! A few lives in every test run; the root's simulation runs thousands.

use super::*;

/// `POLDER_SEEDS` says how many lives, `POLDER_SEED` lives one again.
#[test]
fn no_acknowledged_entry_is_lost_in_any_life() {
    let campaign = Campaign::from_environment(120);
    println!("{campaign}");
    let total = campaign.run().unwrap_or_else(|error| panic!("{error}"));
    println!("{total:?}");
    if campaign.is_replay() {
        return;
    }
    let Outcome { unknown, found, crashes, poisoned, trimmed, flips_named, flips_harmless, failed, .. } = total;
    let all = [unknown, found, crashes, poisoned, trimmed, flips_named, flips_harmless, failed];
    assert!(all.iter().all(|count| *count > 0), "a fault that never happens tests nothing: {total:?}");
}

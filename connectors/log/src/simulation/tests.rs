//! A few lives in every test run; the root's simulation runs thousands.

use super::*;

/// `POLDER_SEEDS` says how many lives, `POLDER_SEED` replays one.
#[test]
fn no_acknowledged_entry_is_lost_in_any_life() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("POLDER_SEED") {
        println!("{:?}", run(seed).unwrap());
        return;
    }
    let mut total = Outcome::default();
    for seed in 0..number("POLDER_SEEDS").unwrap_or(120) {
        total.add(&run(seed).unwrap_or_else(|error| panic!("{error}")));
    }
    println!("{total:?}");
    let Outcome { unknown, found, crashes, poisoned, trimmed, flips_named, flips_harmless, failed, .. } = total;
    let all = [unknown, found, crashes, poisoned, trimmed, flips_named, flips_harmless, failed];
    assert!(all.iter().all(|count| *count > 0), "a fault that never happens tests nothing: {total:?}");
}

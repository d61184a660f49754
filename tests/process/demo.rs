//! The guided tour, as a newcomer sees it.

use crate::program::run;

#[test]
fn the_tour_shows_query_plan_and_answer_and_leaves_nothing_behind() {
    let ran = run(&["demo"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    for wanted in [
        "CREATE CATALOG lake USING object_store",
        "1. Which categories sell best?",
        "2. Who are the five best customers in the Netherlands?",
        "3. Where is what we send sent back?",
        "What each store is asked:",
        "(4 rows)",
        "(5 rows)",
        "What to try next, with your own data:",
    ] {
        assert!(ran.stdout.contains(wanted), "{wanted} is not in\n{}", ran.stdout);
    }
    let location = ran.stdout.split("location = '").nth(1).and_then(|rest| rest.split('\'').next());
    let location = location.expect("the tour names its folder");
    assert!(!std::path::Path::new(location).exists(), "{location} is still there");
}

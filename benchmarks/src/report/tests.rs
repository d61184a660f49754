use super::*;

fn samples(name: &'static str, milliseconds: u64) -> Samples {
    Samples::new(name, vec![Duration::from_millis(milliseconds)])
}

/// Scripts read this line.
#[test]
fn a_result_line_starts_with_workload_ours_peer_and_ratio() {
    let finding = Finding::time("total", &samples("polder", 21), &samples("datafusion", 20), Some(1.05));
    assert_eq!(
        finding.line(Workload::ParquetQueries),
        "RESULT workload=parquet_queries ours=21.00 peer=20.00 ratio=1.050 measure=total against=datafusion unit=ms \
         at_most=1.05 met=yes"
    );
}

#[test]
fn more_rows_per_second_is_better_and_more_milliseconds_worse() {
    let (ours, peer) = (samples("polder", 200), samples("psql", 100));
    assert_eq!(Finding::rate("scan", 1000, &ours, &peer, Some(0.9)).is_met(), Some(false));
    assert_eq!(Finding::rate("scan", 1000, &peer, &ours, Some(0.9)).is_met(), Some(true));
    assert_eq!(Finding::time("scan", &ours, &peer, Some(1.0)).is_met(), Some(false));
    assert_eq!(Finding::time("scan", &ours, &peer, None).is_met(), None);
    assert_eq!(Finding::memory("peak", 100_000_000, 300.0).is_met(), Some(true));
}

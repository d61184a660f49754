use super::*;

fn samples(milliseconds: &[u64]) -> Samples {
    Samples::new("someone", milliseconds.iter().copied().map(Duration::from_millis).collect())
}

/// The figure that every claim of speed quotes.
#[test]
fn the_median_is_the_middle_of_the_sorted_times() {
    assert_eq!(samples(&[9, 1, 2]).median(), Duration::from_millis(2));
    assert_eq!(samples(&[9, 1, 2, 4]).median(), Duration::from_millis(3));
    assert_eq!(samples(&[5]).median(), Duration::from_millis(5));
    assert_eq!(samples(&[9, 1, 2]).fastest(), Duration::from_millis(1));
    assert_eq!(samples(&[9, 1, 2]).slowest(), Duration::from_millis(9));
}

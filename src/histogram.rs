//! A histogram of durations: counted without a lock, read as buckets or as quantiles.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets in microseconds, both included in what they count: from half a millisecond to ten minutes.
/// What takes longer is in a last bucket without a bound.
pub(crate) const BOUNDS_MICROS: [u64; 18] = [
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
];

/// How long something took, as often as it was done.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

/// What a histogram held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// How many are in each bucket, the last one without a bound.
    pub(crate) buckets: Vec<u64>,
    pub(crate) sum_micros: u64,
}

impl Histogram {
    pub(crate) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Distribution {
        Distribution {
            buckets: self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect(),
            sum_micros: self.sum_micros.load(Ordering::Relaxed),
        }
    }
}

impl Distribution {
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(crate) fn mean_millis(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum_micros as f64 / count as f64 / 1e3)
    }

    /// An estimate, between the bounds of its bucket as if they were filled evenly. What is beyond the last bound is told as that.
    pub(crate) fn quantile_millis(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (quantile * count as f64).max(1.0);
        let mut before = 0;
        for (at, in_bucket) in self.buckets.iter().enumerate() {
            if *in_bucket > 0 && (before + in_bucket) as f64 >= rank {
                let low = at.checked_sub(1).map_or(0, |at| BOUNDS_MICROS[at]) as f64;
                let high = BOUNDS_MICROS.get(at).map_or(low, |bound| *bound as f64);
                let share = (rank - before as f64) / *in_bucket as f64;
                return Some((low + (high - low) * share) / 1e3);
            }
            before += in_bucket;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 600_000_000, 600_000_001] {
            histogram.record(Duration::from_micros(micros));
        }
        let read = histogram.read();
        assert_eq!((read.buckets[0], read.buckets[1]), (2, 1));
        assert_eq!((read.buckets[17], read.buckets[18]), (1, 1));
        assert_eq!((read.count(), read.sum_micros), (5, 1_200_001_002));
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().quantile_millis(0.5), None);
        (0..99).for_each(|_| histogram.record(Duration::from_millis(2)));
        histogram.record(Duration::from_secs(20));
        let read = histogram.read();
        let (median, high, highest) =
            (read.quantile_millis(0.5), read.quantile_millis(0.99), read.quantile_millis(1.0));
        assert!(median.is_some_and(|median| (1.0..=2.5).contains(&median)), "{median:?}");
        assert!(high.is_some_and(|high| (1.0..=2.5).contains(&high)), "{high:?}");
        assert!(highest.is_some_and(|highest| (10_000.0..=30_000.0).contains(&highest)), "{highest:?}");
    }
}

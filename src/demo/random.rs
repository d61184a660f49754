//! Chance that is the same in every run: a tour must give the answers that its documentation shows.

/// Knuth's 64-bit linear congruential generator; its high bits are good enough for a shop.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to, not including, `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    /// As `below`, with small numbers more likely: a few customers and products make most of the sales.
    pub(super) fn skewed(&mut self, limit: usize) -> usize {
        self.below(limit).min(self.below(limit))
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

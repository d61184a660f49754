//! A small generator of pseudo-random numbers (SplitMix64, Steele et al., OOPSLA 2014): the same seed, the same queries.

/// The seed of a run that names none.
const SEED: u64 = 0x90_1de4;

#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The generator of this run, and its seed for the failure message.
    pub(super) fn from_environment() -> (Self, u64) {
        let seed = std::env::var("POLDER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
        (Self(seed), seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is at least one.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).expect("usize fits u64");
        usize::try_from(self.next() % bound).expect("below a usize")
    }

    pub(super) fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

//! Many lives, from seeds that are named.

use super::{Outcome, run};
use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// Where the fixed seeds begin.
const BASES: [u64; 3] = [0, 1 << 32, 1 << 48];

/// The lives to live.
#[derive(Clone, Debug)]
pub struct Campaign {
    bases: Vec<u64>,
    lives: u64,
    replay: bool,
}

impl Campaign {
    /// `POLDER_SEED` lives one life again; else `POLDER_SEEDS` lives, or so many, are spread over three fixed bases
    /// and a random one.
    pub fn from_environment(lives: u64) -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        if let Some(seed) = number("POLDER_SEED") {
            return Self { bases: vec![seed], lives: 1, replay: true };
        }
        // The one number of the simulation that does not come from a seed; it is printed.
        let random = RandomState::new().hash_one(()) >> 8;
        let bases = BASES.into_iter().chain([random]).collect();
        Self { bases, lives: number("POLDER_SEEDS").unwrap_or(lives), replay: false }
    }

    /// Whether this is one life again.
    pub fn is_replay(&self) -> bool {
        self.replay
    }

    /// Lives them all, or as far as the first that is not as it must be.
    pub fn run(&self) -> Result<Outcome, String> {
        let mut total = Outcome::default();
        for life in 0..self.lives {
            let bases = self.bases.len() as u64;
            let seed = self.bases[(life % bases) as usize] + life / bases;
            total.add(&run(seed).map_err(|error| format!("{error}\nlive it again with POLDER_SEED={seed}"))?);
        }
        Ok(total)
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lives from seeds {:?}", self.lives, self.bases)
    }
}

//! Running contenders in turn, and what their times say.

use crate::Result;
use crate::contender::Contender;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The times of one contender, in the order of rounds.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    pub(crate) name: &'static str,
    times: Vec<Duration>,
}

impl Samples {
    pub(crate) fn new(name: &'static str, times: Vec<Duration>) -> Self {
        Self { name, times }
    }

    /// The middle one, or the mean of the two in the middle: one slow run on a shared machine does not move it.
    pub(crate) fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        let middle = times.len() / 2;
        match times.len() {
            0 => Duration::ZERO,
            length if length % 2 == 1 => times[middle],
            _ => (times[middle - 1] + times[middle]) / 2,
        }
    }

    /// The time that so many of a hundred runs stay within.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        let at = (times.len() * percent).div_ceil(100).max(1) - 1;
        times.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn fastest(&self) -> Duration {
        self.times.iter().min().copied().unwrap_or_default()
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.times.iter().max().copied().unwrap_or_default()
    }
}

/// What one contender did in one stretch of time.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) elapsed: Duration,
    pub(crate) appends: usize,
    /// How long each append, or each group of them, waited until it was acknowledged.
    pub(crate) waits: Vec<Duration>,
}

impl Stretch {
    pub(crate) fn of(elapsed: Duration, waits: Vec<Duration>) -> Self {
        Self { elapsed, appends: waits.len(), waits }
    }

    pub(crate) fn time_of_one(&self) -> Duration {
        self.elapsed.div_f64(self.appends.max(1) as f64)
    }
}

/// Runs each contender once per round, after one round that does not count. Each round starts with the next one, so
/// that no one always runs in the wake of the same neighbour.
pub(crate) async fn interleave(contenders: &[Contender], rounds: u32) -> Result<Vec<Samples>> {
    let mut samples: Vec<_> = contenders.iter().map(|contender| Samples::new(contender.name, Vec::new())).collect();
    for contender in contenders {
        contender.time().await?;
    }
    for round in 0..rounds as usize {
        for turn in 0..contenders.len() {
            let index = (round + turn) % contenders.len();
            samples[index].times.push(contenders[index].time().await?);
        }
    }
    Ok(samples)
}

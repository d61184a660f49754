//! *Never wrong, only slower*: generated queries give the same rows with pushdown on and off.
//!
//! ```text
//! POLDER_SEED=n       replays a run; without it each run takes a seed of its own, and prints it
//! POLDER_QUERIES=n    how many queries, 400 by default
//! ```
//!
//! Rows are compared as SQL defines: as multisets, ties at LIMIT as sets, averages of floats to 1e-9, all else exactly.
//! Every pair of a whitelisted expression and a type is first tried by itself, and must have been pushed at least once.

mod answer;
mod expressions;
mod random;
mod shapes;
mod tables;
mod world;

use expressions::Pair;
use futures::StreamExt;
use random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
use world::{Outcome, World};

/// How often a pair is tried until the optimizer leaves it whole: a constant may fold the expression away.
const TRIES: usize = 12;

/// Queries that run at once. Each plans alone, so this is about the cores that there are.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_queries_give_the_same_rows_with_pushdown_on_and_off() {
    let seed = number("POLDER_SEED").unwrap_or_else(random::seed);
    let queries = number("POLDER_QUERIES").unwrap_or(400) as usize;
    println!("POLDER_SEED={seed} POLDER_QUERIES={queries}");
    let mut random = Random::new(seed);
    let world = Arc::new(World::start(&mut random).await);
    let mut tally = Tally::default();

    let pairs = expressions::pairs().into_iter().chain(shapes::pairs());
    // A seed of its own for each, so that it is tried alike whatever happens to the others.
    let pairs = pairs.map(|pair| try_alone(Arc::clone(&world), pair, random.fork()));
    tally.run(pairs).await;
    let left = queries.saturating_sub(tally.queries);
    let others = (0..left).map(|_| try_once(Arc::clone(&world), shapes::query(&mut random)));
    tally.run(others).await;
    tally.finish(seed);
}

/// A query and what became of it.
type Tried = (Query, Outcome);

/// Tries a pair until the source does all of it.
async fn try_alone(world: Arc<World>, pair: Pair, mut random: Random) -> Vec<Tried> {
    let mut tried = Vec::new();
    for _ in 0..TRIES {
        let query = pair.query(&mut random);
        let outcome = world.compare(&query).await;
        let is_pushed = outcome == Outcome::Pushed;
        tried.push((query, outcome));
        if is_pushed {
            break;
        }
    }
    tried
}

async fn try_once(world: Arc<World>, query: Query) -> Vec<Tried> {
    let outcome = world.compare(&query).await;
    vec![(query, outcome)]
}

#[test]
fn every_listed_function_and_aggregate_is_generated() {
    let covered: Vec<&str> = expressions::pairs().iter().chain(&shapes::pairs()).map(|pair| pair.expression).collect();
    let listed = crate::pushdown::functions::NAMES.iter().chain(crate::pushdown::fragment::AGGREGATES);
    let missing: Vec<_> = listed.filter(|name| !covered.contains(*name)).collect();
    assert!(missing.is_empty(), "never generated: {missing:?}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// A query to run on both sides.
#[derive(Clone, Debug)]
struct Query {
    sql: String,
    /// For LIMIT: the same query without it, and how many leading columns are the order.
    limited: Option<Limited>,
    /// Whether it gives averages, which are compared as floats.
    approximate: bool,
    /// The pairs that it tries; pushed if nothing but sorts and projections stays local.
    pairs: Vec<Pair>,
}

#[derive(Clone, Debug)]
struct Limited {
    unlimited: String,
    limit: usize,
    keys: usize,
}

#[derive(Default)]
struct Tally {
    queries: usize,
    pushed: BTreeMap<(&'static str, &'static str), usize>,
    failures: Vec<String>,
    local_errors: Vec<String>,
}

impl Tally {
    /// Runs the jobs, some at once, and counts in their order.
    async fn run<J>(&mut self, jobs: impl Iterator<Item = J>)
    where
        J: Future<Output = Vec<Tried>> + Send + 'static,
    {
        let mut done = futures::stream::iter(jobs.map(tokio::spawn)).buffered(AT_ONCE);
        while let Some(tried) = done.next().await {
            for (query, outcome) in tried.expect("a query does not panic") {
                self.count(&query, &outcome);
            }
        }
    }

    fn count(&mut self, query: &Query, outcome: &Outcome) {
        self.queries += 1;
        match outcome {
            Outcome::Pushed | Outcome::Local => {}
            Outcome::Differs(difference) => self.failures.push(format!("{}\n    {difference}", query.sql)),
            Outcome::FailsEverywhere(error) => self.local_errors.push(format!("{}\n    {error}", query.sql)),
        }
        for pair in &query.pairs {
            let count = self.pushed.entry((pair.expression, pair.on)).or_default();
            *count += usize::from(*outcome == Outcome::Pushed);
        }
    }

    fn finish(self, seed: u64) {
        let pushed: usize = self.pushed.values().sum();
        let errors = self.local_errors.len();
        println!("{} queries, {} pairs, pushed {pushed} times, {errors} failed alike", self.queries, self.pushed.len());
        for error in self.local_errors.iter().take(5) {
            println!("failed alike: {error}");
        }
        let never: Vec<_> = self.pushed.iter().filter(|(_, count)| **count == 0).map(|(pair, _)| pair).collect();
        println!("never pushed: {never:?}");
        let shown: Vec<_> = self.failures.iter().take(40).map(String::as_str).collect();
        assert!(self.failures.is_empty(), "seed {seed}: {} differ:\n{}", self.failures.len(), shown.join("\n"));
        assert!(never.is_empty(), "seed {seed}: never pushed: {never:?}");
        assert!(errors * 20 <= self.queries, "seed {seed}: {errors} of {} queries failed everywhere", self.queries);
    }
}

//! The memory of one query: a share of the pool, so that one cannot take what all have.

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A pool that gives of another one, up to a limit.
#[derive(Debug)]
pub(crate) struct QueryMemory {
    pool: Arc<dyn MemoryPool>,
    limit: usize,
    used: AtomicUsize,
}

impl QueryMemory {
    /// So many hundredths of the pool; of one without a size, all.
    pub(crate) fn of(pool: &Arc<dyn MemoryPool>, percent: u8) -> Arc<dyn MemoryPool> {
        match pool.memory_limit() {
            MemoryLimit::Finite(bytes) if percent < 100 => {
                let limit = bytes / 100 * usize::from(percent);
                Arc::new(Self { pool: Arc::clone(pool), limit, used: AtomicUsize::new(0) })
            }
            _ => Arc::clone(pool),
        }
    }
}

impl MemoryPool for QueryMemory {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.pool.grow(reservation, additional);
        self.used.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pool.shrink(reservation, shrink);
        self.used.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let grown = |used: usize| used.checked_add(additional).filter(|used| *used <= self.limit);
        if let Err(used) = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown) {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "the query may use {} of the memory, has {}, and {} asks for {} more",
                human_readable_size(self.limit),
                human_readable_size(used),
                reservation.consumer().name(),
                human_readable_size(additional),
            )));
        }
        self.pool.try_grow(reservation, additional).inspect_err(|_| {
            self.used.fetch_sub(additional, Ordering::Relaxed);
        })
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl fmt::Display for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", human_readable_size(self.limit), self.pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    #[test]
    fn one_query_gets_no_more_than_its_share() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1000));
        let (one, other) = (QueryMemory::of(&pool, 60), QueryMemory::of(&pool, 60));
        let first = MemoryConsumer::new("first").register(&one);
        first.try_grow(600).unwrap();
        assert!(first.try_grow(1).unwrap_err().to_string().contains("first asks for"));
        let second = MemoryConsumer::new("second").register(&other);
        second.try_grow(400).unwrap();
        // The pool itself has no more, and what it refused is not held against the query.
        assert!(second.try_grow(100).is_err());
        assert_eq!((one.reserved(), other.reserved(), pool.reserved()), (600, 400, 1000));
        drop(first);
        assert_eq!((one.reserved(), pool.reserved()), (0, 400));
        second.try_grow(200).unwrap();
    }
}

//! Every figure that is counted, in one place.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts `number` more.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The number so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The figures of this process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Look-ups of slugs, by who answered.
    pub resolve: Resolve,
    /// What went wrong with the shared cache.
    pub shared_cache: SharedCache,
    /// Clicks on their way to the store.
    pub clicks: Clicks,
}

/// Clicks on their way to the store.
#[derive(Debug, Default)]
pub struct Clicks {
    /// Handed over by redirects.
    pub taken: Counter,
    /// Acknowledged by the store.
    pub stored: Counter,
    /// Lost: the buffer was full, or the service stopped while the store was down.
    pub dropped: Counter,
    /// Times that the store did not take a batch, or did not say that it did.
    pub failed: Counter,
}

/// Look-ups of slugs, by who answered.
#[derive(Debug, Default)]
pub struct Resolve {
    /// The in-process cache.
    pub memory: Counter,
    /// The shared cache.
    pub shared: Counter,
    /// The store, which had the link.
    pub store: Counter,
    /// The store, which had no such link.
    pub absent: Counter,
    /// A cache, past its freshness, because the store did not answer.
    pub stale: Counter,
    /// Nobody.
    pub failed: Counter,
}

/// What went wrong with the shared cache. Each is a miss to the caller.
#[derive(Debug, Default)]
pub struct SharedCache {
    /// Calls that failed, or took longer than their limit.
    pub failed: Counter,
    /// Calls that the open breaker did not let through.
    pub refused: Counter,
    /// Times that the breaker opened.
    pub opened: Counter,
    /// Values that did not fit their key, their format or their schema, and were refused.
    pub rejected: Counter,
}

//! Whether the database answers at all, whatever becomes of a single statement.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A database that has answered something within this time is busy or locked, but there.
const RECENT: Duration = Duration::from_secs(1);

/// When the database last answered.
#[derive(Debug)]
pub(super) struct Pulse {
    origin: Instant,
    /// Milliseconds after `origin`.
    last: AtomicU64,
}

impl Pulse {
    /// No answer yet.
    pub(super) fn new() -> Self {
        Self {
            // As if the last answer had come long ago.
            origin: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// The database has answered.
    pub(super) fn beat(&self) {
        self.last.store(self.millis(), Ordering::Relaxed);
    }

    /// Whether it answered lately.
    pub(super) fn is_recent(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last > 0 && self.millis().saturating_sub(last) < RECENT.as_millis() as u64
    }

    fn millis(&self) -> u64 {
        // Never 0, which stands for no answer.
        u64::try_from(self.origin.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }
}

//! Since when something has been so, told without a lock: every redirect asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Since when, if at all.
#[derive(Debug)]
pub(super) struct Since {
    base: Instant,
    /// Microseconds after `base`, and one; 0 is not at all.
    micros: AtomicU64,
}

impl Default for Since {
    fn default() -> Self {
        Self {
            base: Instant::now(),
            micros: AtomicU64::new(0),
        }
    }
}

impl Since {
    pub(super) fn set(&self, since: Option<Instant>) {
        let micros = since.map_or(0, |since| {
            let micros = since.saturating_duration_since(self.base).as_micros();
            u64::try_from(micros).unwrap_or(u64::MAX - 1) + 1
        });
        self.micros.store(micros, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<Instant> {
        let micros = self.micros.load(Ordering::Relaxed).checked_sub(1)?;
        self.base.checked_add(Duration::from_micros(micros))
    }
}

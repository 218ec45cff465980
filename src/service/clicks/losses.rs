//! Counts clicks that are lost, and logs them: the first at once, then once a minute with their number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::telemetry::metrics::Metrics;

/// The least time between two lines of the log.
pub(super) const QUIET: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Losses {
    metrics: Arc<Metrics>,
    /// Not logged yet.
    unlogged: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl Losses {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            unlogged: AtomicU64::new(0),
            logged: Mutex::default(),
        }
    }

    /// Counts clicks that found no room.
    pub(super) fn overflowed(&self, clicks: u64) {
        if clicks > 0 {
            self.metrics.clicks.dropped.add(clicks);
            self.unlogged.fetch_add(clicks, Ordering::Relaxed);
            self.log(QUIET);
        }
    }

    /// Logs what was lost since the last line, if that is `quiet` ago.
    pub(super) fn log(&self, quiet: Duration) {
        if self.unlogged.load(Ordering::Relaxed) == 0 {
            return;
        }
        // A redirect may be here: it does not wait for another's line.
        let Some(mut logged) = self.logged.try_lock() else {
            return;
        };
        if logged.is_some_and(|logged| logged.elapsed() < quiet) {
            return;
        }
        *logged = Some(Instant::now());
        let lost = self.unlogged.swap(0, Ordering::Relaxed);
        tracing::error!(
            clicks.lost = lost,
            "{lost} clicks lost: the database takes them too slowly and the click buffer is full"
        );
    }
}

//! Takes clicks from redirects without making them wait, and stores each exactly once.

mod buffer;
mod flusher;
mod intake;
mod parser;
mod since;
mod sums;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::domain::{Clock, Slug, is_bot};
use crate::lifecycle::Lifecycle;
use crate::store::Store;
use crate::telemetry::metrics::{CLICKS_BOUND, CLICKS_WAITING, Metrics};
use crate::telemetry::traces::Sampler;
use buffer::Buffer;
use flusher::Flusher;
use sums::Sums;

pub use intake::Seen;

/// The most clicks of one batch that are not alike. A batch holds a connection for writes, and others wait for it.
const BATCH: usize = 1000;

/// The longest that a request waits for a batch.
const WAIT: Duration = Duration::from_millis(100);

/// Takes clicks. Clones share everything.
#[derive(Debug, Clone)]
pub struct Clicks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    buffer: Buffer,
    flusher: Flusher,
    metrics: Arc<Metrics>,
    flush: Duration,
}

impl Clicks {
    /// Clicks that go to `store`. A task of `lifecycle` stores them while there is CPU.
    pub fn new(
        config: &config::Clicks,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        sampler: Sampler,
        lifecycle: &Lifecycle,
    ) -> Self {
        let sums = Arc::new(Sums::new(Arc::clone(&store)));
        let inner = Arc::new(Inner {
            buffer: Buffer::new(config.buffer),
            flusher: Flusher::new(
                store,
                clock,
                Arc::clone(&metrics),
                Arc::clone(&sums),
                sampler,
                config.flush,
            ),
            metrics,
            flush: config.flush,
        });
        let (bound, waiting) = (config.buffer, Arc::downgrade(&inner));
        inner.metrics.watch(&CLICKS_BOUND, "", move || Some(bound as f64));
        inner.metrics.watch(&CLICKS_WAITING, "", move || {
            waiting.upgrade().map(|inner| inner.buffer.len() as f64)
        });
        let flushing = Arc::clone(&inner);
        lifecycle.spawn(|stop| async move { flushing.run(&stop).await });
        lifecycle.spawn(|stop| async move { sums.run(&stop).await });
        Self(inner)
    }

    /// Takes the click, at `now`, of an answered redirect. `counted` if the link's click limit has counted it already.
    pub fn record(&self, slug: &Slug, now: Timestamp, counted: bool, seen: &Seen<'_>) {
        let inner = &self.0;
        inner.metrics.clicks.taken.add_one();
        let lost = inner.buffer.push(seen.pending(slug, counted, now));
        inner.metrics.clicks.dropped.add(lost);
    }

    /// Waits for a batch if the timer has missed its time: then the CPU was taken away between requests, and
    /// will be again when this one is answered. One request waits for one batch, and none while the store
    /// is down, or is only slower than the clicks come.
    pub async fn keep_up(&self) {
        let inner = &self.0;
        // The timer may have woken up with this request, and have taken the clicks already.
        let oldest = inner.oldest();
        let late = inner.flush * 2;
        if oldest.is_none_or(|age| age < late) || inner.flusher.has_landed_within(late) {
            return;
        }
        let Some(landed) = inner.flusher.wait_for_one(WAIT) else {
            return;
        };
        inner.buffer.wake();
        // The answer must not be late; the batch goes on.
        let _ = timeout(WAIT, landed).await;
    }

    /// Stores what is left, as far as the time goes, and answers how many clicks were lost.
    pub async fn finish(&self, limit: Duration) -> usize {
        let inner = &self.0;
        let deadline = Instant::now() + limit;
        let emptied = async {
            while !inner.is_empty().await {
                if inner.flush_all().await.is_err() {
                    tokio::time::sleep(flusher::FIRST_PAUSE).await;
                }
            }
        };
        let _ = timeout(deadline.saturating_duration_since(Instant::now()), emptied).await;
        let lost = inner.buffer.len() + inner.flusher.held();
        if lost > 0 {
            inner.metrics.clicks.dropped.add(lost as u64);
            tracing::error!(
                clicks.lost = lost,
                "{lost} clicks were not stored in time, and are lost"
            );
        }
        lost
    }
}

impl Inner {
    /// Flushes by time, and gathers by size, until the stop.
    async fn run(&self, stop: &CancellationToken) {
        let mut timer = interval(self.flush);
        // After a freeze the timer has missed many ticks; one is enough.
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            let due = tokio::select! {
                () = stop.cancelled() => return,
                _ = timer.tick() => true,
                () = self.buffer.woken() => self.oldest().is_some_and(|age| age >= self.flush),
            };
            // The last batch of the stop is `finish`'s, but one that is under way is not broken off.
            while self.flush(due).await.is_err() && !stop.is_cancelled() {
                let pause = self.flusher.pause();
                let _ = timeout(pause, stop.cancelled()).await;
            }
        }
    }

    /// How long the oldest click has waited, in the buffer or out of it.
    fn oldest(&self) -> Option<Duration> {
        let since = [self.buffer.since(), self.flusher.since()];
        since.into_iter().flatten().min().map(|since| since.elapsed())
    }

    /// Stores what is there if it is due, and otherwise only what fills a batch.
    async fn flush(&self, due: bool) -> Result<(), ()> {
        if due {
            return self.flush_all().await;
        }
        while self.flusher.gather(&self.buffer, BATCH).await? > 0 {}
        Ok(())
    }

    /// Stores everything that is there, batch by batch.
    async fn flush_all(&self) -> Result<(), ()> {
        let mut left = self.buffer.len() + self.flusher.held();
        while left > 0 && !self.is_empty().await {
            left = left.saturating_sub(self.flusher.flush(&self.buffer, BATCH).await?);
        }
        Ok(())
    }

    async fn is_empty(&self) -> bool {
        self.buffer.len() == 0 && self.flusher.is_empty().await
    }
}

/// Whether whoever sends a request follows links by itself: then it uses up no click limit.
#[must_use]
pub fn is_program(seen: &Seen<'_>) -> bool {
    seen.prefetch || is_bot(seen.user_agent())
}

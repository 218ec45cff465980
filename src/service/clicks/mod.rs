//! Takes clicks from redirects without making them wait, and stores each exactly once.

mod batches;
mod bound;
mod buffer;
mod flusher;
mod grain;
mod intake;
mod losses;
mod parser;
mod pile;
mod refusals;
mod since;
mod sums;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::domain::{Clock, Revision, Slug, is_bot};
use crate::lifecycle::Lifecycle;
use crate::store::Store;
use crate::telemetry::metrics::{CLICKS_BOUND, CLICKS_WAITING, Metrics};
use crate::telemetry::traces::Sampler;
use bound::Bound;
use buffer::Buffer;
use flusher::Flusher;
use losses::Losses;
use pile::Pile;
use sums::Sums;

pub use intake::Seen;

/// The longest that a request waits for a batch.
const WAIT: Duration = Duration::from_millis(100);

/// How many clicks are folded before other tasks get their turn: the connections to Redis and the database are driven by the
/// same thread.
const FOLDED: usize = 1000;

/// How many clicks a redirect folds that finds the buffer full.
const FOLDED_BY_REDIRECT: usize = 64;

/// At the stop, the share of the time left that storing what is left may take by the pace so far.
const SHARE_OF_STOP: f64 = 0.6;

/// Takes clicks. Clones share everything.
#[derive(Debug, Clone)]
pub struct Clicks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    buffer: Buffer,
    flusher: Flusher,
    losses: Losses,
    metrics: Arc<Metrics>,
    flush: Duration,
    /// Wakes the flushing task before its time.
    wake: Notify,
}

impl Clicks {
    /// Clicks that go to `store`. Tasks of `lifecycle` fold and store them while there is CPU.
    pub fn new(
        config: &config::Clicks,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        sampler: Sampler,
        lifecycle: &Lifecycle,
    ) -> Self {
        let sums = Arc::new(Sums::new(Arc::clone(&store)));
        let bound = Bound {
            entries: config.buffer,
            bytes: config.buffer_bytes,
        };
        let inner = Arc::new(Inner {
            buffer: Buffer::new(bound.part(1, 4)),
            flusher: Flusher::new(
                store,
                clock,
                Arc::clone(&metrics),
                Arc::clone(&sums),
                sampler,
                Pile::new(bound.part(3, 4)),
                config.flush,
            ),
            losses: Losses::new(Arc::clone(&metrics)),
            metrics,
            flush: config.flush,
            wake: Notify::new(),
        });
        let (most, waiting) = (config.buffer, Arc::downgrade(&inner));
        inner.metrics.watch(&CLICKS_BOUND, "", move || Some(most as f64));
        inner.metrics.watch(&CLICKS_WAITING, "", move || {
            Some(waiting.upgrade()?.waiting() as f64)
        });
        let (folding, flushing) = (Arc::clone(&inner), Arc::clone(&inner));
        lifecycle.spawn_loop("the folding of clicks", move |stop| {
            let folding = Arc::clone(&folding);
            async move { folding.run_fold(&stop).await }
        });
        lifecycle.spawn_loop("the click flush", move |stop| {
            let flushing = Arc::clone(&flushing);
            async move { flushing.run_flush(&stop).await }
        });
        lifecycle.spawn_loop("the rollup of clicks", move |stop| {
            let sums = Arc::clone(&sums);
            async move { sums.run(&stop).await }
        });
        Self(inner)
    }

    /// Takes the click, at `now`, of an answered redirect of the link at `revision`. `counted` if the link's click limit has
    /// counted it already.
    pub fn record(&self, slug: &Slug, revision: Revision, now: Timestamp, counted: bool, seen: &Seen<'_>) {
        let inner = &self.0;
        inner.metrics.clicks.taken.add_one();
        if !inner.buffer.push(seen.pending(slug, revision, counted, now)) {
            inner.make_room();
        }
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
        inner.wake.notify_one();
        // The answer must not be late; the batch goes on.
        let _ = Box::pin(timeout(WAIT, landed)).await;
    }

    /// Stores what is left, as far as the time goes, and answers how many clicks were lost. What would not fit into the time
    /// is folded until it does.
    pub async fn finish(&self, limit: Duration) -> u64 {
        let inner = &self.0;
        let deadline = Instant::now() + limit;
        let _ = timeout(limit, inner.empty(deadline)).await;
        let lost = inner.buffer.len() as u64 + inner.flusher.held();
        inner.losses.log(Duration::ZERO);
        if lost > 0 {
            inner.metrics.clicks.dropped.add(lost);
            tracing::error!(
                clicks.lost = lost,
                "{lost} clicks were not stored in time, and are lost"
            );
        }
        lost
    }
}

impl Inner {
    /// Folds clicks whenever the buffer is half full, until the stop.
    async fn run_fold(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.buffer.half_full() => {}
            }
            self.fold().await;
            if self.flusher.pile().is_due() {
                self.wake.notify_one();
            }
        }
    }

    /// Flushes by time, or earlier if much waits, until the stop.
    async fn run_flush(&self, stop: &CancellationToken) {
        let mut timer = interval(self.flush);
        // After a freeze the timer has missed many ticks; one is enough.
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            let due = tokio::select! {
                () = stop.cancelled() => return,
                _ = timer.tick() => true,
                () = self.wake.notified() => {
                    self.oldest().is_some_and(|age| age >= self.flush) || self.flusher.pile().is_due()
                }
            };
            self.losses.log(losses::QUIET);
            // The last batch of the stop is `finish`'s, but one that is under way is not broken off.
            while due && self.flush_all().await.is_err() && !stop.is_cancelled() {
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

    /// How many clicks and entries wait.
    fn waiting(&self) -> usize {
        self.buffer.len() + self.flusher.pile().len()
    }

    /// Folds the clicks of the buffer into the pile.
    async fn fold(&self) {
        // Clicks that come meanwhile wait for the next time.
        let mut waiting = self.buffer.len();
        while waiting > 0 {
            let (raw, since) = self.buffer.take(FOLDED.min(waiting));
            if raw.is_empty() {
                return;
            }
            waiting -= raw.len();
            self.fold_into(&mut self.flusher.pile(), raw, since);
            tokio::task::yield_now().await;
        }
    }

    /// Makes room in a buffer that is full, because the folding task gets too little CPU. A redirect does this: it takes on
    /// a few clicks, and waits for nobody.
    fn make_room(&self) {
        let pile = self.flusher.try_pile();
        let most = if pile.is_some() { FOLDED_BY_REDIRECT } else { 1 };
        let (raw, since) = self.buffer.take(most);
        match pile {
            Some(mut pile) => self.fold_into(&mut pile, raw, since),
            None => self.losses.overflowed(raw.len() as u64),
        }
    }

    fn fold_into(&self, pile: &mut Pile, raw: Vec<intake::Pending>, since: Option<Instant>) {
        let number = raw.len() as u64;
        let added = raw.into_iter().map(|pending| u64::from(pile.add(pending))).sum();
        self.flusher.added(added, since);
        self.losses.overflowed(number - added);
    }

    /// Stores everything that is there, batch by batch.
    async fn flush_all(&self) -> Result<(), ()> {
        self.fold().await;
        let mut left = self.flusher.held();
        while left > 0 && !self.flusher.is_empty().await {
            left = left.saturating_sub(self.flusher.flush().await?);
        }
        Ok(())
    }

    /// Stores everything before `deadline`.
    async fn empty(&self, deadline: Instant) {
        loop {
            self.fold().await;
            let before = self.flusher.pile().len();
            let began = Instant::now();
            let flushed = self.flusher.flush().await;
            let left = self.flusher.pile().len();
            match flushed {
                Ok(_) if left == 0 && self.buffer.len() == 0 && self.flusher.is_empty().await => return,
                Ok(_) if left >= before => {}
                Ok(_) => {
                    let pace = began.elapsed().as_secs_f64() / (before - left) as f64;
                    let time = deadline.saturating_duration_since(Instant::now());
                    if left as f64 * pace > time.as_secs_f64() * SHARE_OF_STOP {
                        self.flusher.pile().coarsen();
                    }
                }
                Err(()) => tokio::time::sleep(flusher::FIRST_PAUSE).await,
            }
        }
    }
}

/// Whether whoever sends a request follows links by itself: then it uses up no click limit.
#[must_use]
pub fn is_program(seen: &Seen<'_>) -> bool {
    seen.prefetch || is_bot(seen.user_agent())
}

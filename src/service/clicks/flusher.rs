//! Parses waiting clicks and stores them, one batch at a time, each until it is known to be stored.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Mutex, Notify, Semaphore};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::buffer::Buffer;
use super::intake::Pending;
use super::parser::{Draft, Parser};
use super::since::Since;
use super::sums::Sums;
use crate::domain::{ClickBatch, Clock, day_of};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{self, Sampler};

/// Time between a failure and the next try, growing up to the slowest.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
const SLOWEST_PAUSE: Duration = Duration::from_secs(5);

/// Longer than any try takes: the store has limits of its own.
const OLDEST_TRY: Duration = Duration::from_secs(15);

/// How many clicks are taken out of the buffer at once.
const TAKEN: usize = 8000;

/// Stores clicks.
#[derive(Debug)]
pub(super) struct Flusher {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    sums: Arc<Sums>,
    /// Decides which batches have a trace of their own.
    sampler: Sampler,
    desk: Mutex<Desk>,
    /// Clicks on the desk.
    held: AtomicUsize,
    /// Failures in a row.
    failures: AtomicU32,
    landed: Notify,
    /// Since when the clicks of the batch under way have waited.
    since: Since,
    progress: std::sync::Mutex<Progress>,
    /// Only one request waits at a time.
    waiting: Semaphore,
    flush: Duration,
}

/// How the batch under way gets on.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    /// When the try under way began.
    began: Option<Instant>,
    /// When the last batch was stored.
    landed: Option<Instant>,
}

/// How far a batch is filled before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    /// Until no more fits.
    Early,
    /// With what is there: its clicks have waited long enough.
    Due,
}

/// What the batch under way needs.
#[derive(Debug, Default)]
struct Desk {
    /// Out of the buffer, not yet in a batch.
    raw: VecDeque<Pending>,
    /// The batch that is being made.
    draft: Option<Draft>,
    /// The batch whose outcome is not known yet. It goes to the store unchanged until that says that it has it.
    batch: Option<Arc<ClickBatch>>,
    parser: Parser,
}

impl Desk {
    fn is_empty(&self) -> bool {
        self.raw.is_empty() && self.draft.is_none() && self.batch.is_none()
    }
}

impl Flusher {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        sums: Arc<Sums>,
        sampler: Sampler,
        flush: Duration,
    ) -> Self {
        Self {
            store,
            clock,
            metrics,
            sums,
            sampler,
            desk: Mutex::default(),
            held: AtomicUsize::new(0),
            failures: AtomicU32::new(0),
            landed: Notify::new(),
            since: Since::default(),
            progress: std::sync::Mutex::default(),
            waiting: Semaphore::new(1),
            flush,
        }
    }

    /// Clicks that are out of the buffer and not known to be stored.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    pub(super) async fn is_empty(&self) -> bool {
        self.desk.lock().await.is_empty()
    }

    /// How long to wait after the failures so far.
    pub(super) fn pause(&self) -> Duration {
        let failures = self.failures.load(Ordering::Relaxed).clamp(1, 10);
        let pause = FIRST_PAUSE * (1 << (failures - 1));
        pause
            .min(SLOWEST_PAUSE.max(self.flush))
            .mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Since when the clicks of the batch under way have waited.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since.get()
    }

    /// Whether a batch was stored not longer than `limit` ago.
    pub(super) fn has_landed_within(&self, limit: Duration) -> bool {
        let landed = self.progress.lock().expect("flusher lock poisoned").landed;
        landed.is_some_and(|landed| landed.elapsed() < limit)
    }

    /// A wait for the next batch to land, unless another request has it or the store is down: the last try
    /// failed, or one has been under way for longer than `limit`. But a try that is older than any can
    /// be was frozen, and says nothing of the store.
    pub(super) fn wait_for_one(&self, limit: Duration) -> Option<impl Future<Output = ()> + '_> {
        let began = self.progress.lock().expect("flusher lock poisoned").began;
        let hangs = began.is_some_and(|began| (limit..OLDEST_TRY).contains(&began.elapsed()));
        if hangs || self.failures.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let permit = self.waiting.try_acquire().ok()?;
        let landed = self.landed.notified();
        Some(async move {
            landed.await;
            drop(permit);
        })
    }

    /// Stores one batch: the one whose outcome is not known, or else the oldest clicks of `buffer`, of which
    /// `most` differ. Answers how many clicks it stored.
    pub(super) async fn flush(&self, buffer: &Buffer, most: usize) -> Result<usize, ()> {
        self.work(buffer, most, Fill::Due).await
    }

    /// Makes room in `buffer`: folds its clicks into the batch that is being made, which is stored only if it cannot
    /// take them all.
    pub(super) async fn gather(&self, buffer: &Buffer, most: usize) -> Result<usize, ()> {
        self.work(buffer, most, Fill::Early).await
    }

    async fn work(&self, buffer: &Buffer, most: usize, fill: Fill) -> Result<usize, ()> {
        let mut desk = self.desk.lock().await;
        self.begin(Some(Instant::now()));
        let span = self.span(&desk, buffer, fill);
        let work = async {
            self.fill(&mut desk, buffer, most, fill).await?;
            self.store_one(&mut desk).await
        };
        let result = work.instrument(span).await.transpose();
        self.begin(None);
        let Some(result) = result else { return Ok(0) };
        let failed_before = match result {
            Ok(_) => self.failures.swap(0, Ordering::Relaxed),
            Err(_) => self.failures.fetch_add(1, Ordering::Relaxed),
        };
        self.landed.notify_waiters();
        match result {
            Ok(number) => {
                self.progress.lock().expect("flusher lock poisoned").landed = Some(Instant::now());
                if desk.raw.is_empty() {
                    self.since.set(None);
                }
                self.metrics.clicks.stored.add(number as u64);
                self.sums.are_due();
                if failed_before > 0 {
                    tracing::info!("clicks are stored again");
                }
                Ok(number)
            }
            Err(err) => {
                self.metrics.clicks.failed.add_one();
                // Once for each outage, not once for each try.
                if failed_before == 0 {
                    tracing::warn!(error = %err, "clicks wait for the store: {err}");
                }
                Err(())
            }
        }
    }

    /// The span of a flush. It is the trace's first: a batch is of many requests. Gathering has none: most often it
    /// stores nothing.
    fn span(&self, desk: &Desk, buffer: &Buffer, fill: Fill) -> Span {
        let idle = desk.is_empty() && buffer.len() == 0;
        if fill == Fill::Early || idle || !self.sampler.takes(None) {
            return Span::none();
        }
        tracing::error_span!(target: traces::TARGET, parent: None, "clicks flush", clicks = Empty)
    }

    fn begin(&self, began: Option<Instant>) {
        self.progress.lock().expect("flusher lock poisoned").began = began;
    }

    /// Makes a batch of the oldest clicks, unless there is one. A piece of the buffer after the other is folded into
    /// it, so that a busy link is stored once in a flush and not for every thousand of its clicks.
    async fn fill(
        &self,
        desk: &mut Desk,
        buffer: &Buffer,
        most: usize,
        fill: Fill,
    ) -> Result<(), StoreError> {
        // Clicks that come meanwhile wait for the next one.
        let mut waiting = buffer.len();
        while desk.batch.is_none() {
            if desk.raw.is_empty() && waiting > 0 {
                let (raw, since) = buffer.take(TAKEN.min(waiting));
                waiting = if raw.is_empty() { 0 } else { waiting - raw.len() };
                desk.raw = raw;
                if desk.draft.is_none() {
                    self.since.set(since);
                }
                self.held.fetch_add(desk.raw.len(), Ordering::SeqCst);
            }
            if !desk.raw.is_empty() {
                self.learn_secrets(desk).await?;
                let draft = desk.draft.get_or_insert_default();
                desk.parser.fold(&mut desk.raw, draft, most);
                if desk.raw.is_empty() && waiting > 0 {
                    // The connections to Redis and the database are driven by the same thread.
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            if desk.raw.is_empty() && fill == Fill::Early {
                return Ok(());
            }
            let Some(draft) = desk.draft.take() else {
                return Ok(());
            };
            desk.batch = Some(Arc::new(ClickBatch {
                id: nanoid::nanoid!(),
                made_at: self.clock.now(),
                clicks: draft.clicks,
            }));
        }
        Ok(())
    }

    /// Stores the batch, if there is one, and answers how many clicks it has.
    async fn store_one(&self, desk: &mut Desk) -> Result<Option<usize>, StoreError> {
        let Some(batch) = desk.batch.clone() else {
            return Ok(None);
        };
        // Signed: what is not would become a text in OpenTelemetry.
        Span::current().record("clicks", i64::try_from(batch.clicks.len()).unwrap_or(i64::MAX));
        self.store.record_clicks(&batch).await?;
        desk.batch = None;
        let number = usize::try_from(batch.number()).unwrap_or(usize::MAX);
        self.held.fetch_sub(number, Ordering::SeqCst);
        Ok(Some(number))
    }

    /// Asks for the keys of the days that the waiting clicks are of, and forgets those of others.
    async fn learn_secrets(&self, desk: &mut Desk) -> Result<(), StoreError> {
        let mut days: Vec<Timestamp> = desk.raw.iter().map(|pending| day_of(pending.at)).collect();
        days.sort_unstable();
        days.dedup();
        desk.parser.secrets.retain(|day, _| days.contains(day));
        for day in days {
            if let Entry::Vacant(place) = desk.parser.secrets.entry(day) {
                place.insert(self.store.visitor_secret(day, &nanoid::nanoid!(43)).await?);
            }
        }
        Ok(())
    }
}

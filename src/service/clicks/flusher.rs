//! Stores folded clicks, one batch at a time, each until its outcome is known.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, Semaphore};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::batches::{self, Sending};
use super::pile::{Folded, Pile};
use super::refusals::Refusals;
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

/// A batch whose outcome is not known is not sent any more when it is older: the store remembers the ids of batches for a
/// day (`service/housekeeping.rs`), and a batch that it has forgotten would be counted twice.
const OLDEST_BATCH: SignedDuration = SignedDuration::from_hours(23);

/// After so many failures in a row, a batch is looked upon as too slow for the store's limits, if the store answers.
const TRIES: u32 = 2;

/// After so many refusals in one flush, all clicks of a link whose clicks are refused are given up together: it may be the
/// link that gets the most.
const MOST_REFUSALS: u32 = 50;

/// A batch that takes longer than this does not let the next ones grow again.
const QUICK: Duration = Duration::from_millis(500);

/// Stores clicks.
#[derive(Debug)]
pub(super) struct Flusher {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    sums: Arc<Sums>,
    /// Decides which batches have a trace of their own.
    sampler: Sampler,
    pile: Mutex<Pile>,
    desk: tokio::sync::Mutex<Desk>,
    /// Clicks in the pile and on the desk.
    held: AtomicU64,
    /// Failures in a row.
    failures: AtomicU32,
    landed: Notify,
    /// Since when the clicks of the pile have waited.
    folded: Since,
    /// Since when those have waited that are being stored.
    drawn: Since,
    progress: Mutex<Progress>,
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

/// What is out of the pile.
#[derive(Debug)]
struct Desk {
    /// Not yet in a batch.
    drawn: Vec<Folded>,
    /// Batches whose outcome is not known yet, the next first. Each goes to the store unchanged until its outcome is known.
    batches: VecDeque<Sending>,
    /// The key of each day's visitor hashes.
    secrets: HashMap<Timestamp, String>,
    refusals: Refusals,
    /// The most entries of a batch.
    most: usize,
}

impl Flusher {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        sums: Arc<Sums>,
        sampler: Sampler,
        pile: Pile,
        flush: Duration,
    ) -> Self {
        Self {
            store,
            clock,
            metrics,
            sums,
            sampler,
            pile: Mutex::new(pile),
            desk: tokio::sync::Mutex::new(Desk {
                drawn: Vec::new(),
                batches: VecDeque::new(),
                secrets: HashMap::new(),
                refusals: Refusals::default(),
                most: batches::MOST,
            }),
            held: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            landed: Notify::new(),
            folded: Since::default(),
            drawn: Since::default(),
            progress: Mutex::default(),
            waiting: Semaphore::new(1),
            flush,
        }
    }

    /// The folded clicks.
    pub(super) fn pile(&self) -> MutexGuard<'_, Pile> {
        self.pile.lock()
    }

    /// The folded clicks, unless somebody has them.
    pub(super) fn try_pile(&self) -> Option<MutexGuard<'_, Pile>> {
        self.pile.try_lock()
    }

    /// Takes note of clicks that were added to the pile, and may have waited since `since`.
    pub(super) fn added(&self, clicks: u64, since: Option<Instant>) {
        self.held.fetch_add(clicks, Ordering::SeqCst);
        if self.folded.get().is_none() {
            self.folded.set(since);
        }
    }

    /// Clicks that are out of the buffer and not known to be stored.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::SeqCst)
    }

    pub(super) async fn is_empty(&self) -> bool {
        let desk = self.desk.lock().await;
        desk.drawn.is_empty() && desk.batches.is_empty() && self.pile().len() == 0
    }

    /// How long to wait after the failures so far.
    pub(super) fn pause(&self) -> Duration {
        let failures = self.failures.load(Ordering::Relaxed).clamp(1, 10);
        let pause = FIRST_PAUSE * (1 << (failures - 1));
        pause
            .min(SLOWEST_PAUSE.max(self.flush))
            .mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Since when the oldest click has waited.
    pub(super) fn since(&self) -> Option<Instant> {
        [self.folded.get(), self.drawn.get()].into_iter().flatten().min()
    }

    /// Whether a batch was stored not longer than `limit` ago.
    pub(super) fn has_landed_within(&self, limit: Duration) -> bool {
        let landed = self.progress().landed;
        landed.is_some_and(|landed| landed.elapsed() < limit)
    }

    /// A wait for the next batch to land, unless another request has it or the store is down: the last try
    /// failed, or one has been under way for longer than `limit`. But a try that is older than any can
    /// be was frozen, and says nothing of the store.
    pub(super) fn wait_for_one(&self, limit: Duration) -> Option<impl Future<Output = ()> + '_> {
        let began = self.progress().began;
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

    /// Stores the batches whose outcome is not known, or else a new one of the oldest clicks. Answers how many clicks that
    /// was, those among them that the store refused for good.
    pub(super) async fn flush(&self) -> Result<u64, ()> {
        let mut desk = self.desk.lock().await;
        self.progress().began = Some(Instant::now());
        let span = self.span(&desk);
        let result = async {
            self.draw(&mut desk).await?;
            self.store_all(&mut desk).await
        };
        // What is on the desk stays there, and is sent again.
        let result = AssertUnwindSafe(result.instrument(span)).catch_unwind().await;
        let result = result.unwrap_or(Err(StoreError::Panicked));
        self.progress().began = None;
        let failed_before = match result {
            Ok(0) => return Ok(0),
            Ok(_) => self.failures.swap(0, Ordering::Relaxed),
            Err(_) => self.failures.fetch_add(1, Ordering::Relaxed),
        };
        self.landed.notify_waiters();
        match result {
            Ok(number) => {
                self.progress().landed = Some(Instant::now());
                if self.pile().is_drawn() {
                    self.drawn.set(None);
                }
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
                    tracing::warn!(error = %err, "click flush failed, clicks wait for the database: {err}");
                }
                Err(())
            }
        }
    }

    /// The span of a flush. It is the trace's first: a batch is of many requests.
    fn span(&self, desk: &Desk) -> Span {
        let idle = desk.drawn.is_empty() && desk.batches.is_empty() && self.pile().len() == 0;
        if idle || !self.sampler.takes(None) {
            return Span::none();
        }
        tracing::error_span!(target: traces::TARGET, parent: None, "clicks flush", clicks = Empty)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock()
    }

    /// Makes batches of the oldest clicks, unless there are some.
    async fn draw(&self, desk: &mut Desk) -> Result<(), StoreError> {
        if !desk.batches.is_empty() {
            return Ok(());
        }
        if desk.drawn.is_empty() {
            let mut pile = self.pile();
            if pile.is_drawn() {
                self.drawn.set(self.folded.get());
                self.folded.set(None);
            }
            let (drawn, grain) = pile.take(desk.most);
            drop(pile);
            let number = drawn.iter().map(|folded| u64::from(folded.number)).sum();
            self.metrics.clicks.folded.get(grain.name()).add(number);
            desk.drawn = drawn;
        }
        if desk.drawn.is_empty() {
            self.drawn.set(None);
            return Ok(());
        }
        self.learn_secrets(desk).await?;
        let now = self.clock.now();
        let (refused, others): (Vec<Folded>, Vec<Folded>) = std::mem::take(&mut desk.drawn)
            .into_iter()
            .partition(|folded| desk.refusals.has(&folded.kind.slug));
        for part in [others, refused] {
            if !part.is_empty() {
                let clicks = part
                    .into_iter()
                    .map(|folded| batches::click(folded, &desk.secrets));
                let sending = Sending::new(now, clicks.collect());
                desk.batches.push_back(sending);
            }
        }
        Ok(())
    }

    /// Stores the batches that there are, and answers how many clicks they had.
    async fn store_all(&self, desk: &mut Desk) -> Result<u64, StoreError> {
        let number: u64 = desk.batches.iter().map(Sending::number).sum();
        // Signed: what is not would become a text in OpenTelemetry.
        Span::current().record("clicks", i64::try_from(number).unwrap_or(i64::MAX));
        let (mut done, mut refused) = (0, 0);
        while let Some(sending) = desk.batches.front_mut() {
            if sending.tries > 0 && self.is_too_old(&sending.batch) {
                let lost = sending.number();
                desk.batches.pop_front();
                done += self.lose(lost);
                continue;
            }
            if sending.tries >= TRIES && sending.batch.clicks.len() > 1 {
                if self.store.record_clicks(&sending.without_clicks()).await? {
                    desk.most = (sending.batch.clicks.len() / 2).max(1);
                    self.split(desk, TRIES - 1);
                } else {
                    done += self.stored(desk);
                }
                continue;
            }
            let (batch, began) = (Arc::clone(&sending.batch), Instant::now());
            sending.tries += 1;
            match self.store.record_clicks(&batch).await {
                Ok(_) => {
                    if batch.clicks.len() >= desk.most && began.elapsed() < QUICK {
                        desk.most = (desk.most * 2).min(batches::MOST);
                    }
                    done += self.stored(desk);
                }
                Err(StoreError::Refused(cause)) => {
                    refused += 1;
                    let link = sending.only_link();
                    let is_known = link.is_some_and(|link| desk.refusals.has(link));
                    if is_known && refused > MOST_REFUSALS {
                        done += self.refused(desk, cause.as_ref());
                    } else if batch.clicks.len() > 1 {
                        // Nothing of it was stored, so that its clicks may get other ids.
                        self.split(desk, 0);
                    } else if sending.tries > 1 {
                        done += self.refused(desk, cause.as_ref());
                    }
                    // A single click gets a second chance: a partition that is attached at this moment refuses it once.
                }
                Err(err) => return Err(err),
            }
        }
        Ok(done)
    }

    /// Puts two halves in the place of the first batch, each as if it had been tried `tries` times.
    fn split(&self, desk: &mut Desk, tries: u32) {
        if let Some(sending) = desk.batches.pop_front() {
            for half in sending.halves(self.clock.now(), tries).into_iter().rev() {
                desk.batches.push_front(half);
            }
        }
    }

    fn is_too_old(&self, batch: &ClickBatch) -> bool {
        self.clock.now().duration_since(batch.made_at) > OLDEST_BATCH
    }

    /// Takes the first batch off the desk: it is stored.
    fn stored(&self, desk: &mut Desk) -> u64 {
        let number = desk.batches.pop_front().map_or(0, |sending| sending.number());
        self.metrics.clicks.stored.add(number);
        self.held.fetch_sub(number, Ordering::SeqCst);
        number
    }

    /// Takes the first batch off the desk: the store will never take it.
    fn refused(&self, desk: &mut Desk, cause: &(dyn std::error::Error + Send + Sync)) -> u64 {
        let Some(sending) = desk.batches.pop_front() else {
            return 0;
        };
        let number = sending.number();
        self.metrics.clicks.refused.add(number);
        self.held.fetch_sub(number, Ordering::SeqCst);
        for click in &sending.batch.clicks {
            if desk.refusals.note(&click.slug) {
                tracing::error!(
                    link.slug = %click.slug,
                    clicks.lost = number,
                    error = %cause,
                    "the database refuses clicks of {}, they are lost: {cause}", click.slug
                );
            }
        }
        number
    }

    /// Counts the clicks of a batch of which nobody can tell any more whether it was stored.
    fn lose(&self, clicks: u64) -> u64 {
        self.metrics.clicks.dropped.add(clicks);
        self.held.fetch_sub(clicks, Ordering::SeqCst);
        tracing::error!(
            clicks.lost = clicks,
            "a batch of {clicks} clicks was sent a day ago and its outcome is unknown, it is not sent again"
        );
        clicks
    }

    /// Asks for the keys of the days that the drawn clicks are of, and forgets those of others.
    async fn learn_secrets(&self, desk: &mut Desk) -> Result<(), StoreError> {
        let visits = desk.drawn.iter().filter(|folded| folded.kind.visitor.is_some());
        let mut days: Vec<Timestamp> = visits.map(|folded| day_of(folded.at)).collect();
        days.sort_unstable();
        days.dedup();
        if days.is_empty() {
            return Ok(());
        }
        desk.secrets.retain(|day, _| days.contains(day));
        for day in days {
            if let Entry::Vacant(place) = desk.secrets.entry(day) {
                place.insert(self.store.visitor_secret(day, &nanoid::nanoid!(43)).await?);
            }
        }
        Ok(())
    }
}

//! Follows the changes that the store records, so that no cache answers with a state that is older for long.
//!
//! Redis pub/sub is the fast path. This is the one that holds when Redis, or an instance, missed a change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::floors::{Floors, Moment};
use super::lost_writes;
use crate::cache::{Cache, Entry, Lookup};
use crate::domain::{Clock, LinkChange, Rank, Slug};
use crate::lifecycle::Lifecycle;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::{CHANGES_AGE, Metrics};

/// Between two reads of the changes, less up to a fifth.
const EVERY: Duration = Duration::from_secs(2);

/// How long after the beginning of a read the caches count as current. With it and the time of an answer, every instance
/// follows a change within 5 s.
const CURRENT_FOR: Duration = Duration::from_millis(4500);

/// How far before the last read the next one begins: a change is recorded when its statement begins, and seen when its
/// transaction is committed.
const OVERLAP: Duration = Duration::from_secs(15);

/// How long after its time a change is committed at the latest: transactions have a few statements, which the server ends.
/// [`OVERLAP`] is longer, since to read a change again costs little; after a read that had too many, it costs too much.
const LATEST: Duration = Duration::from_secs(6);

/// The most changes of one page.
const PAGE: u32 = 10_000;

/// The longest that a visitor waits for a read, after the process was frozen.
const CATCH_UP_LIMIT: Duration = Duration::from_millis(250);

/// The most entries that are removed from the shared cache after one read.
const REPAIRS: usize = 64;

/// How long the first read leaves the first visitors alone with the connections: to log in to PostgreSQL takes more than a
/// millisecond.
const SHARED_CACHE_FIRST: Duration = Duration::from_millis(20);

/// The changes of the store, as far as this instance has read them. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct ChangeTail(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Option<Arc<dyn Cache>>,
    shared: Option<Arc<dyn Cache>>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// How long before its start an instance looks for changes: as long as the shared cache may hold an older state.
    history: Duration,
    floors: Mutex<Floors>,
    has_floors: AtomicBool,
    current_until: AtomicMoment,
    /// When the last read ended, however it ended.
    attempted: AtomicMoment,
    has_failed: AtomicBool,
    wanted: Notify,
    attempt: Notify,
}

/// Where the next read begins. Both times are the store's.
#[derive(Debug, Clone, Copy)]
struct Position {
    since: Timestamp,
    /// When the last page was read.
    read_at: Timestamp,
}

/// A [`Moment`] in microseconds.
#[derive(Debug)]
struct AtomicMoment {
    now: AtomicI64,
    steady: AtomicI64,
}

impl AtomicMoment {
    fn new(moment: Moment) -> Self {
        Self {
            now: AtomicI64::new(moment.now.as_microsecond()),
            steady: AtomicI64::new(moment.steady.as_microsecond()),
        }
    }

    fn set(&self, moment: Moment) {
        self.now.store(moment.now.as_microsecond(), Ordering::Relaxed);
        self.steady
            .store(moment.steady.as_microsecond(), Ordering::Relaxed);
    }

    /// Whether `moment` is earlier by both clocks plus `by`: a machine that was suspended may have stopped its uptime, and
    /// a time of day may be put back.
    fn is_after(&self, moment: Moment, by: Duration) -> bool {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        let is_before = |time: Timestamp, until: &AtomicI64| {
            time.as_microsecond() < until.load(Ordering::Relaxed).saturating_add(by)
        };
        is_before(moment.steady, &self.steady) && is_before(moment.now, &self.now)
    }
}

impl ChangeTail {
    /// Begins to follow the changes of `store`. Both caches may hold states for `history`.
    pub(super) fn start(
        memory: Option<Arc<dyn Cache>>,
        shared: Option<Arc<dyn Cache>>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        history: Duration,
        lifecycle: &Lifecycle,
    ) -> Self {
        let moment = moment(clock.as_ref());
        let is_needed = memory.is_some() || shared.is_some();
        let inner = Arc::new(Inner {
            memory,
            shared,
            store,
            clock,
            history: history + OVERLAP,
            floors: Mutex::new(Floors::new(history + OVERLAP)),
            has_floors: AtomicBool::new(false),
            // Not current, and not frozen either: the first visitors do not wait for the first read. Without a cache there is
            // nothing that could be outdated.
            current_until: AtomicMoment::new(if is_needed { moment } else { Moment::LAST }),
            attempted: AtomicMoment::new(moment),
            has_failed: AtomicBool::new(false),
            wanted: Notify::new(),
            attempt: Notify::new(),
            metrics,
        });
        if is_needed {
            let age = Arc::downgrade(&inner);
            inner
                .metrics
                .watch(&CHANGES_AGE, "", move || age.upgrade().map(|inner| inner.age()));
            let following = Arc::clone(&inner);
            lifecycle.spawn_loop("the change tail", move |stop| {
                let following = Arc::clone(&following);
                async move {
                    stop.run_until_cancelled_owned(following.follow()).await;
                }
            });
        }
        Self(inner)
    }

    /// Whether every change that was committed 5 s before `moment` has been applied to the caches.
    pub(super) fn is_current(&self, moment: Moment) -> bool {
        self.0.is_current(moment)
    }

    /// Waits for a read of the changes if the process was frozen, but not for a store that does not answer. Answers
    /// whether the caches are current then.
    pub(super) async fn catch_up(&self, moment: Moment) -> bool {
        let inner = &self.0;
        // The last read ended a moment ago, and failed: the store is down, and nothing was frozen.
        if inner.attempted.is_after(moment, CURRENT_FOR) {
            return false;
        }
        timeout(CATCH_UP_LIMIT, inner.caught_up()).await.unwrap_or(false)
    }

    /// Remembers a change of `slug`. `is_shared` is whether the shared cache has the new state.
    pub(super) fn note(&self, slug: &Slug, version: Rank, is_shared: bool) {
        let inner = &self.0;
        if inner.memory.is_some() || inner.shared.is_some() {
            inner.raise(slug, version, is_shared);
        }
    }

    /// Whether an entry of the shared cache is as new as every change that was read.
    pub(super) fn admit_shared(&self, slug: &Slug, entry: &Entry) -> bool {
        let inner = &self.0;
        inner.judge(|floors| floors.admit_shared(slug, entry, inner.clock.now()))
    }

    /// Whether a state whose read of the store began at `began` is as new as every change that was read.
    pub(super) fn admit_read(&self, slug: &Slug, rank: Rank, began: Timestamp) -> bool {
        self.0.judge(|floors| floors.admit_read(slug, rank, began))
    }

    /// Whether a state is not known to be outdated.
    pub(super) fn admit_stale(&self, slug: &Slug, rank: Rank) -> bool {
        self.0.judge(|floors| floors.admit_stale(slug, rank))
    }
}

impl Inner {
    fn is_current(&self, moment: Moment) -> bool {
        self.current_until.is_after(moment, Duration::ZERO)
    }

    /// Seconds since the caches were last current.
    fn age(&self) -> f64 {
        let steady = self.clock.steady().as_microsecond();
        let began = self.current_until.steady.load(Ordering::Relaxed) - micros(CURRENT_FOR);
        (steady - began).max(0) as f64 / 1e6
    }

    async fn caught_up(&self) -> bool {
        loop {
            let attempt = self.attempt.notified();
            tokio::pin!(attempt);
            attempt.as_mut().enable();
            self.wanted.notify_one();
            attempt.await;
            if self.is_current(moment(self.clock.as_ref())) {
                return true;
            }
            // A read that was frozen may end as well as one that began since; of the two only the second counts.
            if self.has_failed.load(Ordering::Relaxed) {
                return false;
            }
        }
    }

    /// Reads the changes for ever.
    async fn follow(&self) {
        if self.shared.is_some() {
            tokio::time::sleep(SHARED_CACHE_FIRST).await;
        }
        let mut position = None;
        loop {
            let began = moment(self.clock.as_ref());
            let read = self.read(&mut position).await;
            let has_failed = read.is_err();
            if has_failed != self.has_failed.swap(has_failed, Ordering::Relaxed) {
                match &read {
                    Ok(()) => tracing::info!("changes of links are read again"),
                    Err(err) => tracing::warn!(error = %err, "changes of links cannot be read: {err}"),
                }
            }
            if has_failed {
                self.metrics.changes.failed.add_one();
            } else {
                self.current_until.set(Moment {
                    now: plus(began.now, CURRENT_FOR),
                    steady: plus(began.steady, CURRENT_FOR),
                });
            }
            self.attempted.set(moment(self.clock.as_ref()));
            self.attempt.notify_waiters();
            if !has_failed {
                self.repair_shared().await;
            }
            let pause = EVERY.mul_f64(1.0 - 0.2 * fastrand::f64());
            let _ = timeout(pause, self.wanted.notified()).await;
        }
    }

    /// Reads and applies the changes since `position`.
    async fn read(&self, position: &mut Option<Position>) -> Result<(), StoreError> {
        let Position {
            mut since,
            mut read_at,
        } = match *position {
            Some(position) => position,
            // The store's clock is asked first: this machine's may be hours off.
            None => {
                let now = self.store.changes_since(Timestamp::MAX, 1).await?.now;
                Position {
                    since: minus(now, self.history),
                    read_at: now,
                }
            }
        };
        let overlap = loop {
            let page = self.store.changes_since(since, PAGE).await?;
            if page.now < read_at {
                // The store's clock was put back, as by a failover or a restore. What was committed since is before the
                // position, and may have lower versions than writes that the store lost.
                self.begin_anew();
                since = minus(page.now, self.history);
                read_at = page.now;
                continue;
            }
            read_at = page.now;
            self.apply(&page.changes).await;
            let next = page.changes.last().map_or(since, |change| change.changed_at);
            // A page of changes that have one time cannot be left behind.
            if self.is_overwhelmed() || (!page.complete && next <= since) {
                self.begin_anew();
                break LATEST;
            }
            if page.complete {
                break OVERLAP;
            }
            since = next;
        };
        *position = Some(Position {
            since: minus(read_at, overlap),
            read_at,
        });
        Ok(())
    }

    fn is_overwhelmed(&self) -> bool {
        self.floors.lock().is_full()
    }

    async fn apply(&self, changes: &[LinkChange]) {
        let mut outranked = Vec::new();
        for change in changes {
            let (slug, version) = (&change.slug, change.version);
            self.floors.lock().forget_lost(slug, version, change.changed_at);
            if !self.raise(slug, version, false) {
                continue;
            }
            self.metrics.changes.applied.add_one();
            let Some(memory) = &self.memory else { continue };
            memory.invalidate(slug, version).await;
            if let Lookup::Ready(Some(standing)) = memory.get(slug)
                && standing.known.rank() > version
            {
                outranked.push((slug, standing));
            }
        }
        for (position, (slug, standing)) in outranked.into_iter().enumerate() {
            if position < REPAIRS {
                let caches = [self.memory.as_ref(), self.shared.as_ref()];
                lost_writes::settle(self.store.as_ref(), caches, slug, &standing).await;
            } else if let Some(memory) = &self.memory {
                memory.invalidate(slug, Rank::LAST).await;
            }
        }
        let steady = self.clock.steady();
        let mut floors = self.floors.lock();
        floors.expire(steady);
        self.has_floors.store(!floors.is_empty(), Ordering::Release);
    }

    /// There were more changes than can be followed one by one.
    fn begin_anew(&self) {
        let moment = moment(self.clock.as_ref());
        self.floors.lock().distrust(moment);
        self.has_floors.store(true, Ordering::Release);
        if let Some(memory) = &self.memory {
            memory.clear();
        }
    }

    fn raise(&self, slug: &Slug, version: Rank, is_shared: bool) -> bool {
        let moment = moment(self.clock.as_ref());
        let mut floors = self.floors.lock();
        let is_new = floors.raise(slug, version, moment, is_shared || self.shared.is_none());
        self.has_floors.store(true, Ordering::Release);
        is_new
    }

    fn judge(&self, by: impl FnOnce(&Floors) -> bool) -> bool {
        // Most of the time there were no changes: then a look-up takes no lock.
        !self.has_floors.load(Ordering::Acquire) || by(&self.floors.lock())
    }

    /// Removes older states from the shared cache, for instances that start later and have not read the changes.
    async fn repair_shared(&self) {
        let Some(shared) = &self.shared else { return };
        let unshared = {
            let floors = self.floors.lock();
            floors.unshared(REPAIRS)
        };
        for (slug, version) in unshared {
            if !shared.invalidate(&slug, version).await {
                return;
            }
            self.raise(&slug, version, true);
        }
    }
}

pub(super) fn moment(clock: &dyn Clock) -> Moment {
    Moment {
        now: clock.now(),
        steady: clock.steady(),
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn plus(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}

fn minus(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_sub(by).unwrap_or(time)
}

//! How long a state of a slug is trusted, in memory and in the shared cache.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cache::{Entry, Known};
use crate::config;
use crate::domain::Rank;

/// A deletion must outlive, in every cache, a look-up that read the store before it.
const MIN_DELETION_MARK: Duration = Duration::from_secs(5);

/// How long an entry that is served because the store is down counts as fresh, so that a dead store is
/// asked about once in half this time for each slug and not at every visit.
const STALE_RETRY: Duration = Duration::from_secs(2);

/// The longest before its time that an entry of a busy link is looked up again.
const EARLY: Duration = Duration::from_secs(1);

/// How long memory trusts an entry whose changes it cannot see: one that was read so long ago is asked of the layer below
/// while the changes of the store cannot be read. Changes do not include new links, so an absence is never trusted longer.
const UNCONFIRMED: Duration = Duration::from_secs(5);

/// An entry of the shared cache that is fresh for no longer than this, or a tenth of its lifetime, renews none of memory's: that
/// would end with it, and each visit until then would ask again.
const NO_RENEWAL: Duration = Duration::from_secs(5);

/// How long entries are fresh, and how long after that they may be served stale.
///
/// Times of memory's entries are [`Clock::steady`](crate::domain::Clock::steady)'s, those of the shared cache
/// [`Clock::now`](crate::domain::Clock::now)'s: instances share the time of day, but no uptime.
#[derive(Debug)]
pub(super) struct Lifetimes(config::Cache);

impl Lifetimes {
    pub(super) fn new(times: &config::Cache) -> Self {
        Self(times.clone())
    }

    /// The longest that an entry of the shared cache is fresh.
    pub(super) fn longest_shared(&self) -> Duration {
        self.0
            .redis_fresh
            .max(self.0.negative_fresh)
            .max(MIN_DELETION_MARK)
    }

    /// Memory's entry of a state that was read at `steady`.
    pub(super) fn in_memory(&self, known: Known, steady: Timestamp) -> Entry {
        let fresh_until = self.memory_fresh_until(&known, steady);
        self.entry(known, steady, fresh_until)
    }

    /// The shared cache's entry of a state whose read of the store began at `read_at`.
    pub(super) fn in_shared(&self, known: Known, read_at: Timestamp) -> Entry {
        let fresh_until = match known {
            Known::Link(_) => plus(read_at, jittered(self.0.redis_fresh)),
            Known::Absent(rank) => plus(read_at, self.absent_fresh(rank)),
        };
        self.entry(known, read_at, fresh_until)
    }

    /// The shared cache's entry of a state that was written, published at `now`. It was not read, and a later change may
    /// have been committed since: its version alone tells whether it is new enough.
    pub(super) fn written(&self, known: Known, now: Timestamp) -> Entry {
        Entry {
            read_at: Timestamp::UNIX_EPOCH,
            ..self.in_shared(known, now)
        }
    }

    /// Memory's entry of one that came from the shared cache at `now`, which is `steady`: fresh for up to a tenth less than
    /// there, so that not all instances renew it at one time.
    pub(super) fn received(&self, entry: Entry, now: Timestamp, steady: Timestamp) -> Entry {
        let left = |until: Timestamp| Duration::try_from(until.duration_since(now)).unwrap_or_default();
        Entry {
            fresh_until: self
                .memory_fresh_until(&entry.known, steady)
                .min(plus(steady, jittered(left(entry.fresh_until)))),
            stale_until: plus(steady, left(entry.stale_until)),
            read_at: steady,
            known: entry.known,
        }
    }

    /// Whether an entry of the shared cache is fresh for long enough at `now` to renew one of memory.
    pub(super) fn renews(&self, entry: &Entry, now: Timestamp) -> bool {
        let lifetime = match entry.known {
            Known::Link(_) => self.0.redis_fresh,
            Known::Absent(_) => self.0.negative_fresh,
        };
        entry.fresh_until > plus(now, NO_RENEWAL.min(lifetime / 10))
    }

    /// Memory's entry of a state that is served at `steady` because nothing newer can be had.
    pub(super) fn stale(entry: Entry, steady: Timestamp) -> Entry {
        Entry {
            read_at: steady,
            fresh_until: plus(steady, STALE_RETRY).min(entry.stale_until),
            ..entry
        }
    }

    /// How long `entry` of memory answers by itself from `steady` on; `is_current` is whether changes are seen.
    pub(super) fn left(&self, entry: &Entry, steady: Timestamp, is_current: bool) -> Left {
        // In numbers: this is asked at every visit, and to add times costs more than the rest of it.
        let mut until = entry.fresh_until.as_microsecond();
        let mut early = (self.0.memory_fresh / 5).min(EARLY);
        if !is_current {
            until = until.min(entry.read_at.as_microsecond() + micros(UNCONFIRMED));
            early = early.min(UNCONFIRMED / 5);
        }
        match until - steady.as_microsecond() {
            left if left <= 0 => Left::Nothing,
            left if left <= micros(early) => Left::Little,
            _ => Left::Enough,
        }
    }

    fn memory_fresh_until(&self, known: &Known, steady: Timestamp) -> Timestamp {
        let bound = jittered(self.0.memory_fresh);
        match known {
            Known::Link(_) => plus(steady, bound),
            Known::Absent(rank) => plus(steady, bound.min(UNCONFIRMED).min(self.absent_fresh(*rank))),
        }
    }

    fn absent_fresh(&self, rank: Rank) -> Duration {
        let fresh = jittered(self.0.negative_fresh);
        if rank == Rank::UNSEEN {
            fresh
        } else {
            fresh.max(MIN_DELETION_MARK)
        }
    }

    /// Only links are served stale: while the store is down, nothing tells whether a slug is still free.
    fn entry(&self, known: Known, read_at: Timestamp, fresh_until: Timestamp) -> Entry {
        let stale_until = match known {
            Known::Link(_) => plus(fresh_until, self.0.stale),
            Known::Absent(_) => fresh_until,
        };
        Entry {
            known,
            read_at,
            fresh_until,
            stale_until,
        }
    }
}

/// What is left of an entry's freshness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It answers.
    Enough,
    /// It answers, and is looked up again meanwhile.
    Little,
    /// It is looked up before it answers.
    Nothing,
}

/// Up to a tenth less, so that entries that were made together do not end together.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(1.0 - 0.1 * fastrand::f64())
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn plus(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| time.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}

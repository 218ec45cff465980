//! How long what is known of a slug is trusted, in memory and in the shared cache.

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

/// How long entries are fresh, and how long after that they may be served stale.
#[derive(Debug)]
pub(super) struct Lifetimes(config::Cache);

impl Lifetimes {
    pub(super) fn new(times: &config::Cache) -> Self {
        Self(times.clone())
    }

    /// The entry that memory gets of what is known at `now`.
    pub(super) fn in_memory(&self, known: Known, now: Timestamp) -> Entry {
        let fresh_until = self.memory_fresh_until(&known, now);
        self.entry(known, fresh_until)
    }

    /// The entry that the shared cache gets of what is known at `now`.
    pub(super) fn in_shared(&self, known: Known, now: Timestamp) -> Entry {
        let fresh_until = match known {
            Known::Link(_) => plus(now, jittered(self.0.redis_fresh)),
            Known::Absent(rank) => plus(now, self.absent_fresh(rank)),
        };
        self.entry(known, fresh_until)
    }

    /// The entry that memory gets of one that came from the shared cache: never fresh for longer than there.
    pub(super) fn received(&self, entry: Entry, now: Timestamp) -> Entry {
        Entry {
            fresh_until: self.memory_fresh_until(&entry.known, now).min(entry.fresh_until),
            ..entry
        }
    }

    /// An entry past its freshness that is served because nothing newer can be had.
    pub(super) fn stale(entry: Entry, now: Timestamp) -> Entry {
        Entry {
            fresh_until: plus(now, STALE_RETRY).min(entry.stale_until),
            ..entry
        }
    }

    /// Whether a visit at `now` has an entry looked up again, though it is still fresh.
    pub(super) fn is_renewed(&self, entry: &Entry, now: Timestamp) -> bool {
        let early = (self.0.memory_fresh / 5).min(EARLY);
        // In numbers: this is asked at every visit, and to add times costs more than the rest of it.
        let left = entry.fresh_until.as_microsecond() - now.as_microsecond();
        left <= i64::try_from(early.as_micros()).unwrap_or(i64::MAX)
    }

    fn memory_fresh_until(&self, known: &Known, now: Timestamp) -> Timestamp {
        // No entry is trusted in memory for longer than this: it bounds how late another instance's take-down
        // is seen here, and how late a new link that was asked for before it was made.
        let bound = jittered(self.0.memory_fresh);
        match known {
            Known::Link(_) => plus(now, bound),
            Known::Absent(rank) => plus(now, bound.min(self.absent_fresh(*rank))),
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

    /// Only links are served stale: while the store is down, nobody can tell that a slug is still free.
    fn entry(&self, known: Known, fresh_until: Timestamp) -> Entry {
        let stale_until = match known {
            Known::Link(_) => plus(fresh_until, self.0.stale),
            Known::Absent(_) => fresh_until,
        };
        Entry {
            known,
            fresh_until,
            stale_until,
        }
    }
}

/// Up to a tenth less, so that entries that were made together do not end together.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(1.0 - 0.1 * fastrand::f64())
}

fn plus(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| time.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}

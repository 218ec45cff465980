//! The in-process cache.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, ready};
use jiff::Timestamp;

use super::{Cache, CacheHealth, Entry, Known, Lookup, Put};
use crate::domain::{Rank, Slug};

/// The most slugs without a link that are remembered.
const MAX_ABSENTS: usize = 65_536;
/// Writers of different slugs seldom meet on one of so many locks.
const STRIPES: usize = 64;

/// Entries in this process. It does not look at the clock: whoever asks judges whether an entry still serves.
///
/// Links and absent slugs are bounded apart, so that a scan of unknown slugs cannot push out links.
pub struct MemoryCache {
    links: quick_cache::sync::Cache<Slug, Held>,
    absents: quick_cache::sync::Cache<Slug, Held>,
    /// Held by a writer from reading what stands to replacing it. Readers take none.
    writers: [Mutex<()>; STRIPES],
    hasher: RandomState,
}

/// An entry in two thirds of its size: times are milliseconds of the Unix epoch, cut off.
#[derive(Debug, Clone)]
struct Held {
    known: Known,
    fresh_until: i64,
    stale_until: i64,
}

impl Held {
    fn of(known: Known, entry: &Entry) -> Self {
        Self {
            known,
            fresh_until: entry.fresh_until.as_millisecond(),
            stale_until: entry.stale_until.as_millisecond(),
        }
    }

    fn entry(self) -> Entry {
        let time = |millis| Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
        Entry {
            known: self.known,
            fresh_until: time(self.fresh_until),
            stale_until: time(self.stale_until),
        }
    }
}

impl MemoryCache {
    /// A cache of at most so many links, and as many absent slugs up to 65536. `entries` is not 0.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self {
            links: quick_cache::sync::Cache::new(entries),
            absents: quick_cache::sync::Cache::new(entries.min(MAX_ABSENTS)),
            writers: std::array::from_fn(|_| Mutex::new(())),
            hasher: RandomState::new(),
        }
    }

    fn keep(&self, slug: &Slug, entry: &Entry, seen: Rank) -> Put {
        let stripe = self.hasher.hash_one(slug) % STRIPES as u64;
        // The lock guards no data of its own that a panic could have left half-written.
        let _writer = self.writers[stripe as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let held = self.links.peek(slug).or_else(|| self.absents.peek(slug));
        let known = match held {
            Some(held) if held.known.rank() > entry.known.rank() && held.known.rank() > seen => {
                return Put::Outranked(held.entry());
            }
            // Most look-ups confirm what is held. It stays where it is in memory, and leaves no hole there.
            Some(held) if held.known == entry.known => held.known,
            _ => entry.known.clone(),
        };
        let (to, from) = match entry.known {
            Known::Link(_) => (&self.links, &self.absents),
            Known::Absent(_) => (&self.absents, &self.links),
        };
        // In this order, a reader never sees the slug gone from the links before it is among the absents.
        to.insert(slug.clone(), Held::of(known, entry));
        from.remove(slug);
        Put::Kept
    }
}

impl Cache for MemoryCache {
    fn get<'a>(&'a self, slug: &'a Slug) -> Lookup<'a> {
        let held = self.links.get(slug).or_else(|| self.absents.get(slug));
        Lookup::Ready(held.map(Held::entry))
    }

    fn put<'a>(&'a self, slug: &'a Slug, entry: &'a Entry, seen: Rank) -> BoxFuture<'a, Put> {
        ready(self.keep(slug, entry, seen)).boxed()
    }

    fn health(&self) -> BoxFuture<'_, CacheHealth> {
        ready(CacheHealth::Ok).boxed()
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache")
            .field("links", &self.links.len())
            .field("absents", &self.absents.len())
            .finish_non_exhaustive()
    }
}

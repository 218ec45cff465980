//! The in-process cache.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use futures_util::future::{BoxFuture, FutureExt, ready};
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use quick_cache::Weighter;

use super::{Cache, CacheHealth, Entry, Known, Lookup, Put};
use crate::domain::{Rank, Redirect, Slug};

/// One part of so many is for absent slugs; the rest is for links.
const ABSENTS: u64 = 8;
/// Writers of different slugs seldom meet on one of so many locks.
const STRIPES: usize = 64;

type Bounded = quick_cache::sync::Cache<Slug, Held, Bytes>;

/// Entries in this process, bounded by the bytes that they take. It does not look at the clock: the caller judges
/// whether an entry still serves.
///
/// Links and absent slugs are bounded apart, so that a scan of unknown slugs cannot push out links.
pub struct MemoryCache {
    links: Bounded,
    absents: Bounded,
    /// Held by a writer from reading what stands to replacing it. Readers take none.
    writers: [Mutex<()>; STRIPES],
    hasher: RandomState,
}

/// An entry in three quarters of its size: times are in milliseconds, cut off.
#[derive(Debug, Clone)]
struct Held {
    known: Known,
    read_at: i64,
    fresh_until: i64,
    stale_until: i64,
}

impl Held {
    fn of(known: Known, entry: &Entry) -> Self {
        Self {
            known,
            read_at: entry.read_at.as_millisecond(),
            fresh_until: entry.fresh_until.as_millisecond(),
            stale_until: entry.stale_until.as_millisecond(),
        }
    }

    fn entry(self) -> Entry {
        let time = |millis| Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
        Entry {
            known: self.known,
            read_at: time(self.read_at),
            fresh_until: time(self.fresh_until),
            stale_until: time(self.stale_until),
        }
    }
}

/// Weighs an entry by the memory that it takes. Asked when an entry is put or removed, never when one is read.
#[derive(Debug, Clone, Copy)]
struct Bytes;

impl Bytes {
    /// The place of an entry in the cache: the entry with its state and two links in a slab, and its number in a hash
    /// table that is between seven sixteenths and seven eighths full.
    const PLACE: usize = size_of::<Slug>() + size_of::<Held>() + 16 + 8;
    /// A link with a short destination URL, for the estimate of how many fit.
    const SHORT_LINK: usize =
        Self::PLACE + Self::block(Self::SHARED + size_of::<Redirect>()) + Self::block(56);
    /// The two counters before what an `Arc` holds.
    const SHARED: usize = 2 * size_of::<usize>();
    /// The longest slug that takes no block.
    const INLINE_SLUG: usize = 23;

    /// What the allocator takes for so many bytes: a word before them, and the whole in steps of two words.
    const fn block(bytes: usize) -> usize {
        (bytes + size_of::<usize>()).next_multiple_of(2 * size_of::<usize>())
    }

    fn text(text: &str) -> usize {
        Self::block(Self::SHARED + text.len())
    }

    fn slug(slug: &Slug) -> usize {
        let text = slug.as_str();
        if text.len() > Self::INLINE_SLUG {
            Self::text(text)
        } else {
            0
        }
    }

    fn link(link: &Redirect) -> usize {
        let always = link.period.valid_from().is_none() && link.period.expires_at().is_none();
        let period = if always {
            0
        } else {
            Self::block(2 * size_of::<Option<Timestamp>>())
        };
        Self::block(Self::SHARED + size_of::<Redirect>())
            + Self::slug(&link.slug)
            + Self::text(link.target.as_str())
            + period
    }
}

impl Weighter<Slug, Held> for Bytes {
    fn weight(&self, slug: &Slug, held: &Held) -> u64 {
        let known = match &held.known {
            Known::Link(link) => Self::link(link),
            Known::Absent(_) => 0,
        };
        (Self::PLACE + Self::slug(slug) + known) as u64
    }
}

/// A cache that takes at most `bytes`, of entries that are not often smaller than `least`.
fn bounded(bytes: u64, least: usize) -> Bounded {
    let least = least as u64;
    // Half as many evicted slugs as there are entries keep their places for a while: one that returns is used often.
    let entries = bytes / (least + Bytes::PLACE as u64 / 2);
    quick_cache::sync::Cache::with_weighter(
        usize::try_from(entries).unwrap_or(usize::MAX),
        entries * least,
        Bytes,
    )
}

impl MemoryCache {
    /// A cache of at most `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let for_absents = bytes / ABSENTS;
        Self {
            links: bounded(bytes - for_absents, Bytes::SHORT_LINK),
            absents: bounded(for_absents, Bytes::PLACE),
            writers: std::array::from_fn(|_| Mutex::new(())),
            hasher: RandomState::new(),
        }
    }

    /// The bytes that its entries take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.links.weight() + self.absents.weight()
    }

    /// The lock of the writers of `slug`.
    fn writer(&self, slug: &Slug) -> MutexGuard<'_, ()> {
        let stripe = self.hasher.hash_one(slug) % STRIPES as u64;
        self.writers[stripe as usize].lock()
    }

    fn keep(&self, slug: &Slug, entry: &Entry, seen: Rank) -> Put {
        let _writer = self.writer(slug);
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

    fn invalidate<'a>(&'a self, slug: &'a Slug, version: Rank) -> BoxFuture<'a, bool> {
        let _writer = self.writer(slug);
        for entries in [&self.links, &self.absents] {
            let _ = entries.remove_if(slug, |held| held.known.rank() < version);
        }
        ready(true).boxed()
    }

    fn clear(&self) {
        self.links.clear();
        self.absents.clear();
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
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

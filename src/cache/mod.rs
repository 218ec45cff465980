//! Floor 2: what is remembered of the store. One port, [`Cache`], and two adapters behind it.

mod breaker;
mod budget;
mod bulletin;
mod cluster;
mod codec;
mod connection;
mod memory;
mod open;
mod per_thread;
mod reach;
mod redis;
mod servers;
mod traced;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use jiff::Timestamp;

use crate::domain::{Rank, Redirect, Slug};

pub use breaker::{Admission, Breaker, BreakerState};
pub use budget::Budgets;
pub use bulletin::{Bulletin, Hear};
pub use codec::{CodecError, decode, encode};
pub use memory::MemoryCache;
pub use open::{budgets, faults, memory, shared};
pub use traced::{Layer, traced};

/// What is known of a slug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// There is such a link.
    Link(Arc<Redirect>),
    /// There is none. The rank is that of the deletion, or [`Rank::UNSEEN`].
    Absent(Rank),
}

impl Known {
    /// Where this state stands in the order of writes.
    #[must_use]
    pub fn rank(&self) -> Rank {
        match self {
            Self::Link(redirect) => Rank::of_link(redirect.revision),
            Self::Absent(rank) => *rank,
        }
    }
}

/// What a cache holds for a slug. Times are [`Clock::now`](crate::domain::Clock::now)'s in the shared cache, and
/// [`Clock::steady`](crate::domain::Clock::steady)'s in the cache of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The state of the slug.
    pub known: Known,
    /// In the shared cache, when the read of the store began that found this state, or when its write was committed.
    /// In the process, when this state was last read from the shared cache or the store.
    pub read_at: Timestamp,
    /// To be asked of the layer below from this time on.
    pub fresh_until: Timestamp,
    /// Not to be served from this time on, whatever is down.
    pub stale_until: Timestamp,
}

/// The answer to a look-up: at once, or to be awaited. A local cache answers without an allocation.
pub enum Lookup<'a> {
    /// Known now; `None` is a miss.
    Ready(Option<Entry>),
    /// Comes over the network; `None` is a miss, or a failure that was counted as one.
    Pending(BoxFuture<'a, Option<Entry>>),
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// The cache holds it now.
    Kept,
    /// The cache holds this newer entry, and goes on holding it.
    Outranked(Entry),
    /// The cache did not answer. It may hold anything.
    Lost,
}

/// How a cache fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheHealth {
    /// It answers.
    Ok,
    /// It does not, for this reason; every look-up is a miss.
    Unavailable(String),
}

/// Remembers what is known of slugs. It never fails: what cannot be read is a miss, what cannot be written
/// is lost, both are counted.
pub trait Cache: std::fmt::Debug + Send + Sync {
    /// What is held for `slug`, stale or not; never another slug's entry.
    fn get<'a>(&'a self, slug: &'a Slug) -> Lookup<'a>;

    /// Keeps `entry`, unless what is held outranks both it and `seen`.
    ///
    /// `seen` is the rank of what was held when the caller began to read the store; it lets "there is no
    /// such link" replace a link that the store no longer has, and nothing written since.
    fn put<'a>(&'a self, slug: &'a Slug, entry: &'a Entry, seen: Rank) -> BoxFuture<'a, Put>;

    /// Keeps many entries, each as [`Cache::put`] does with [`Rank::UNSEEN`], in as few exchanges as it can. Answers in
    /// their order.
    fn put_many<'a>(&'a self, entries: &'a [(Slug, Entry)]) -> BoxFuture<'a, Vec<Put>> {
        let puts = entries
            .iter()
            .map(|(slug, entry)| self.put(slug, entry, Rank::UNSEEN));
        join_all(puts).boxed()
    }

    /// Whether the cache answers now.
    fn health(&self) -> BoxFuture<'_, CacheHealth>;

    /// Removes what is held for `slug` if its rank is below `version`; `false` if the cache did not answer, and may still
    /// hold it.
    fn invalidate<'a>(&'a self, slug: &'a Slug, version: Rank) -> BoxFuture<'a, bool>;

    /// Removes everything. A shared cache keeps what it holds.
    fn clear(&self) {}

    /// Where instances tell each other of changes, if they share this cache.
    fn bulletin(&self) -> Option<&dyn Bulletin> {
        None
    }
}

/// The longest that one call of a shared cache may take.
pub const CALL_LIMIT: Duration = Duration::from_millis(50);

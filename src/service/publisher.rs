//! Writes committed changes through both caches, and publishes them to the other instances.
//!
//! This is the fast path. What it misses, [`ChangeTail`] finds in the store.

use std::sync::Arc;

use futures_util::future::{join, join_all};

use super::change_tail::{ChangeTail, moment};
use super::lifetimes::Lifetimes;
use super::lost_writes;
use crate::cache::{Cache, Entry, Known, Put};
use crate::domain::{Clock, Rank, Redirect, Revision, Slug};
use crate::store::Store;

/// How many links are published at once.
const AT_ONCE: usize = 256;

/// What resolving and publishing share.
#[derive(Debug)]
pub(super) struct Caches {
    pub(super) memory: Option<Arc<dyn Cache>>,
    pub(super) shared: Option<Arc<dyn Cache>>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lifetimes: Lifetimes,
    pub(super) tail: ChangeTail,
}

impl Caches {
    /// Publishes a new link. No other instance has an older state of it, but that there was none.
    pub(super) async fn created(&self, redirect: Redirect) {
        let slug = redirect.slug.clone();
        self.publish(&slug, Known::Link(Arc::new(redirect)), false).await;
    }

    /// Publishes a change of a link.
    pub(super) async fn changed(&self, redirect: Redirect) {
        let slug = redirect.slug.clone();
        self.publish(&slug, Known::Link(Arc::new(redirect)), true).await;
    }

    /// Publishes a deletion that drew the revision `last`.
    pub(super) async fn deleted(&self, slug: &Slug, last: Revision) {
        let known = Known::Absent(Rank::of_deletion(last));
        self.publish(slug, known, true).await;
    }

    /// Forgets what the caches hold of a slug whose change may have been committed, or not. If it is committed later, the
    /// recorded change outdates what they hold by then.
    pub(super) async fn unknown(&self, slug: &Slug) {
        self.forget(slug).await;
    }

    /// Publishes new links, many in one exchange with the shared cache.
    pub(super) async fn many_created(&self, redirects: Vec<Redirect>) {
        for some in pieces(redirects) {
            let now = self.clock.now();
            let mut entries = Vec::with_capacity(some.len());
            for redirect in some {
                let slug = redirect.slug.clone();
                let known = Known::Link(Arc::new(redirect));
                self.keep_written(&slug, known.clone()).await;
                entries.push((slug, self.lifetimes.written(known, now)));
            }
            if let Some(shared) = &self.shared {
                shared.put_many(&entries).await;
            }
        }
    }

    /// Publishes changes of many links.
    pub(super) async fn many_changed(&self, redirects: Vec<Redirect>) {
        for some in pieces(redirects) {
            join_all(some.into_iter().map(|redirect| self.changed(redirect))).await;
        }
    }

    /// Makes a committed state known: here at once, in the shared cache within its call limit, and to the other instances
    /// if it is a change.
    async fn publish(&self, slug: &Slug, known: Known, is_change: bool) {
        let version = known.rank();
        let standing = self.keep_written(slug, known.clone()).await;
        let is_shared = match &self.shared {
            None => false,
            Some(shared) => {
                let entry = self.lifetimes.written(known, self.clock.now());
                let publishing = async {
                    match shared.bulletin() {
                        Some(bulletin) if is_change => bulletin.tell(slug, &entry).await,
                        _ => true,
                    }
                };
                let (put, is_published) = join(shared.put(slug, &entry, Rank::UNSEEN), publishing).await;
                if let Put::Outranked(standing) = &put {
                    self.settle(slug, version, standing).await;
                }
                is_published && put != Put::Lost
            }
        };
        if is_change {
            self.tail.note(slug, version, is_shared);
        }
        if let Some(standing) = standing {
            self.settle(slug, version, &standing).await;
        }
    }

    /// Keeps a written state in memory, and answers what outranks it there.
    async fn keep_written(&self, slug: &Slug, known: Known) -> Option<Entry> {
        let entry = self.lifetimes.in_memory(known, self.clock.steady());
        self.keep_committed(slug, &entry).await
    }

    /// Keeps a state in memory: the only way into it. `None` if `admits` finds that a change outdated the state, and then
    /// memory forgets the slug.
    ///
    /// The change tail remembers a change before memory forgets the slug. So a state that is put first and judged then
    /// cannot slip in behind a change.
    pub(super) async fn keep_in_memory(
        &self,
        slug: &Slug,
        entry: &Entry,
        seen: Rank,
        admits: impl FnOnce(&ChangeTail) -> bool,
    ) -> Option<Put> {
        let put = match &self.memory {
            Some(memory) => memory.put(slug, entry, seen).await,
            None => Put::Kept,
        };
        if admits(&self.tail) {
            return Some(put);
        }
        self.forget_in_memory(slug).await;
        None
    }

    /// Keeps in memory a state that another instance published, and answers what outranks it there. It is remembered as a
    /// change first.
    pub(super) async fn keep_published(&self, slug: &Slug, entry: Entry) -> Option<Entry> {
        self.tail.note(slug, entry.known.rank(), true);
        let entry = self.received(entry);
        self.keep_committed(slug, &entry).await
    }

    async fn keep_committed(&self, slug: &Slug, entry: &Entry) -> Option<Entry> {
        let is_current = |tail: &ChangeTail| tail.admit_stale(slug, entry.known.rank());
        match self.keep_in_memory(slug, entry, Rank::UNSEEN, is_current).await {
            Some(Put::Outranked(standing)) => Some(standing),
            _ => None,
        }
    }

    /// An entry of the shared cache with memory's times.
    pub(super) fn received(&self, entry: Entry) -> Entry {
        let moment = moment(self.clock.as_ref());
        self.lifetimes.received(entry, moment.now, moment.steady)
    }

    /// A cache holds a later version than the one just committed. It is believed only if the store confirms it.
    pub(super) async fn settle(&self, slug: &Slug, committed: Rank, standing: &Entry) {
        let caches = [self.memory.as_ref(), self.shared.as_ref()];
        if !lost_writes::settle(self.store.as_ref(), caches, slug, standing).await {
            self.tail.note(slug, committed, false);
        }
    }

    /// Removes what memory holds of a slug: a change outdated it.
    pub(super) async fn forget_in_memory(&self, slug: &Slug) {
        if let Some(memory) = &self.memory {
            memory.invalidate(slug, Rank::LAST).await;
        }
    }

    async fn forget(&self, slug: &Slug) {
        for cache in [&self.memory, &self.shared].into_iter().flatten() {
            cache.invalidate(slug, Rank::LAST).await;
        }
    }
}

/// [`AT_ONCE`] of them after the other.
fn pieces(redirects: Vec<Redirect>) -> impl Iterator<Item = Vec<Redirect>> {
    let mut rest = redirects.into_iter();
    std::iter::from_fn(move || {
        let some: Vec<_> = rest.by_ref().take(AT_ONCE).collect();
        (!some.is_empty()).then_some(some)
    })
}

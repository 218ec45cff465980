//! Writes committed changes through both caches, and publishes them to the other instances.
//!
//! This is the fast path. What it misses, [`ChangeTail`] finds in the store.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{join, join_all};

use super::change_tail::ChangeTail;
use super::lifetimes::Lifetimes;
use crate::cache::{Cache, Entry, Known, Put};
use crate::domain::{Clock, Rank, Redirect, Revision, Slug};
use crate::store::Store;

/// How many links are published at once.
const AT_ONCE: usize = 256;

/// Publishes changes. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct Publisher(pub(super) Arc<Caches>);

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

impl Publisher {
    /// Publishes a new link. No other instance has an older state of it, but that there was none.
    pub(super) async fn created(&self, redirect: Redirect) {
        let slug = redirect.slug.clone();
        self.0
            .publish(&slug, Known::Link(Arc::new(redirect)), false)
            .await;
    }

    /// Publishes a change of a link.
    pub(super) async fn changed(&self, redirect: Redirect) {
        let slug = redirect.slug.clone();
        self.0.publish(&slug, Known::Link(Arc::new(redirect)), true).await;
    }

    /// Publishes a deletion that drew the revision `last`.
    pub(super) async fn deleted(&self, slug: &Slug, last: Revision) {
        let known = Known::Absent(Rank::of_deletion(last));
        self.0.publish(slug, known, true).await;
    }

    /// Forgets what the caches hold of a slug whose change may have been committed, or not. If it is committed later, the
    /// recorded change outdates what they hold by then.
    pub(super) async fn unknown(&self, slug: &Slug) {
        self.0.forget(slug).await;
    }

    /// Publishes new links, many in one exchange with the shared cache.
    pub(super) async fn many_created(&self, redirects: Vec<Redirect>) {
        for some in pieces(redirects) {
            let now = self.0.clock.now();
            let mut entries = Vec::with_capacity(some.len());
            for redirect in some {
                let slug = redirect.slug.clone();
                let known = Known::Link(Arc::new(redirect));
                self.0.keep_written(&slug, known.clone());
                entries.push((slug, self.0.lifetimes.written(known, now)));
            }
            if let Some(shared) = &self.0.shared {
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
}

impl Caches {
    /// Makes a committed state known: here at once, in the shared cache within its call limit, and to the other instances
    /// if it is a change.
    async fn publish(&self, slug: &Slug, known: Known, is_change: bool) {
        let version = known.rank();
        let standing = self.keep_written(slug, known.clone());
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
    fn keep_written(&self, slug: &Slug, known: Known) -> Option<Entry> {
        let memory = self.memory.as_ref()?;
        let entry = self.lifetimes.in_memory(known, self.clock.steady());
        // Memory answers at once.
        match memory.put(slug, &entry, Rank::UNSEEN).now_or_never() {
            Some(Put::Outranked(standing)) => Some(standing),
            _ => None,
        }
    }

    /// A cache holds a later version than the one just committed. Another writer may have been faster; but if the store
    /// has no such version, it lost writes that the caches still know, and the caches are wrong.
    async fn settle(&self, slug: &Slug, committed: Rank, standing: &Entry) {
        let is_confirmed = match self.store.redirect(slug).await {
            Ok(Some(redirect)) => Rank::of_link(redirect.revision) >= standing.known.rank(),
            // A deletion since leaves nothing to compare with.
            Ok(None) => matches!(standing.known, Known::Absent(_)),
            Err(_) => false,
        };
        if !is_confirmed {
            tracing::warn!(
                slug = slug.as_str(),
                "the caches hold a later version of {slug} than the database: they forget it"
            );
            self.forget(slug).await;
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

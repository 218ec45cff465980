//! Finds states that the caches know and the store has lost, as after a restore or the failover to a replica that lagged.

use std::sync::Arc;

use crate::cache::{Cache, Entry, Known};
use crate::domain::{Rank, Slug};
use crate::store::Store;

/// Has the caches forget `standing`, which outranks a change just committed, unless the store confirms it: another writer
/// may have been faster. Answers whether it was confirmed.
pub(super) async fn settle(
    store: &dyn Store,
    caches: [Option<&Arc<dyn Cache>>; 2],
    slug: &Slug,
    standing: &Entry,
) -> bool {
    let is_confirmed = match store.redirect(slug).await {
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
        for cache in caches.into_iter().flatten() {
            cache.invalidate(slug, Rank::LAST).await;
        }
    }
    is_confirmed
}

//! Makes what was written known to the caches, and to a shared cache that was down as soon as it is back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::cache::{Cache, Entry, Put};
use crate::domain::{Clock, Rank, Slug};
use crate::lifecycle::Lifecycle;

/// How long to wait before a lost write is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// The most lost writes that are kept for another try. What is lost beyond it stands in the shared cache as it
/// was, until it is no longer fresh.
const MAX_PENDING: usize = 100_000;

/// Writes through the caches.
#[derive(Debug, Clone)]
pub(super) struct Publisher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Option<Arc<dyn Cache>>,
    shared: Option<Arc<dyn Cache>>,
    clock: Arc<dyn Clock>,
    pending: Mutex<HashMap<Slug, Entry>>,
    lost: Notify,
}

impl Publisher {
    /// A publisher whose retries belong to `lifecycle`.
    pub(super) fn new(
        memory: Option<Arc<dyn Cache>>,
        shared: Option<Arc<dyn Cache>>,
        clock: Arc<dyn Clock>,
        lifecycle: &Lifecycle,
    ) -> Self {
        let inner = Arc::new(Inner {
            memory,
            shared,
            clock,
            pending: Mutex::default(),
            lost: Notify::new(),
        });
        if inner.shared.is_some() {
            let retrying = Arc::clone(&inner);
            lifecycle.spawn(|stop| async move {
                stop.run_until_cancelled_owned(retrying.retry()).await;
            });
        }
        Self(inner)
    }

    /// Makes a committed write known: here at once, in the shared cache within its call limit or else later.
    /// `for_memory` and `for_shared` are the same state with each cache's own times.
    pub(super) async fn publish(&self, slug: &Slug, for_memory: &Entry, for_shared: Entry) {
        if let Some(memory) = &self.0.memory {
            memory.put(slug, for_memory, Rank::UNSEEN).await;
        }
        if let Some(shared) = &self.0.shared
            && matches!(shared.put(slug, &for_shared, Rank::UNSEEN).await, Put::Lost)
        {
            self.0.keep(slug.clone(), for_shared);
        }
    }
}

impl Inner {
    fn keep(&self, slug: Slug, entry: Entry) {
        let mut pending = self.pending.lock().expect("pending lock poisoned");
        if pending.len() < MAX_PENDING || pending.contains_key(&slug) {
            let kept = pending.entry(slug).or_insert_with(|| entry.clone());
            if kept.known.rank() < entry.known.rank() {
                *kept = entry;
            }
        }
        drop(pending);
        self.lost.notify_one();
    }

    /// Tries lost writes again, for as long as there are any.
    async fn retry(&self) {
        loop {
            let round: Vec<_> = {
                let pending = self.pending.lock().expect("pending lock poisoned");
                pending
                    .iter()
                    .map(|(slug, entry)| (slug.clone(), entry.clone()))
                    .collect()
            };
            if round.is_empty() {
                self.lost.notified().await;
                continue;
            }
            for (slug, entry) in round {
                if self.is_settled(&slug, &entry).await {
                    self.forget(&slug, &entry);
                }
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Whether a lost write needs no further try: it has landed, or what it should have replaced is no longer
    /// fresh in the shared cache, where nothing is kept for longer than a new entry is.
    async fn is_settled(&self, slug: &Slug, entry: &Entry) -> bool {
        let Some(shared) = &self.shared else { return true };
        self.clock.now() >= entry.fresh_until
            || !matches!(shared.put(slug, entry, Rank::UNSEEN).await, Put::Lost)
    }

    /// Takes a write off the list, unless a later one of the same slug has taken its place.
    fn forget(&self, slug: &Slug, entry: &Entry) {
        let mut pending = self.pending.lock().expect("pending lock poisoned");
        if pending
            .get(slug)
            .is_some_and(|kept| kept.known.rank() <= entry.known.rank())
        {
            pending.remove(slug);
        }
    }
}

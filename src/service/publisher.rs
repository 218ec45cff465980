//! Makes what was written known to the caches, and to a shared cache that was down or has forgotten it, again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cache::{Cache, Entry, Put};
use crate::domain::{Clock, Rank, Slug};
use crate::lifecycle::Lifecycle;

/// How long to wait before a lost write is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How long after it was kept a change is written once more, to a shared cache that may have lost it. By then a node
/// that lived has told its replica, and a write to one that died is a lost one.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The most lost writes that are kept for another try. What is lost beyond it stands in the shared cache as it
/// was, until it is no longer fresh.
const MAX_PENDING: usize = 100_000;

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It made a link.
    Link,
    /// It changed or removed one.
    Change,
    /// It changed or removed one, and that was told.
    Told,
}

/// A write that is to be tried again.
#[derive(Debug, Clone)]
struct Pending {
    entry: Entry,
    news: News,
    due: Instant,
}

/// Writes through the caches.
#[derive(Debug, Clone)]
pub(super) struct Publisher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Option<Arc<dyn Cache>>,
    shared: Option<Arc<dyn Cache>>,
    clock: Arc<dyn Clock>,
    pending: Mutex<HashMap<Slug, Pending>>,
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

    /// Makes a committed write known: here at once, in the shared cache within its call limit or else later. Other
    /// instances are told of a change, but not of a new link, which none of them has an older state of.
    /// `for_memory` and `for_shared` are the same state with each cache's own times.
    pub(super) async fn publish(&self, slug: &Slug, for_memory: &Entry, for_shared: Entry, news: News) {
        if let Some(memory) = &self.0.memory {
            memory.put(slug, for_memory, Rank::UNSEEN).await;
        }
        let Some(shared) = &self.0.shared else { return };
        if !self.0.is_said(slug, &for_shared, news).await {
            self.0.keep(slug.clone(), for_shared, news, Instant::now());
        } else if news == News::Change && shared.may_lose_writes() {
            let again = Instant::now() + AGAIN_AFTER;
            self.0.keep(slug.clone(), for_shared, News::Told, again);
        }
    }

    /// Makes many new links known at a time, each as [`Self::publish`] does. The two are of the same links, in the same
    /// order.
    pub(super) async fn publish_new(&self, for_memory: &[(Slug, Entry)], for_shared: Vec<(Slug, Entry)>) {
        if let Some(memory) = &self.0.memory {
            for (slug, entry) in for_memory {
                memory.put(slug, entry, Rank::UNSEEN).await;
            }
        }
        let Some(shared) = &self.0.shared else { return };
        let puts = shared.put_many(&for_shared).await;
        for ((slug, entry), put) in for_shared.into_iter().zip(puts) {
            if put == Put::Lost {
                self.0.keep(slug, entry, News::Link, Instant::now());
            }
        }
    }
}

impl Inner {
    /// Writes an entry to the shared cache and tells of it, at once. Answers whether both came through.
    async fn is_said(&self, slug: &Slug, entry: &Entry, news: News) -> bool {
        let Some(shared) = &self.shared else { return true };
        let telling = async {
            match (news, shared.bulletin()) {
                (News::Change, Some(bulletin)) => bulletin.tell(slug, entry).await,
                _ => true,
            }
        };
        let (put, told) = join(shared.put(slug, entry, Rank::UNSEEN), telling).await;
        told && !matches!(put, Put::Lost)
    }

    fn keep(&self, slug: Slug, entry: Entry, news: News, due: Instant) {
        // Those that have landed leave room for those that have not.
        let most = if news == News::Told {
            MAX_PENDING / 2
        } else {
            MAX_PENDING
        };
        let new = Pending { entry, news, due };
        let mut pending = self.pending.lock().expect("pending lock poisoned");
        if pending.len() < most || pending.contains_key(&slug) {
            let kept = pending.entry(slug).or_insert_with(|| new.clone());
            if kept.entry.known.rank() < new.entry.known.rank() {
                *kept = new;
            }
        }
        drop(pending);
        self.lost.notify_one();
    }

    /// Tries lost writes again, for as long as there are any.
    async fn retry(&self) {
        loop {
            let round: Option<Vec<_>> = {
                let pending = self.pending.lock().expect("pending lock poisoned");
                if pending.is_empty() {
                    None
                } else {
                    let now = Instant::now();
                    let due = pending.iter().filter(|(_, write)| write.due <= now);
                    Some(due.map(|(slug, write)| (slug.clone(), write.clone())).collect())
                }
            };
            let Some(round) = round else {
                self.lost.notified().await;
                continue;
            };
            for (slug, write) in round {
                if self.is_settled(&slug, &write.entry, write.news).await {
                    self.forget(&slug, &write.entry);
                }
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Whether a lost write needs no further try: it has landed, or what it should have replaced is no longer
    /// fresh in the shared cache, where nothing is kept for longer than a new entry is.
    async fn is_settled(&self, slug: &Slug, entry: &Entry, news: News) -> bool {
        self.clock.now() >= entry.fresh_until || self.is_said(slug, entry, news).await
    }

    /// Takes a write off the list, unless a later one of the same slug has taken its place.
    fn forget(&self, slug: &Slug, entry: &Entry) {
        let mut pending = self.pending.lock().expect("pending lock poisoned");
        if pending
            .get(slug)
            .is_some_and(|kept| kept.entry.known.rank() <= entry.known.rank())
        {
            pending.remove(slug);
        }
    }
}

//! Finds the state of a slug: memory, then the shared cache, then the store.

use std::sync::Arc;

use futures_util::FutureExt;
use jiff::Timestamp;
use tracing::Span;

use super::Error;
use super::change_tail::{ChangeTail, moment};
use super::click_limits::ClickLimits;
use super::flights::{Flights, Outcome};
use super::floors::Moment;
use super::lifetimes::{Left, Lifetimes};
use super::link_facts::LinkFacts;
use super::publisher::Caches;
use super::visit::Visit;
use crate::cache::{Cache, Entry, Known, Lookup, Put};
use crate::config;
use crate::domain::{Clock, Rank, Redirect, Revision, Slug};
use crate::lifecycle::Lifecycle;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// The most look-ups under way with which another begins before its time: where the layer below is slower than the
/// visits come, they would pile up.
const MOST_EARLY: usize = 256;

/// How often a state is read again because it changed while it was read.
const READS: u8 = 3;

/// Finds the state of slugs. Clones share everything.
#[derive(Debug, Clone)]
pub struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    caches: Arc<Caches>,
    metrics: Arc<Metrics>,
    lifecycle: Lifecycle,
    flights: Flights,
    limits: ClickLimits,
    facts: LinkFacts,
}

impl Resolver {
    /// A resolver over two caches, either of which may be missing, and the store.
    pub fn new(
        times: &config::Cache,
        memory: Option<Arc<dyn Cache>>,
        shared: Option<Arc<dyn Cache>>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        lifecycle: Lifecycle,
    ) -> Self {
        let lifetimes = Lifetimes::new(times);
        let tail = ChangeTail::start(
            memory.clone(),
            shared.clone(),
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&metrics),
            lifetimes.longest_shared(),
            &lifecycle,
        );
        let caches = Arc::new(Caches {
            memory,
            shared,
            store,
            clock,
            lifetimes,
            tail,
        });
        let facts = LinkFacts::new(
            Arc::clone(&caches.store),
            Arc::clone(&caches.clock),
            lifecycle.clone(),
        );
        let inner = Arc::new(Inner {
            caches,
            metrics,
            lifecycle,
            flights: Flights::default(),
            limits: ClickLimits::new(facts.clone()),
            facts,
        });
        if inner.caches.memory.is_some() && inner.caches.shared.is_some() {
            let subscribed = Arc::clone(&inner);
            inner
                .lifecycle
                .spawn_loop("the invalidation subscription", move |stop| {
                    let subscribed = Arc::clone(&subscribed);
                    async move {
                        stop.run_until_cancelled_owned(subscribed.subscribe()).await;
                    }
                });
        }
        Self(inner)
    }

    /// Publishes a new link.
    pub(super) async fn publish_link(&self, redirect: Redirect) {
        self.0.caches.created(redirect).await;
    }

    /// Publishes new links, many in one exchange with the shared cache.
    pub(super) async fn publish_links(&self, redirects: Vec<Redirect>) {
        self.0.caches.many_created(redirects).await;
    }

    /// Publishes a change of a link.
    pub(super) async fn publish_change(&self, redirect: Redirect) {
        self.0.caches.changed(redirect).await;
    }

    /// Publishes changes of many links.
    pub(super) async fn publish_changes(&self, redirects: Vec<Redirect>) {
        self.0.caches.many_changed(redirects).await;
    }

    /// Publishes a deletion that drew the revision `last`.
    pub(super) async fn publish_deletion(&self, slug: &Slug, last: Revision) {
        self.0.caches.deleted(slug, last).await;
    }

    /// Has the caches forget a slug whose change may have been committed, or not.
    pub(super) async fn publish_unknown(&self, slug: &Slug) {
        self.0.caches.unknown(slug).await;
    }

    /// What a visitor of `slug` gets at `now`. `counts` says whether this is a person's click or a look: only such a click uses
    /// up a limit. It is asked only for links with a limit. `admit` says whether the store may be asked for this visitor, and
    /// is asked only when no cache knows the slug.
    pub async fn visit(
        &self,
        slug: &Slug,
        now: Timestamp,
        counts: impl FnOnce() -> bool,
        admit: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Visit, Error> {
        let Known::Link(redirect) = self.resolve(slug, now, admit).await? else {
            return Ok(Visit::Unknown);
        };
        if let Some(visit) = Visit::of(&redirect, now) {
            return Ok(visit);
        }
        let inner = &self.0;
        Box::pin(inner.limits.visit(&inner.caches, redirect, now, counts())).await
    }

    /// What `slug` redirects to at `now`, for a request that is no click. The store is asked for nothing but a slug that no
    /// cache knows, and for that only if `admit` allows it. So a click limit that other instances saw used up may be missed.
    pub async fn look(
        &self,
        slug: &Slug,
        now: Timestamp,
        admit: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Visit, Error> {
        let Known::Link(redirect) = self.resolve(slug, now, admit).await? else {
            return Ok(Visit::Unknown);
        };
        Ok(Visit::of(&redirect, now).unwrap_or_else(|| self.0.limits.look(redirect)))
    }

    /// More of a link than its redirect.
    pub(super) fn facts(&self) -> &LinkFacts {
        &self.0.facts
    }

    /// The state of `slug` at `now`. What goes beyond memory is in boxes: the future of a hit is small.
    async fn resolve(
        &self,
        slug: &Slug,
        now: Timestamp,
        admit: impl FnOnce() -> Result<(), Error>,
    ) -> Outcome {
        let inner = &self.0;
        let moment = Moment {
            now,
            steady: inner.caches.clock.steady(),
        };
        let tail = &inner.caches.tail;
        let is_current = tail.is_current(moment) || Box::pin(tail.catch_up(moment)).await;
        let Some(held) = inner.in_memory(slug).await else {
            return Box::pin(self.beyond_memory(slug, admit)).await;
        };
        let left = inner.caches.lifetimes.left(&held, moment.steady, is_current);
        if left == Left::Nothing {
            return self.look_up(slug, Some(held), Span::current()).await;
        }
        inner.metrics.resolve.memory.add_one();
        let known = held.known.clone();
        // Looked up again shortly before its time, so that visitors of a busy link never wait.
        if left == Left::Little && inner.flights.number() < MOST_EARLY {
            drop(self.look_up(slug, Some(held), Span::none()));
        }
        Ok(known)
    }

    /// Asks the shared cache in the visitor's own task: one command on a connection that stands costs less
    /// than a task to share its answer. What it does not know is looked up once for all.
    async fn beyond_memory(&self, slug: &Slug, admit: impl FnOnce() -> Result<(), Error>) -> Outcome {
        let inner = &self.0;
        if inner.caches.shared.is_none() {
            admit()?;
            return self.look_up(slug, None, Span::current()).await;
        }
        let shared = inner.in_shared(slug).await;
        if let Some(known) = inner.take_shared(slug, shared.as_ref(), None).await {
            return Ok(known);
        }
        admit()?;
        let flights = &inner.flights;
        flights
            .join(slug, &inner.lifecycle, Span::current(), || {
                let (inner, slug) = (Arc::clone(inner), slug.clone());
                async move {
                    let held = shared.map(|entry| inner.caches.received(entry));
                    inner.ask_store(&slug, held).await
                }
            })
            .await
    }

    /// Joins or starts the one look-up of `slug`. It goes on when the answer is dropped.
    fn look_up(&self, slug: &Slug, held: Option<Entry>, span: Span) -> impl Future<Output = Outcome> + use<> {
        self.0.flights.join(slug, &self.0.lifecycle, span, || {
            let inner = Arc::clone(&self.0);
            let slug = slug.clone();
            async move { inner.ask_below(&slug, held).await }
        })
    }
}

/// Entries here have memory's times, but for what [`Inner::in_shared`] answers.
impl Inner {
    async fn in_memory(&self, slug: &Slug) -> Option<Entry> {
        match self.caches.memory.as_ref()?.get(slug) {
            Lookup::Ready(entry) => entry,
            Lookup::Pending(entry) => entry.await,
        }
    }

    /// What the shared cache has, unless a change outdated it: then it is removed there.
    async fn in_shared(&self, slug: &Slug) -> Option<Entry> {
        let shared = self.caches.shared.as_ref()?;
        let entry = match shared.get(slug) {
            Lookup::Ready(entry) => entry,
            Lookup::Pending(entry) => entry.await,
        }?;
        if self.caches.tail.admit_shared(slug, &entry) {
            return Some(entry);
        }
        self.metrics.changes.refused.add_one();
        shared.invalidate(slug, entry.known.rank().next()).await;
        None
    }

    /// Asks the shared cache, then the store; `held` is what memory has, past its freshness.
    async fn ask_below(self: Arc<Self>, slug: &Slug, held: Option<Entry>) -> Outcome {
        let shared = self.in_shared(slug).await;
        if let Some(known) = self.take_shared(slug, shared.as_ref(), held.as_ref()).await {
            return Ok(known);
        }
        let held = [held, shared.map(|entry| self.caches.received(entry))]
            .into_iter()
            .flatten()
            .max_by_key(|entry| entry.known.rank());
        self.ask_store(slug, held).await
    }

    /// What the shared cache had, kept in memory too, if it is still fresh and memory knew nothing later.
    async fn take_shared(&self, slug: &Slug, shared: Option<&Entry>, held: Option<&Entry>) -> Option<Known> {
        let moment = moment(self.caches.clock.as_ref());
        let entry = shared.filter(|entry| moment.now < entry.fresh_until)?;
        let is_older = held.is_some_and(|held| entry.known.rank() < held.known.rank());
        if is_older || (held.is_some() && !self.caches.lifetimes.renews(entry, moment.now)) {
            return None;
        }
        self.metrics.resolve.shared.add_one();
        let received = self
            .caches
            .lifetimes
            .received(entry.clone(), moment.now, moment.steady);
        // A change may have been seen since it was read from the shared cache.
        let is_current = |tail: &ChangeTail| tail.admit_shared(slug, entry);
        self.remember(slug, received, held, is_current).await
    }

    /// What a look-up of the same slug brought that landed between this one's question to memory and its start.
    async fn landed_meanwhile(&self, slug: &Slug, held: Option<&Entry>) -> Option<Known> {
        let landed = self.in_memory(slug).await?;
        let is_newer = held.is_none_or(|held| landed.read_at > held.read_at);
        let steady = self.caches.clock.steady();
        if !is_newer || self.caches.lifetimes.left(&landed, steady, false) == Left::Nothing {
            return None;
        }
        self.metrics.resolve.memory.add_one();
        Some(landed.known)
    }

    /// Asks the store; `held` is the newest of what the caches have, past its freshness.
    async fn ask_store(self: Arc<Self>, slug: &Slug, held: Option<Entry>) -> Outcome {
        if let Some(known) = self.landed_meanwhile(slug, held.as_ref()).await {
            return Ok(known);
        }
        let mut reads = READS;
        loop {
            let began = moment(self.caches.clock.as_ref());
            let known = match self.caches.store.redirect(slug).await {
                Ok(Some(redirect)) => Known::Link(Arc::new(redirect)),
                Ok(None) => Known::Absent(Rank::UNSEEN),
                Err(err) => return self.serve_stale(slug, held, err.into()).await,
            };
            let rank = known.rank();
            let entry = self.caches.lifetimes.in_memory(known.clone(), began.steady);
            let is_current = |tail: &ChangeTail| tail.admit_read(slug, rank, began.steady);
            let kept = self.remember(slug, entry, held.as_ref(), is_current).await;
            if kept.is_some() {
                self.fill_shared(slug, known.clone(), began.now, held.as_ref());
            } else {
                // It changed while it was read.
                reads -= 1;
                if reads > 0 {
                    continue;
                }
            }
            match &known {
                Known::Link(_) => self.metrics.resolve.store.add_one(),
                Known::Absent(_) => self.metrics.resolve.absent.add_one(),
            }
            return Ok(kept.unwrap_or(known));
        }
    }

    /// Keeps an entry in memory and answers what stands there now: a write that came in between wins. `None` if `admits`
    /// finds that a change outdated the entry.
    async fn remember(
        &self,
        slug: &Slug,
        entry: Entry,
        held: Option<&Entry>,
        admits: impl FnOnce(&ChangeTail) -> bool,
    ) -> Option<Known> {
        let seen = held.map_or(Rank::UNSEEN, |held| held.known.rank());
        match self.caches.keep_in_memory(slug, &entry, seen, admits).await? {
            Put::Outranked(standing) => Some(standing.known),
            Put::Kept | Put::Lost => Some(entry.known),
        }
    }

    /// Fills the shared cache in the background with a state whose read began at `read_at`.
    fn fill_shared(self: &Arc<Self>, slug: &Slug, known: Known, read_at: Timestamp, held: Option<&Entry>) {
        let Some(shared) = self.caches.shared.clone() else {
            return;
        };
        let seen = held.map_or(Rank::UNSEEN, |held| held.known.rank());
        let (inner, slug) = (Arc::clone(self), slug.clone());
        self.lifecycle.spawn(|_stop| async move {
            let entry = inner.caches.lifetimes.in_shared(known, read_at);
            if let Put::Outranked(newer) = shared.put(&slug, &entry, seen).await {
                let entry = inner.caches.received(newer.clone());
                let is_current = |tail: &ChangeTail| tail.admit_shared(&slug, &newer);
                inner.remember(&slug, entry, None, is_current).await;
            }
        });
    }

    /// Serves what was last known while the store is down, if it is not too old and no change has outdated it.
    async fn serve_stale(&self, slug: &Slug, held: Option<Entry>, err: Error) -> Outcome {
        let steady = self.caches.clock.steady();
        if let Some(entry) = held.filter(|entry| steady < entry.stale_until) {
            let rank = entry.known.rank();
            let entry = Lifetimes::stale(entry, steady);
            let is_current = |tail: &ChangeTail| tail.admit_stale(slug, rank);
            if let Some(known) = self.remember(slug, entry, None, is_current).await {
                self.metrics.resolve.stale.add_one();
                return Ok(known);
            }
        }
        self.metrics.resolve.failed.add_one();
        Err(err)
    }

    /// Keeps in memory what other instances publish. What is not in memory is kept too: a look-up that read
    /// the state before may be about to put that there.
    async fn subscribe(&self) {
        let Some(bulletin) = self.caches.shared.as_ref().and_then(|shared| shared.bulletin()) else {
            return;
        };
        let mut hear = |slug: Slug, entry: Entry| {
            let version = entry.known.rank();
            // Memory answers at once.
            let outranked_by = self.caches.keep_published(&slug, entry).now_or_never().flatten();
            if let Some(standing) = outranked_by {
                let caches = Arc::clone(&self.caches);
                self.lifecycle
                    .spawn(|_stop| async move { caches.settle(&slug, version, &standing).await });
            }
        };
        bulletin.listen(&mut hear).await;
    }
}

//! Finds where a slug leads: memory, then the shared cache, then the store.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use jiff::Timestamp;
use tracing::Span;

use super::Error;
use super::flights::{Flights, Outcome};
use super::lifetimes::Lifetimes;
use super::publisher::{News, Publisher};
use crate::cache::{Cache, Entry, Known, Lookup, Put};
use crate::config;
use crate::domain::{Clock, GoneReason, Rank, Redirect, Revision, Slug, Verdict};
use crate::lifecycle::Lifecycle;
use crate::store::{ClickGrant, Store};
use crate::telemetry::metrics::Metrics;

/// What a visitor gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visit {
    /// The redirect.
    Follow(Arc<Redirect>),
    /// There is no such link, or not yet.
    Unknown,
    /// The link was here.
    Gone(GoneReason),
}

/// The most look-ups under way with which another begins before its time: where the floor below is slower than the
/// visits come, they would pile up.
const MOST_EARLY: usize = 256;

/// How many links are made known to the caches at once.
const PUBLISHED_AT_ONCE: usize = 256;

/// Finds where slugs lead. Clones share everything.
#[derive(Debug, Clone)]
pub struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Option<Arc<dyn Cache>>,
    shared: Option<Arc<dyn Cache>>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    lifecycle: Lifecycle,
    flights: Flights,
    publisher: Publisher,
    lifetimes: Lifetimes,
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
        let publisher = Publisher::new(memory.clone(), shared.clone(), Arc::clone(&clock), &lifecycle);
        let inner = Arc::new(Inner {
            memory,
            shared,
            store,
            clock,
            metrics,
            lifecycle,
            flights: Flights::default(),
            publisher,
            lifetimes: Lifetimes::new(times),
        });
        if inner.memory.is_some() && inner.shared.is_some() {
            let listening = Arc::clone(&inner);
            inner.lifecycle.spawn(|stop| async move {
                stop.run_until_cancelled_owned(listening.listen()).await;
            });
        }
        Self(inner)
    }

    /// What a visitor of `slug` gets. `counts` tells a person's click from a look: only such a click uses up a
    /// limit. It is asked only for links with a limit.
    pub async fn visit(&self, slug: &Slug, counts: impl FnOnce() -> bool) -> Result<Visit, Error> {
        self.visit_if(slug, self.0.clock.now(), counts, || Ok(())).await
    }

    /// The same at `now` for a visitor who may not be allowed to have the store asked: `admit` says so, and is asked
    /// only when no cache knows the slug.
    pub async fn visit_if(
        &self,
        slug: &Slug,
        now: Timestamp,
        counts: impl FnOnce() -> bool,
        admit: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Visit, Error> {
        let redirect = match self.resolve(slug, now, admit).await? {
            Known::Link(redirect) => redirect,
            Known::Absent(_) => return Ok(Visit::Unknown),
        };
        Ok(match redirect.verdict(now) {
            Verdict::Follow => Visit::Follow(redirect),
            Verdict::Unknown => Visit::Unknown,
            Verdict::Gone(reason) => Visit::Gone(reason),
            Verdict::FollowIfGranted => return self.0.take_click(slug, redirect, now, counts()).await,
        })
    }

    /// What is known of `slug` at `now`.
    async fn resolve(
        &self,
        slug: &Slug,
        now: Timestamp,
        admit: impl FnOnce() -> Result<(), Error>,
    ) -> Outcome {
        let inner = &self.0;
        let Some(held) = inner.in_memory(slug).await else {
            return self.beyond_memory(slug, admit).await;
        };
        if now >= held.fresh_until {
            return self.look_up(slug, Some(held), Span::current()).await;
        }
        inner.metrics.resolve.memory.add_one();
        let known = held.known.clone();
        // Asked for again shortly before its time, so that visitors of a busy link never wait.
        if inner.lifetimes.is_renewed(&held, now) && inner.flights.number() < MOST_EARLY {
            drop(self.look_up(slug, Some(held), Span::none()));
        }
        Ok(known)
    }

    /// Asks the shared cache in the visitor's own task: one command on a connection that stands costs less
    /// than a task to share its answer. What it does not know is looked up once for all.
    async fn beyond_memory(&self, slug: &Slug, admit: impl FnOnce() -> Result<(), Error>) -> Outcome {
        let inner = &self.0;
        if inner.shared.is_none() {
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
                async move { inner.ask_store(&slug, shared).await }
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

    /// Makes a new link known to the caches.
    pub(super) async fn publish_link(&self, redirect: Redirect) {
        self.publish_redirect(redirect, News::Link).await;
    }

    /// Makes a change of a link known to the caches, and to the other instances.
    pub(super) async fn publish_change(&self, redirect: Redirect) {
        self.publish_redirect(redirect, News::Change).await;
    }

    /// Makes new links known to the caches, many at a time.
    pub(super) async fn publish_links(&self, redirects: Vec<Redirect>) {
        for some in pieces(redirects) {
            let (for_memory, for_shared): (Vec<_>, Vec<_>) = some
                .into_iter()
                .map(|redirect| {
                    let slug = redirect.slug.clone();
                    let (for_memory, for_shared) = self.0.entries(Known::Link(Arc::new(redirect)));
                    ((slug.clone(), for_memory), (slug, for_shared))
                })
                .unzip();
            self.0.publisher.publish_new(&for_memory, for_shared).await;
        }
    }

    /// Makes changes of links known to the caches, and to the other instances, many at a time.
    pub(super) async fn publish_changes(&self, redirects: Vec<Redirect>) {
        for some in pieces(redirects) {
            let changes = some
                .into_iter()
                .map(|redirect| self.publish_redirect(redirect, News::Change));
            join_all(changes).await;
        }
    }

    async fn publish_redirect(&self, redirect: Redirect, news: News) {
        let slug = redirect.slug.clone();
        let known = Known::Link(Arc::new(redirect));
        self.0.publish(&slug, known, news).await;
    }

    /// Makes a deletion known to the caches, and to the other instances.
    pub(super) async fn publish_deletion(&self, slug: &Slug, last: Revision) {
        let known = Known::Absent(Rank::of_deletion(last));
        self.0.publish(slug, known, News::Change).await;
    }
}

impl Inner {
    async fn in_memory(&self, slug: &Slug) -> Option<Entry> {
        match self.memory.as_ref()?.get(slug) {
            Lookup::Ready(entry) => entry,
            Lookup::Pending(entry) => entry.await,
        }
    }

    async fn in_shared(&self, slug: &Slug) -> Option<Entry> {
        match self.shared.as_ref()?.get(slug) {
            Lookup::Ready(entry) => entry,
            Lookup::Pending(entry) => entry.await,
        }
    }

    /// Asks the shared cache, then the store; `held` is what memory has, past its freshness.
    async fn ask_below(self: Arc<Self>, slug: &Slug, held: Option<Entry>) -> Outcome {
        let shared = self.in_shared(slug).await;
        if let Some(known) = self.take_shared(slug, shared.as_ref(), held.as_ref()).await {
            return Ok(known);
        }
        let held = [held, shared]
            .into_iter()
            .flatten()
            .max_by_key(|entry| entry.known.rank());
        self.ask_store(slug, held).await
    }

    /// What the shared cache had, kept in memory too, if it is still fresh.
    async fn take_shared(&self, slug: &Slug, shared: Option<&Entry>, held: Option<&Entry>) -> Option<Known> {
        let now = self.clock.now();
        let entry = shared.filter(|entry| now < entry.fresh_until)?;
        self.metrics.resolve.shared.add_one();
        let entry = self.lifetimes.received(entry.clone(), now);
        Some(self.remember(slug, entry, held).await)
    }

    /// What a look-up of the same slug brought that landed between this one's question to memory and its start.
    async fn landed_meanwhile(&self, slug: &Slug, held: Option<&Entry>) -> Option<Known> {
        let landed = self.in_memory(slug).await?;
        let is_newer = held.is_none_or(|held| landed.fresh_until > held.fresh_until);
        if !is_newer || self.clock.now() >= landed.fresh_until {
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
        match self.store.redirect(slug).await {
            Ok(found) => {
                let known = match found {
                    Some(redirect) => Known::Link(Arc::new(redirect)),
                    None => Known::Absent(Rank::UNSEEN),
                };
                match &known {
                    Known::Link(_) => self.metrics.resolve.store.add_one(),
                    Known::Absent(_) => self.metrics.resolve.absent.add_one(),
                }
                self.fill_shared(slug, known.clone(), held.as_ref());
                let entry = self.lifetimes.in_memory(known, self.clock.now());
                Ok(self.remember(slug, entry, held.as_ref()).await)
            }
            Err(err) => self.serve_stale(slug, held, err.into()).await,
        }
    }

    /// Keeps an entry in memory and answers what stands there now: a write that came in between wins.
    async fn remember(&self, slug: &Slug, entry: Entry, held: Option<&Entry>) -> Known {
        let seen = held.map_or(Rank::UNSEEN, |held| held.known.rank());
        match &self.memory {
            None => entry.known,
            Some(memory) => match memory.put(slug, &entry, seen).await {
                Put::Outranked(standing) => standing.known,
                Put::Kept | Put::Lost => entry.known,
            },
        }
    }

    /// Fills the shared cache, without anybody waiting for it.
    fn fill_shared(self: &Arc<Self>, slug: &Slug, known: Known, held: Option<&Entry>) {
        let Some(shared) = self.shared.clone() else { return };
        let seen = held.map_or(Rank::UNSEEN, |held| held.known.rank());
        let (inner, slug) = (Arc::clone(self), slug.clone());
        self.lifecycle.spawn(|_stop| async move {
            let entry = inner.lifetimes.in_shared(known, inner.clock.now());
            if let Put::Outranked(newer) = shared.put(&slug, &entry, seen).await {
                let entry = inner.lifetimes.received(newer, inner.clock.now());
                inner.remember(&slug, entry, None).await;
            }
        });
    }

    /// Serves what was last known while the store is down, if it is not too old.
    async fn serve_stale(&self, slug: &Slug, held: Option<Entry>, err: Error) -> Outcome {
        let now = self.clock.now();
        match held {
            Some(entry) if now < entry.stale_until => {
                self.metrics.resolve.stale.add_one();
                let entry = Lifetimes::stale(entry, now);
                Ok(self.remember(slug, entry, None).await)
            }
            _ => {
                self.metrics.resolve.failed.add_one();
                Err(err)
            }
        }
    }

    async fn publish(&self, slug: &Slug, known: Known, news: News) {
        let (for_memory, for_shared) = self.entries(known);
        self.publisher.publish(slug, &for_memory, for_shared, news).await;
    }

    /// What was written a moment ago, with the times of memory and with those of the shared cache.
    fn entries(&self, known: Known) -> (Entry, Entry) {
        let now = self.clock.now();
        let for_memory = self.lifetimes.in_memory(known.clone(), now);
        (for_memory, self.lifetimes.in_shared(known, now))
    }

    /// Keeps in memory what other instances say has changed. What is not in memory is kept too: a look-up that read
    /// the state before may be about to put that there.
    async fn listen(&self) {
        let bulletin = self.shared.as_ref().and_then(|shared| shared.bulletin());
        let (Some(memory), Some(bulletin)) = (&self.memory, bulletin) else {
            return;
        };
        let mut hear = |slug: Slug, entry: Entry| {
            let entry = self.lifetimes.received(entry, self.clock.now());
            // Memory answers at once.
            let _ = memory.put(&slug, &entry, Rank::UNSEEN).now_or_never();
        };
        bulletin.listen(&mut hear).await;
    }

    /// What a visitor of a link with a click limit gets. The store decides, exactly; no cache is asked. Where the link was
    /// changed since it was cached, the store is asked for it anew.
    async fn take_click(
        &self,
        slug: &Slug,
        redirect: Arc<Redirect>,
        now: Timestamp,
        counts: bool,
    ) -> Result<Visit, Error> {
        if counts {
            match self.store.take_click(slug).await? {
                ClickGrant::Granted => return Ok(Visit::Follow(redirect)),
                ClickGrant::UsedUp => return Ok(Visit::Gone(GoneReason::LimitReached)),
                ClickGrant::NotLimited | ClickGrant::Gone => {}
            }
        }
        let Some(link) = self.store.link(slug).await? else {
            return Ok(Visit::Unknown);
        };
        let used_up = link.max_clicks.is_some_and(|limit| link.clicks >= limit);
        let redirect = Arc::new(link.redirect());
        Ok(match redirect.verdict(now) {
            Verdict::Unknown => Visit::Unknown,
            Verdict::Gone(reason) => Visit::Gone(reason),
            Verdict::FollowIfGranted
                if used_up || (counts && self.store.take_click(slug).await? != ClickGrant::Granted) =>
            {
                Visit::Gone(GoneReason::LimitReached)
            }
            Verdict::Follow | Verdict::FollowIfGranted => Visit::Follow(redirect),
        })
    }
}

/// [`PUBLISHED_AT_ONCE`] of them after the other.
fn pieces(redirects: Vec<Redirect>) -> impl Iterator<Item = Vec<Redirect>> {
    let mut rest = redirects.into_iter();
    std::iter::from_fn(move || {
        let some: Vec<_> = rest.by_ref().take(PUBLISHED_AT_ONCE).collect();
        (!some.is_empty()).then_some(some)
    })
}

//! What a request that is no click needs of a link beyond its redirect: a preview's title and day, and whether a click limit
//! is used up. One read of the store serves all who ask at the same time, and a small cache serves the next.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use quick_cache::sync::Cache;
use tracing::Span;

use super::Error;
use super::flights::Flights;
use crate::domain::{Clock, Link, Revision, Slug};
use crate::lifecycle::Lifecycle;
use crate::store::{ClickGrant, Store};

/// The most links whose facts are held: with titles of 200 characters less than 1 MiB.
const MOST: usize = 1_000;

/// How long a count of clicks is believed.
const HELD: SignedDuration = SignedDuration::from_secs(1);

/// Facts of one link.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) title: Option<Arc<str>>,
    pub(super) created_at: Timestamp,
    /// Whether a click would be granted.
    pub(super) grant: ClickGrant,
    /// The write of the link that these were read from.
    revision: Revision,
    /// By [`Clock::steady`].
    read_at: Timestamp,
}

impl Facts {
    fn of(link: &Link, read_at: Timestamp) -> Self {
        Self {
            title: link.title.as_deref().map(Arc::from),
            created_at: link.created_at,
            grant: match link.max_clicks {
                _ if link.disabled => ClickGrant::Gone,
                None => ClickGrant::NotLimited,
                Some(limit) if link.clicks < limit => ClickGrant::Granted,
                Some(_) => ClickGrant::UsedUp,
            },
            revision: link.revision,
            read_at,
        }
    }
}

/// Reads and holds facts of links. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct LinkFacts {
    held: Arc<Cache<Slug, Facts>>,
    reads: Flights<Option<Facts>>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    lifecycle: Lifecycle,
}

impl LinkFacts {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, lifecycle: Lifecycle) -> Self {
        Self {
            held: Arc::new(Cache::new(MOST)),
            reads: Flights::default(),
            store,
            clock,
            lifecycle,
        }
    }

    /// Facts that are held of `slug`, whose redirect is known at `revision`. Those of a link with a click limit are held for a
    /// second.
    pub(super) fn held(&self, slug: &Slug, revision: Revision, limited: bool) -> Option<Facts> {
        let facts = self.held.get(slug)?;
        let same = !limited && facts.revision == revision;
        (same || self.is_fresh(&facts, revision)).then_some(facts)
    }

    /// Reads the facts of `slug`; `None` if there is no such link.
    pub(super) async fn read(&self, slug: &Slug) -> Result<Option<Facts>, Error> {
        let reading = self.reads.join(slug, &self.lifecycle, Span::current(), || {
            let (facts, slug) = (self.clone(), slug.clone());
            async move {
                let read_at = facts.clock.steady();
                let link = facts.store.link(&slug).await?;
                let read = link.map(|link| Facts::of(&link, read_at));
                match &read {
                    Some(read) => facts.held.insert(slug, read.clone()),
                    None => drop(facts.held.remove(&slug)),
                }
                Ok::<_, Error>(read)
            }
        });
        reading.await
    }

    /// Whether a click of `slug`, whose redirect is known at `revision`, would be granted. No click is taken, and the answer
    /// may be a second old.
    pub(super) async fn grant(&self, slug: &Slug, revision: Revision) -> Result<ClickGrant, Error> {
        // The other two grants say that the redirect is outdated: the caller reads it anew, and so must the next.
        if let Some(facts) = self.held.get(slug)
            && self.is_fresh(&facts, revision)
            && matches!(facts.grant, ClickGrant::Granted | ClickGrant::UsedUp)
        {
            return Ok(facts.grant);
        }
        let read = self.read(slug).await?;
        Ok(read.map_or(ClickGrant::Gone, |facts| facts.grant))
    }

    fn is_fresh(&self, facts: &Facts, revision: Revision) -> bool {
        facts.revision >= revision && self.clock.steady().duration_since(facts.read_at) < HELD
    }
}

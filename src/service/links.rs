//! Makes, shows, changes and deletes links.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::mutations::run_to_end;
use super::slugs::SlugSource;
use super::{Blocklist, Caller, Error, Expected, Resolver, audit};
use crate::config;
use crate::domain::{
    Actor, ChangeKind, Clock, Cursor, Link, LinkDraft, LinkPage, LinkPatch, LinkQuery, LinkState, LinkUpdate,
    NewLink, SearchText, Slug,
};
use crate::lifecycle::Lifecycle;
use crate::store::{Store, StoreError};

/// Slugs that are tried before a create gives up.
pub(super) const TRIES: u8 = 5;

/// How many slugs the caches forget at once.
const PUBLISHED_AT_ONCE: usize = 256;

/// Collisions in a row after which slugs get one character longer.
pub(super) const COLLISIONS_BEFORE_LONGER: u8 = 3;

/// How often a change is tried again when somebody else changed the link in between. One of those who try at the same
/// time always gets through.
const UPDATE_TRIES: u8 = 50;

/// Where a request came in, as far as it decides what a link may be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    /// The host that the request was sent to, without its port.
    pub host: Option<&'a str>,
}

/// Which links somebody wants listed. What is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// The most links of the page.
    pub limit: u8,
    /// The end of the page before.
    pub after: Option<Cursor>,
    /// A part of the slug, the target or the title, whatever its case.
    pub text: Option<String>,
    /// One of the tags.
    pub tag: Option<String>,
    /// The state now.
    pub state: Option<LinkState>,
    /// The host that the request was sent to, without its port.
    pub host: Option<String>,
}

/// The links. Clones share everything.
#[derive(Debug, Clone)]
pub struct Links {
    pub(super) config: Arc<config::Links>,
    pub(super) blocklist: Blocklist,
    pub(super) store: Arc<dyn Store>,
    pub(super) resolver: Resolver,
    pub(super) slugs: Arc<dyn SlugSource>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lifecycle: Lifecycle,
}

impl Links {
    /// How long a link that was set aside can be brought back.
    pub const UNDO: SignedDuration = SignedDuration::from_secs(60);

    /// The links of `store`. Every change is published to `resolver`, and runs to its end as a task of `lifecycle`.
    pub fn new(
        config: &config::Links,
        blocklist: Blocklist,
        store: Arc<dyn Store>,
        resolver: Resolver,
        slugs: Arc<dyn SlugSource>,
        clock: Arc<dyn Clock>,
        lifecycle: Lifecycle,
    ) -> Self {
        Self {
            config: Arc::new(config.clone()),
            blocklist,
            store,
            resolver,
            slugs,
            clock,
            lifecycle,
        }
    }

    /// Makes a link, which `caller` owns. It is kept when this answers.
    pub async fn create(&self, caller: &Caller, draft: LinkDraft, origin: Origin<'_>) -> Result<Link, Error> {
        let blocked = self.blocklist.current();
        let targets = self.config.target_policy(origin.host, &blocked);
        let mut new = NewLink::check(draft, &targets, self.config.slugs).map_err(Error::InvalidLink)?;
        new.owner = caller.owner().cloned();
        let (links, actor) = (self.clone(), caller.actor());
        let creating = async move {
            let link = match &new.slug {
                Some(slug) => {
                    let link = new.clone().into_link(slug.clone(), links.clock.now());
                    links.insert(link, &actor).await?
                }
                None => links.insert_under_new_slug(new, &actor).await?,
            };
            audit::link(&actor, ChangeKind::LinkCreated, &link.slug);
            links.resolver.publish_link(link.redirect()).await;
            Ok(link)
        };
        run_to_end(&self.lifecycle, |_stop| creating).await
    }

    /// The link called `slug`, if `caller` sees it.
    pub async fn link(&self, caller: &Caller, slug: &Slug) -> Result<Link, Error> {
        let link = self.store.link(slug).await?;
        link.filter(|link| caller.sees(link)).ok_or(Error::LinkNotFound)
    }

    /// A page of the links that `caller` sees, newest first. The link whose short URL is looked for stands before all others.
    pub async fn list(&self, caller: &Caller, wanted: ListRequest) -> Result<LinkPage, Error> {
        let host = wanted.host.as_deref();
        let is_own =
            |of: &str| self.config.is_own(of) || host.is_some_and(|host| host.eq_ignore_ascii_case(of));
        let text = wanted.text.and_then(|text| SearchText::read(&text, is_own));
        let mut query = LinkQuery {
            limit: wanted.limit,
            after: wanted.after,
            text,
            tag: wanted.tag,
            state: wanted.state,
            owner: caller.held_to().cloned(),
            now: self.clock.now(),
        };
        let named = self.named(caller, &query).await?;
        // It takes one place of the page, unless that is the only one.
        query.limit = query.limit.saturating_sub(u8::from(named.is_some())).max(1);
        let mut page = self.store.links(&query).await?;
        if let Some(link) = named
            && (wanted.limit > 1 || page.links.is_empty())
        {
            page.links.retain(|other| other.slug != link.slug);
            page.links.insert(0, link);
        }
        Ok(page)
    }

    /// The link whose short URL the first page of a search looks for, if it is one that the search may find.
    async fn named(&self, caller: &Caller, query: &LinkQuery) -> Result<Option<Link>, Error> {
        let slug = query.text.as_ref().and_then(SearchText::slug);
        let (Some(slug), None) = (slug, query.after) else {
            return Ok(None);
        };
        let is_wanted = |link: &Link| {
            caller.sees(link)
                && query.tag.as_ref().is_none_or(|tag| link.tags.contains(tag))
                && query
                    .state
                    .is_none_or(|state| LinkState::of(link, query.now) == state)
        };
        Ok(self.store.link(slug).await?.filter(is_wanted))
    }

    /// Changes a link that has an expected revision, else [`Error::Stale`]. With [`Expected::Any`], two changes at once are
    /// both made, one after the other.
    pub async fn update(
        &self,
        caller: &Caller,
        slug: &Slug,
        patch: LinkPatch,
        origin: Origin<'_>,
        expected: Expected,
    ) -> Result<Link, Error> {
        let blocked = self.blocklist.current();
        let targets = self.config.target_policy(origin.host, &blocked);
        let update = LinkUpdate::check(patch, &targets).map_err(Error::InvalidPatch)?;
        let (links, caller, slug) = (self.clone(), caller.clone(), slug.clone());
        let updating = async move { links.update_checked(&caller, &slug, &update, &expected).await };
        run_to_end(&self.lifecycle, |_stop| updating).await
    }

    async fn update_checked(
        &self,
        caller: &Caller,
        slug: &Slug,
        update: &LinkUpdate,
        expected: &Expected,
    ) -> Result<Link, Error> {
        let actor = caller.actor();
        let mut tries = UPDATE_TRIES;
        loop {
            let before = self.expected(caller, slug, expected).await?;
            let mut link = before
                .updated(update, self.clock.now())
                .map_err(Error::InvalidPatch)?;
            let kind = ChangeKind::of_update(before.disabled, link.disabled);
            match self.store.update_link(&link, kind, &actor).await {
                Ok(revision) => {
                    link.revision = revision;
                    audit::link(&actor, kind, slug);
                    self.resolver.publish_change(link.redirect()).await;
                    return Ok(link);
                }
                Err(StoreError::Conflict) if tries > 1 => tries -= 1,
                Err(err) => return Err(self.failed(&actor, kind, slug, err).await),
            }
        }
    }

    /// The link called `slug`, if it has an expected revision.
    async fn expected(&self, caller: &Caller, slug: &Slug, expected: &Expected) -> Result<Link, Error> {
        let link = self.link(caller, slug).await?;
        if expected.admits(link.revision) {
            Ok(link)
        } else {
            Err(Error::Stale)
        }
    }

    /// The state of `link` now.
    #[must_use]
    pub fn state_of(&self, link: &Link) -> LinkState {
        LinkState::of(link, self.clock.now())
    }

    /// The time that is `seconds` from now.
    #[must_use]
    pub fn in_seconds(&self, seconds: u32) -> Option<Timestamp> {
        let span = SignedDuration::from_secs(seconds.into());
        self.clock.now().checked_add(span).ok()
    }

    /// Deletes a link that has an expected revision, else [`Error::Stale`], but keeps it aside for [`Links::restore`].
    pub async fn set_aside(&self, caller: &Caller, slug: &Slug, expected: Expected) -> Result<(), Error> {
        self.remove(caller, slug, expected, true).await
    }

    /// Brings a link back that was set aside within [`Links::UNDO`], with its clicks and statistics.
    pub async fn restore(&self, caller: &Caller, slug: &Slug) -> Result<Link, Error> {
        let since = self.clock.now().checked_sub(Self::UNDO).unwrap_or(Timestamp::MIN);
        let (links, caller, slug) = (self.clone(), caller.clone(), slug.clone());
        let restoring = async move {
            let (actor, kind) = (caller.actor(), ChangeKind::LinkRestored);
            let restored = links
                .store
                .restore_link(&slug, caller.held_to(), since, &actor)
                .await;
            let link = match restored {
                Ok(link) => link.ok_or(Error::LinkNotFound)?,
                Err(err) => return Err(links.failed(&actor, kind, &slug, err).await),
            };
            audit::link(&actor, kind, &slug);
            links.resolver.publish_change(link.redirect()).await;
            Ok(link)
        };
        run_to_end(&self.lifecycle, |_stop| restoring).await
    }

    /// Deletes a link that has an expected revision, else [`Error::Stale`].
    pub async fn delete(&self, caller: &Caller, slug: &Slug, expected: Expected) -> Result<(), Error> {
        self.remove(caller, slug, expected, false).await
    }

    async fn remove(
        &self,
        caller: &Caller,
        slug: &Slug,
        expected: Expected,
        aside: bool,
    ) -> Result<(), Error> {
        let (links, caller, slug) = (self.clone(), caller.clone(), slug.clone());
        let removing = async move { links.remove_expected(&caller, &slug, &expected, aside).await };
        run_to_end(&self.lifecycle, |_stop| removing).await
    }

    async fn remove_expected(
        &self,
        caller: &Caller,
        slug: &Slug,
        expected: &Expected,
        aside: bool,
    ) -> Result<(), Error> {
        let (store, owner, actor) = (&self.store, caller.held_to(), caller.actor());
        let (kind, now) = (ChangeKind::LinkDeleted, self.clock.now());
        let mut tries = UPDATE_TRIES;
        loop {
            let revision = match expected {
                Expected::Any => None,
                Expected::OneOf(_) => Some(self.expected(caller, slug, expected).await?.revision),
            };
            let removed = if aside {
                store.set_link_aside(slug, owner, revision, now, &actor).await
            } else {
                store.delete_link(slug, owner, revision, &actor).await
            };
            match removed {
                Ok(Some(last)) => {
                    audit::link(&actor, kind, slug);
                    self.resolver.publish_deletion(slug, last).await;
                    return Ok(());
                }
                // It was changed after it was read.
                Ok(None) if revision.is_some() && tries > 1 => tries -= 1,
                Ok(None) => return Err(Error::LinkNotFound),
                Err(err) => return Err(self.failed(&actor, kind, slug, err).await),
            }
        }
    }

    /// Passes on the error of a change. If the change may have been committed, it is logged so, and the caches forget
    /// the slug.
    pub(super) async fn failed(
        &self,
        actor: &Actor,
        kind: ChangeKind,
        slug: &Slug,
        err: StoreError,
    ) -> Error {
        self.all_failed(actor, kind, [slug], err).await
    }

    /// The same for changes of many links.
    pub(super) async fn all_failed(
        &self,
        actor: &Actor,
        kind: ChangeKind,
        slugs: impl IntoIterator<Item = &Slug> + Send,
        err: StoreError,
    ) -> Error {
        if let StoreError::OutcomeUnknown(_) = &err {
            let slugs: Vec<&Slug> = slugs.into_iter().collect();
            for slug in &slugs {
                audit::unknown(actor, kind, slug, &err);
            }
            for some in slugs.chunks(PUBLISHED_AT_ONCE) {
                join_all(some.iter().map(|slug| self.resolver.publish_unknown(slug))).await;
            }
        }
        err.into()
    }

    async fn insert(&self, mut link: Link, actor: &Actor) -> Result<Link, Error> {
        match self.store.insert_link(&link, actor).await {
            Ok(revision) => link.revision = revision,
            Err(err) => return Err(self.failed(actor, ChangeKind::LinkCreated, &link.slug, err).await),
        }
        Ok(link)
    }

    async fn insert_under_new_slug(&self, new: NewLink, actor: &Actor) -> Result<Link, Error> {
        let mut length = new.length.unwrap_or(self.config.slug_length);
        for attempt in 1..=TRIES {
            let slug = self.slugs.slug(length);
            let link = new.clone().into_link(slug, self.clock.now());
            match self.insert(link, actor).await {
                Err(Error::SlugTaken) if attempt == COLLISIONS_BEFORE_LONGER => length += 1,
                Err(Error::SlugTaken) => {}
                other => return other,
            }
        }
        // The client asked for no slug, so that one is taken is not its fault.
        Err(Error::NoFreeSlug(TRIES))
    }
}

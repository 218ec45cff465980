//! Links on their way in and out, many at a time.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{Actor, Cursor, KeyId, Link, Revision};

/// A link that comes from elsewhere.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The link; its revision is ignored.
    pub link: Link,
    /// Whether its time of creation was known there.
    pub dated: bool,
}

/// How links that come from elsewhere are taken.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The one owner whose links may be compared and written over; `None` is all.
    pub held_to: Option<KeyId>,
    /// Whether a link that differs is written over.
    pub overwrite: bool,
    /// Whether the time of creation and the clicks count.
    pub history: bool,
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is kept, at this revision.
    Inserted(Revision),
    /// It was kept already.
    Unchanged,
    /// It took the place of what was kept under its slug, at this revision.
    Overwritten(Revision),
    /// Something else is kept under its slug.
    Differs,
}

/// The part of a store that moves many links.
#[async_trait]
pub trait Porting {
    /// The first links after a place, oldest first, of one owner or of all; each with its own place.
    async fn links_after(
        &self,
        place: Option<Cursor>,
        owner: Option<&KeyId>,
        limit: u16,
    ) -> Result<Vec<(Cursor, Link)>, StoreError>;

    /// Takes links, no two of which have one slug, and answers what became of each. Doing it again changes nothing.
    /// A link that is
    /// written over keeps its owner, and the greater number of clicks.
    async fn take_links(
        &self,
        arrivals: &[Arrival],
        rules: &Rules,
        actor: &Actor,
    ) -> Result<Vec<Taken>, StoreError>;
}

impl Rules {
    /// What is to be done about `arrival` where `kept` has its slug: [`Taken::Unchanged`], or `Err` with whether it
    /// may be written over.
    pub(super) fn compare(&self, kept: &Link, arrival: &Arrival) -> Result<Taken, bool> {
        let seen = self
            .held_to
            .as_ref()
            .is_none_or(|owner| kept.owner.as_ref() == Some(owner));
        if seen && self.is_same(kept, arrival) {
            Ok(Taken::Unchanged)
        } else {
            Err(seen && self.overwrite)
        }
    }

    /// What takes the place of `kept`: its owner stays, its clicks do not become fewer, and without history its past
    /// stays as it is.
    pub(super) fn replacement(&self, kept: &Link, arrival: &Arrival) -> Link {
        let mut link = arrival.link.clone();
        link.owner.clone_from(&kept.owner);
        if !self.history || !arrival.dated {
            link.created_at = kept.created_at;
        }
        link.clicks = if self.history {
            kept.clicks.max(link.clicks)
        } else {
            kept.clicks
        };
        link.updated_at = link.updated_at.max(link.created_at);
        link
    }

    /// Visitors go on clicking, so fewer clicks than are kept are no difference; more are one only to who would
    /// write over.
    fn is_same(&self, kept: &Link, Arrival { link, dated }: &Arrival) -> bool {
        kept.target == link.target
            && kept.title == link.title
            && kept.tags == link.tags
            && kept.redirect_status == link.redirect_status
            && kept.cache_seconds == link.cache_seconds
            && kept.forward_query == link.forward_query
            && kept.valid_from == link.valid_from
            && kept.expires_at == link.expires_at
            && kept.max_clicks == link.max_clicks
            && kept.disabled == link.disabled
            && (!self.history || !dated || kept.created_at == link.created_at)
            && (!self.history || !self.overwrite || kept.clicks >= link.clicks)
    }
}

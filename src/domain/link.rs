//! A link as it is kept.

use jiff::Timestamp;

use super::checks::time_order;
use super::{Fault, KeyId, LinkUpdate, Period, Redirect, RedirectStatus, Slug, TargetUrl};

/// Which write of a link this is: drawn from one counter of the store, so that a later write of any link has
/// a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(i64);

impl Revision {
    /// The revision that the store drew.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The revision as a number.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

/// A link as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub slug: Slug,
    /// Which write this is.
    pub revision: Revision,
    /// Where it leads.
    pub target: TargetUrl,
    /// A name for people, at most [`Link::MAX_TITLE_CHARS`] characters.
    pub title: Option<String>,
    /// Words to find it by, at most [`Link::MAX_TAGS`].
    pub tags: Vec<String>,
    /// Status of its redirects.
    pub redirect_status: RedirectStatus,
    /// Seconds that a browser may keep a permanent redirect; `None` is the service's default.
    pub cache_seconds: Option<u32>,
    /// Whether a visitor's query string is appended to the target's.
    pub forward_query: bool,
    /// Not a link before this time.
    pub valid_from: Option<Timestamp>,
    /// Gone from this time on.
    pub expires_at: Option<Timestamp>,
    /// Gone after this many human clicks.
    pub max_clicks: Option<i64>,
    /// Taken down.
    pub disabled: bool,
    /// Human clicks stored so far.
    pub clicks: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The key that made it; `None` is the key of the settings, or nobody's.
    pub owner: Option<KeyId>,
}

impl Link {
    /// The most characters of a title.
    pub const MAX_TITLE_CHARS: usize = 200;
    /// The most tags of a link.
    pub const MAX_TAGS: usize = 16;
    /// The most characters of a tag.
    pub const MAX_TAG_CHARS: usize = 64;
    /// The most seconds that a browser may be told to keep a redirect: one year.
    pub const MAX_CACHE_SECONDS: i64 = 31_536_000;
    /// The lengths that a generated slug may be asked to have.
    pub const GENERATED_LEN: std::ops::RangeInclusive<i64> = 5..=32;

    /// The part that answers a visitor.
    #[must_use]
    pub fn redirect(&self) -> Redirect {
        Redirect {
            slug: self.slug.clone(),
            revision: self.revision,
            target: self.target.clone(),
            status: self.redirect_status,
            cache_seconds: self.cache_seconds,
            forward_query: self.forward_query,
            period: Period::new(self.valid_from, self.expires_at),
            limited: self.max_clicks.is_some(),
            disabled: self.disabled,
        }
    }

    /// This link with `update` made at `now`, or the faults of the combination.
    pub fn updated(&self, update: &LinkUpdate, now: Timestamp) -> Result<Self, Vec<Fault>> {
        let mut link = self.clone();
        update.target.clone_into_if_set(&mut link.target);
        update.title.clone_into_if_set(&mut link.title);
        update.tags.clone_into_if_set(&mut link.tags);
        update
            .redirect_status
            .clone_into_if_set(&mut link.redirect_status);
        update.cache_seconds.clone_into_if_set(&mut link.cache_seconds);
        update.forward_query.clone_into_if_set(&mut link.forward_query);
        update.valid_from.clone_into_if_set(&mut link.valid_from);
        update.expires_at.clone_into_if_set(&mut link.expires_at);
        update.max_clicks.clone_into_if_set(&mut link.max_clicks);
        update.disabled.clone_into_if_set(&mut link.disabled);
        link.updated_at = now.max(self.created_at);
        match time_order(link.valid_from, link.expires_at) {
            None => Ok(link),
            Some(fault) => Err(vec![fault]),
        }
    }
}

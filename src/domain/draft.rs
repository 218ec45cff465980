//! What a link is made from.

use jiff::Timestamp;

use super::checks::{
    cache_seconds, keep, length, max_clicks, redirect_status, slug, tags, target, time, time_order, title,
};
use super::{Fault, KeyId, Link, RedirectStatus, Revision, Slug, SlugPolicy, TargetPolicy, TargetUrl};

/// What a client asks for when it makes a link: of the right types, not yet checked.
#[derive(Debug, Clone, Default)]
#[expect(
    missing_docs,
    reason = "the fields are those of the link object in the HTTP contract"
)]
pub struct LinkDraft {
    pub url: String,
    pub slug: Option<String>,
    pub length: Option<i64>,
    pub title: Option<String>,
    pub tags: Vec<String>,
    pub redirect_status: Option<i64>,
    pub cache_seconds: Option<i64>,
    pub forward_query: bool,
    pub valid_from: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub max_clicks: Option<i64>,
    pub reuse_existing: bool,
}

/// A link to be made: checked, but without a slug of its own unless the client chose one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// The slug that the client chose.
    pub slug: Option<Slug>,
    /// Characters of the slug to generate when the client chose none; `None` is the service's default.
    pub length: Option<u8>,
    /// Where it leads.
    pub target: TargetUrl,
    /// See [`Link::title`].
    pub title: Option<String>,
    /// See [`Link::tags`].
    pub tags: Vec<String>,
    /// See [`Link::redirect_status`].
    pub redirect_status: RedirectStatus,
    /// See [`Link::cache_seconds`].
    pub cache_seconds: Option<u32>,
    /// See [`Link::forward_query`].
    pub forward_query: bool,
    /// See [`Link::valid_from`].
    pub valid_from: Option<Timestamp>,
    /// See [`Link::expires_at`].
    pub expires_at: Option<Timestamp>,
    /// See [`Link::max_clicks`].
    pub max_clicks: Option<i64>,
    /// See [`Link::owner`].
    pub owner: Option<KeyId>,
}

impl NewLink {
    /// Checks a draft; on failure all its faults, in the order of the fields.
    pub fn check(
        draft: LinkDraft,
        targets: &TargetPolicy<'_>,
        slugs: SlugPolicy,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let target = keep(&mut faults, target(&draft.url, targets));
        let slug = keep(&mut faults, draft.slug.map(|text| slug(&text, slugs)).transpose());
        let length = keep(&mut faults, draft.length.map(length).transpose());
        let title = keep(&mut faults, draft.title.map(title).transpose());
        let tags = keep(&mut faults, tags(draft.tags));
        let redirect_status = keep(
            &mut faults,
            draft.redirect_status.map(redirect_status).transpose(),
        );
        let cache_seconds = keep(&mut faults, draft.cache_seconds.map(cache_seconds).transpose());
        let max_clicks = keep(&mut faults, draft.max_clicks.map(max_clicks).transpose());
        let valid_from = keep(
            &mut faults,
            draft.valid_from.map(|t| time("/valid_from", t)).transpose(),
        );
        let expires_at = keep(
            &mut faults,
            draft.expires_at.map(|t| time("/expires_at", t)).transpose(),
        );
        faults.extend(time_order(valid_from.flatten(), expires_at.flatten()));
        match target {
            Some(target) if faults.is_empty() => Ok(Self {
                slug: slug.flatten(),
                length: length.flatten(),
                target,
                title: title.flatten(),
                tags: tags.unwrap_or_default(),
                redirect_status: redirect_status.flatten().unwrap_or_default(),
                cache_seconds: cache_seconds.flatten(),
                forward_query: draft.forward_query,
                valid_from: valid_from.flatten(),
                expires_at: expires_at.flatten(),
                max_clicks: max_clicks.flatten(),
                owner: None,
            }),
            _ => Err(faults),
        }
    }

    /// The link that this becomes under `slug`. The store draws its revision.
    #[must_use]
    pub fn into_link(self, slug: Slug, now: Timestamp) -> Link {
        Link {
            slug,
            revision: Revision::new(0),
            target: self.target,
            title: self.title,
            tags: self.tags,
            redirect_status: self.redirect_status,
            cache_seconds: self.cache_seconds,
            forward_query: self.forward_query,
            valid_from: self.valid_from,
            expires_at: self.expires_at,
            max_clicks: self.max_clicks,
            disabled: false,
            clicks: 0,
            created_at: now,
            updated_at: now,
            owner: self.owner,
        }
    }
}
